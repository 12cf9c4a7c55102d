/* fanout bench: open-loop load on a gateway, and an honest account of it.
 *
 * The main thread (here) walks through the scenario, samples the server and shows progress; load
 * threads (bench_load.c), in several processes where one has too few descriptors, are the clients;
 * one more thread (bench_send.c) publishes. They meet only in the shared block of bench_stat.h.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "role/bench_load.h"
#include "role/bench_plan.h"
#include "role/bench_result.h"
#include "role/bench_send.h"
#include "role/bench_stat.h"
#include "role/role.h"
#include "role/term.h"
#include "rt/clock.h"
#include "rt/fds.h"
#include "rt/thread.h"

enum {
    FDS_SPARE = 64,
    TICK_MS = 20,
    CONNECT_MS_MAX = 120 * 1000,
    SETTLE_MS = 300,
    READY_MS_MAX = 10 * 1000,
    QUIET_MS = 500,
    DRAIN_MS_MAX = 5000,
    SAMPLE_NS_MIN = 200 * 1000 * 1000,
};
static const uint64_t NS = 1000000000;

struct worker {
    struct bench *bench;
    uint32_t lane;
    struct thread *thread;
};

struct bench {
    const struct bench_options *options;
    struct bench_plan plan;
    struct bench_shared *shared;
    struct bench_send *send;
    struct bench_result result;
    struct term_progress progress;
    struct worker workers[BENCH_LANES_MAX];
    uint32_t worker_count; /* Threads of this process. */
    pid_t children[BENCH_LANES_MAX];
    uint32_t child_count;
    int signal_fd;
    bool interrupted;
};

static const char help_head[] =
    "fanout bench: open-loop load with honest percentiles\n"
    "\n"
    "Opens many WebSocket clients, publishes stamped messages on a schedule that never waits for\n"
    "the server, and reports deliveries, loss, latency and what the server spent.\n"
    "\n"
    "usage: fanout bench [flags]\n";
static const char help_tail[] =
    "\n"
    "Examples\n"
    "  fanout bench --clients 1000 --rate 100 --pid \"$(pidof fanout)\"\n"
    "  fanout bench --mode users --clients 10000 --rate 5000 --publish redis --html report.html\n"
    "  fanout bench --scenario saturate --clients 1000 --pid 1234 --json -\n"
    "  fanout bench --scenario idle-memory --clients 18000 --pid 1234\n"
    "  fanout bench --subscribe-url 'ws://127.0.0.1:9000/sub?id=%d' \\\n"
    "               --publish-url 'http://127.0.0.1:9000/pub?id=%d'      another server\n"
    "\n"
    "Exit code: 0 all was well; 1 clients failed, messages were lost, or nothing could be\n"
    "measured; 2 the command line is wrong.\n";

static void load_thread(void *arg)
{
    struct worker *worker = arg;

    bench_load_run(&worker->bench->plan, worker->bench->shared, worker->lane);
}

/* Starts the load threads of one process. Returns 0 or negative errno. */
static int start_threads(struct bench *bench, uint32_t process)
{
    for (uint32_t i = 0; i < bench->plan.threads_per_process; i++) {
        struct worker *worker = &bench->workers[i];
        char name[16];
        *worker = (struct worker){bench, process * bench->plan.threads_per_process + i, NULL};
        snprintf(name, sizeof name, "bench-load-%u", worker->lane % 1000);
        int err = thread_start(name, -1, load_thread, worker, &worker->thread);
        if (err) {
            return err;
        }
        bench->worker_count = i + 1;
    }
    return 0;
}

static void join_threads(struct bench *bench)
{
    for (uint32_t i = 0; i < bench->worker_count; i++) {
        thread_join(bench->workers[i].thread);
    }
    bench->worker_count = 0;
}

/* One process keeps its load threads to itself; several leave the parent free to publish. Before
 * any thread is started. Returns 0 or negative errno. */
static int start_load(struct bench *bench)
{
    if (bench->plan.process_count == 1) {
        return start_threads(bench, 0);
    }
    for (uint32_t i = 0; i < bench->plan.process_count; i++) {
        pid_t parent = getpid(), pid = fork();
        if (pid < 0) {
            return -errno;
        }
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            int err = getppid() == parent ? start_threads(bench, i) : -ESRCH;
            join_threads(bench);
            _exit(err ? 1 : 0);
        }
        bench->children[bench->child_count++] = pid;
    }
    return 0;
}

static void stop_load(struct bench *bench)
{
    BENCH_SET(bench->shared->stop, true);
    join_threads(bench);
    for (uint32_t i = 0; i < bench->child_count; i++) {
        while (waitpid(bench->children[i], NULL, 0) < 0 && errno == EINTR) {
        }
    }
    bench->child_count = 0;
}

/* Sleeps a tick. False when the user wants the end. */
static bool tick(struct bench *bench)
{
    const struct timespec pause = {0, TICK_MS * 1000000};

    nanosleep(&pause, NULL);
    while (signals_take(bench->signal_fd)) {
        bench->interrupted = true;
    }
    return !bench->interrupted;
}

static bool pause_ms(struct bench *bench, uint64_t ms)
{
    uint64_t until_ns = clock_now_ns() + ms * 1000000;

    while (clock_now_ns() < until_ns) {
        if (!tick(bench)) {
            return false;
        }
    }
    return true;
}

static void read_usage(struct bench *bench, bool with_pss, struct bench_usage *ret_usage)
{
    bench_usage_read(bench->plan.pids, bench->plan.pid_count, with_pss, ret_usage);
}

static void show(struct bench *bench, const char *text)
{
    if (term_progress_due(&bench->progress, clock_now_ns() / 1000000)) {
        term_progress_show(&bench->progress, text);
    }
}

/* Waits until every client of the round is open or has failed. */
static bool await_clients(struct bench *bench, uint64_t target)
{
    uint64_t start_ns = clock_now_ns(), last_change_ns = start_ns, last_count = 0;
    static struct bench_lane sum;

    for (;;) {
        bench_sum(bench->shared, false, &sum);
        uint64_t now_ns = clock_now_ns(), count = sum.opened + sum.failed;
        if (count >= target) {
            return true;
        }
        if (count != last_count) {
            last_count = count;
            last_change_ns = now_ns;
        }
        if (now_ns - last_change_ns > 10 * NS || now_ns - start_ns > CONNECT_MS_MAX * 1000000ull) {
            return true; /* What hangs is counted as failed below. */
        }
        char text[160], a[32], b[32];
        snprintf(text, sizeof text, "connecting  %s of %s open%s", term_count(sum.opened, a),
            term_count(target, b), sum.failed ? ", some failed" : "");
        show(bench, text);
        if (!tick(bench)) {
            return false;
        }
    }
}

/* Without a single client there is nothing to measure. */
static bool any_open(const struct bench *bench)
{
    for (uint64_t i = 0; i < bench->options->clients; i++) {
        uint8_t state = BENCH_GET(bench->shared->clients[i]);
        if (state == BENCH_CLIENT_OPEN || state == BENCH_CLIENT_SLOW) {
            return true;
        }
    }
    /* The lanes' threads are still there, but a sentence that is set is not touched again. */
    const char *why = bench->shared->lanes[0].why;
    fprintf(stderr, "fanout bench: no client could connect to %s: %s\n",
        bench->plan.subscribe.url.address, why[0] ? why : "no answer");
    return false;
}

/* The time the last handshake took place is not recorded, so the tick's width is the error; for a
 * short storm that matters, hence the finer wait. */
static bool connect_all(struct bench *bench)
{
    struct bench_result *r = &bench->result;
    bool going = true;

    read_usage(bench, true, &r->before);
    uint64_t start_ns = clock_now_ns();
    int err = start_load(bench);
    if (err) {
        fprintf(stderr, "fanout bench: starting the load: %s\n", strerror(-err));
        return false;
    }
    uint64_t clients = bench->options->clients;
    uint64_t rounds = bench->plan.scenario == BENCH_CONNECT_STORM ? bench->options->rounds : 1;
    double seconds = 0;
    for (uint64_t round = 0; going && round < rounds; round++) {
        if (round) {
            pause_ms(bench, SETTLE_MS);
            start_ns = clock_now_ns();
            BENCH_SET(bench->shared->round, (uint32_t)round);
        }
        r->attempts += clients;
        going = await_clients(bench, r->attempts);
        seconds += (double)(clock_now_ns() - start_ns) / 1e9;
    }
    r->connect_s = seconds;
    going = going && pause_ms(bench, SETTLE_MS);
    read_usage(bench, true, &r->connected);
    term_progress_end(&bench->progress);
    return going && any_open(bench);
}

/* idle-memory: watches what a while of silence costs. */
static void hold(struct bench *bench, double seconds)
{
    struct bench_result *r = &bench->result;
    uint64_t start_ns = clock_now_ns();

    while ((double)(clock_now_ns() - start_ns) < seconds * 1e9) {
        char text[96];
        snprintf(text, sizeof text, "idle  %.0f of %.0f s",
            (double)(clock_now_ns() - start_ns) / 1e9, seconds);
        show(bench, text);
        if (!tick(bench)) {
            break;
        }
    }
    r->held_s = (double)(clock_now_ns() - start_ns) / 1e9;
    read_usage(bench, true, &r->held);
    term_progress_end(&bench->progress);
}

static bool start_senders(struct bench *bench)
{
    int err = bench_send_create(&bench->plan, bench->shared, &bench->send);

    if (err) {
        fprintf(stderr, "fanout bench: publishers: %s\n",
            err == -EINVAL ? "a --header is no \"Name: value\", or there are too many"
                           : strerror(-err));
        return false;
    }
    uint64_t give_up_ns = clock_now_ns() + READY_MS_MAX * 1000000ull;
    while (bench_send_ready(bench->send) == 0 && clock_now_ns() < give_up_ns) {
        if (!tick(bench)) {
            return false;
        }
    }
    if (bench_send_ready(bench->send) != 1) {
        const char *why = bench_send_totals(bench->send)->why;
        fprintf(stderr, "fanout bench: the publishers cannot connect to %s: %s\n",
            bench->plan.publish.url.address, why[0] ? why : "no answer");
        return false;
    }
    return true;
}

/* Counts the open clients of each channel: so many deliveries does one message make. */
static void count_listeners(struct bench *bench)
{
    uint32_t *listeners = mem_zalloc(bench->plan.channel_count * sizeof *listeners);

    for (uint64_t i = 0; i < bench->options->clients; i++) {
        if (BENCH_GET(bench->shared->clients[i]) == BENCH_CLIENT_OPEN) {
            listeners[bench_plan_channel(&bench->plan, i)] += 1;
        }
    }
    bench_send_listeners(bench->send, listeners);
    mem_free(listeners);
}

/* Waits until nothing arrives any more. */
static bool await_quiet(struct bench *bench, uint64_t quiet_ms, uint64_t max_ms, bool measured)
{
    static struct bench_lane sum;
    uint64_t start_ns = clock_now_ns(), change_ns = start_ns, last = UINT64_MAX;

    for (;;) {
        uint64_t now_ns = clock_now_ns();
        bench_sum(bench->shared, false, &sum);
        if (sum.received != last) {
            last = sum.received;
            change_ns = now_ns;
        }
        const struct bench_send_totals *send = bench_send_totals(bench->send);
        bool idle = bench_send_idle(bench->send);
        if (idle && measured && sum.counted >= BENCH_GET(send->expected)) {
            return true;
        }
        if (idle && now_ns - change_ns >= quiet_ms * 1000000) {
            return true;
        }
        if (now_ns - start_ns >= max_ms * 1000000) {
            return true;
        }
        if (!tick(bench)) {
            return false;
        }
    }
}

static void show_window(
    struct bench *bench, const struct bench_lane *sum, double elapsed, double cores)
{
    static uint64_t last_counted, last_ns;
    const struct bench_send_totals *send = bench_send_totals(bench->send);
    uint64_t now_ns = clock_now_ns();
    char text[200], server[80] = "", a[32], b[32];

    if (bench->progress.quiet || !term_progress_due(&bench->progress, now_ns / 1000000)) {
        return;
    }
    double rate = last_ns && now_ns > last_ns && sum->counted >= last_counted
                      ? (double)(sum->counted - last_counted) * 1e9 / (double)(now_ns - last_ns)
                  : elapsed > 0 ? (double)sum->counted / elapsed
                                : 0;
    last_counted = sum->counted;
    last_ns = now_ns;
    if (bench->plan.pid_count) {
        snprintf(server, sizeof server, "  server %.2f cores", cores);
    }
    snprintf(text, sizeof text, "%4.1f of %g s  %s deliveries/s  %s behind%s%s", elapsed,
        bench->options->duration, term_count((uint64_t)rate, a),
        term_count(BENCH_GET(send->behind_max), b), server, sum->closed ? "  clients lost" : "");
    term_progress_show(&bench->progress, text);
}

/* Follows the measured run: samples and progress, until its time is over. */
static void watch_window(struct bench *bench, uint64_t start_ns, uint64_t end_ns)
{
    struct bench_result *r = &bench->result;
    uint64_t sample_ns = (end_ns - start_ns) / (BENCH_SAMPLES_MAX / 2);
    uint64_t last_ns = start_ns, last_cpu_ns = r->window_start.cpu_ns;
    static struct bench_lane sum;
    double cores = 0;

    sample_ns = sample_ns > SAMPLE_NS_MIN ? sample_ns : SAMPLE_NS_MIN;
    while (tick(bench)) {
        uint64_t now_ns = clock_now_ns();
        if (now_ns >= end_ns) {
            break;
        }
        if (now_ns < last_ns + sample_ns) {
            continue;
        }
        if (bench->plan.pid_count && r->sample_count < BENCH_SAMPLES_MAX) {
            struct bench_usage usage;
            read_usage(bench, false, &usage);
            cores = (double)(usage.cpu_ns - last_cpu_ns) / (double)(now_ns - last_ns);
            r->samples[r->sample_count++] =
                (struct bench_sample){(double)(now_ns - start_ns) / 1e9, cores, usage.rss_bytes};
            last_cpu_ns = usage.cpu_ns;
        }
        last_ns = now_ns;
        bench_sum(bench->shared, false, &sum);
        show_window(bench, &sum, (double)(now_ns - start_ns) / 1e9, cores);
    }
}

/* Warm-up, window, drain. */
static bool publish_all(struct bench *bench)
{
    struct bench_result *r = &bench->result;
    static struct bench_lane sum;
    uint64_t lead_ns = 20 * 1000000;

    if (!start_senders(bench)) {
        return false;
    }
    if (bench->options->warmup > 0) {
        show(bench, "warming up");
        bench_send_run(
            bench->send, clock_now_ns() + lead_ns, (uint64_t)(bench->options->warmup * 1e9), false);
        if (!pause_ms(bench, (uint64_t)(bench->options->warmup * 1e3)) ||
            !await_quiet(bench, SETTLE_MS, DRAIN_MS_MAX, false)) {
            return false;
        }
    }
    const struct bench_send_totals *totals = bench_send_totals(bench->send);
    if (totals->errors_ever && BENCH_GET(totals->errors_ever) == BENCH_GET(totals->sent_ever)) {
        fprintf(stderr, "fanout bench: publishing to %s fails: %s\n",
            bench->plan.publish.url.address, totals->why);
        return false;
    }
    count_listeners(bench);
    uint64_t duration_ns = (uint64_t)(bench->options->duration * 1e9);
    bench_sum(bench->shared, false, &sum);
    uint64_t generator_ns = sum.cpu_ns;
    uint64_t start_ns = clock_now_ns() + lead_ns;
    bench_shared_window(bench->shared, start_ns, duration_ns, DRAIN_MS_MAX * 1000000ull);
    read_usage(bench, true, &r->window_start);
    bench_send_run(bench->send, start_ns, duration_ns, true);
    watch_window(bench, start_ns, start_ns + duration_ns);
    uint64_t end_ns = clock_now_ns();
    r->window_s = bench->interrupted ? (double)(end_ns - start_ns) / 1e9 : bench->options->duration;
    if (!bench->interrupted) {
        await_quiet(bench, QUIET_MS, DRAIN_MS_MAX, true);
    }
    read_usage(bench, true, &r->window_end);
    pause_ms(bench, 60); /* The load threads note their own time every 50 ms. */
    bench_sum(bench->shared, false, &sum);
    r->generator_cpu_ns = sum.cpu_ns - generator_ns;
    r->measured_s = sum.last_ns > start_ns ? (double)(sum.last_ns - start_ns) / 1e9 : r->window_s;
    r->measured_s = r->measured_s > r->window_s ? r->measured_s : r->window_s;
    term_progress_end(&bench->progress);
    return true;
}

static bool write_file(const char *path, const struct bytes *content)
{
    FILE *file = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");

    if (!file) {
        fprintf(stderr, "fanout bench: %s: %s\n", path, strerror(errno));
        return false;
    }
    bool fine = fwrite(content->data, 1, content->len, file) == content->len;
    fine = (file == stdout ? fflush(file) : fclose(file)) == 0 && fine;
    if (!fine) {
        fprintf(stderr, "fanout bench: writing %s: %s\n", path, strerror(errno));
    }
    return fine;
}

/* Text to stdout, unless JSON goes there. False when a file could not be written. */
static bool report(struct bench *bench)
{
    const struct bench_options *o = bench->options;
    struct bytes content = {0};
    bool json_stdout = o->json_file && strcmp(o->json_file, "-") == 0, fine = true;

    bench_report_text(
        &bench->result, json_stdout ? stderr : stdout, term_colour(json_stdout ? stderr : stdout));
    if (o->json_file) {
        CHECK(bench_report_json(&bench->result, true, &content) == 0);
        fine = write_file(o->json_file, &content);
    }
    if (o->html_file) {
        content.len = 0;
        CHECK(bench_report_html(&bench->result, &content) == 0);
        fine = write_file(o->html_file, &content) && fine;
    }
    bytes_fini(&content);
    return fine;
}

static int run(struct bench *bench)
{
    struct bench_result *r = &bench->result;
    const struct bench_options *o = bench->options;
    uint64_t each = (o->clients + bench->plan.process_count - 1) / bench->plan.process_count;
    uint32_t limit = fds_raise_limit();

    if (each + FDS_SPARE > limit) {
        uint32_t usable = limit > 2 * FDS_SPARE ? limit - FDS_SPARE : 1;
        fprintf(stderr,
            "fanout bench: %llu clients a process need more than the %u descriptors allowed; "
            "give it --processes %llu\n",
            (unsigned long long)each, limit, (unsigned long long)o->clients / usable + 1);
        return 2;
    }
    if (signals_open(&bench->signal_fd) ||
        bench_shared_create(o->clients, bench->plan.lane_count, &bench->shared)) {
        fprintf(stderr, "fanout bench: no memory or descriptors to start with\n");
        return 1;
    }
    bench_host_read(bench->plan.pids, bench->plan.pid_count, &r->host);
    r->plan = &bench->plan;
    r->started_s = clock_wall_ns() / NS;
    r->load = mem_zalloc_aligned(sizeof *r->load);

    bool going = connect_all(bench), fine = going;
    double hold_s = o->hold >= 0 ? o->hold : bench->plan.scenario == BENCH_IDLE_MEMORY ? 2 : 0;
    if (going && hold_s > 0) {
        hold(bench, hold_s);
    }
    if (fine && !bench->interrupted && bench->plan.publishes) {
        fine = publish_all(bench);
        if (r->window_s > 0) {
            r->send = bench_send_totals(bench->send);
        }
    }
    bench_send_stop(bench->send);
    stop_load(bench);
    if (fine || bench->interrupted) {
        bench_sum(bench->shared, true, r->load);
        uint64_t known = r->load->opened + r->load->failed;
        r->load->failed += r->attempts > known ? r->attempts - known : 0;
        r->bin_ns = bench->shared->bin_ns;
        r->bin_count = bench->shared->bin_count;
        r->interrupted = bench->interrupted;
        bench_result_judge(r);
        fine = report(bench);
    }
    bench_send_destroy(bench->send);
    bench_shared_destroy(bench->shared);
    mem_free(r->load);
    return fine && !r->failed && !bench->interrupted ? 0 : 1;
}

static char *join_command(int argc, char **argv)
{
    struct bytes text = {0};

    CHECK(bytes_append_str(&text, "fanout") == 0);
    for (int i = 0; i < argc; i++) {
        CHECK(bytes_append_byte(&text, ' ') == 0 && bench_shell_word(&text, argv[i]) == 0);
    }
    char *command = mem_strndup((const char *)text.data, text.len);
    bytes_fini(&text);
    return command;
}

int role_bench(int argc, char **argv)
{
    struct bench_options options;
    struct arg_list rest = {0};
    char err[ARGS_ERR_MAX];

    bench_options_init(&options);
    enum args_result parsed =
        args_parse(bench_args, bench_arg_count, argc, argv, &options, &rest, err);
    if (parsed == ARGS_HELP) {
        fputs(help_head, stdout);
        args_help(stdout, bench_args, bench_arg_count);
        fputs(help_tail, stdout);
        return 0;
    }
    if (parsed == ARGS_OK && rest.count) {
        snprintf(
            err, sizeof err, "unexpected word \"%.60s\"; bench takes flags only", rest.items[0]);
        parsed = ARGS_WRONG;
    }
    struct bench *bench = mem_zalloc(sizeof *bench);
    bench->options = &options;
    bench->progress = (struct term_progress){
        .stream = stderr, .quiet = options.quiet, .next_ms = clock_now_ns() / 1000000 + 300};
    if (parsed == ARGS_WRONG || bench_plan_make(&options, &bench->plan, err)) {
        fprintf(stderr, "fanout bench: %s\n", err);
        mem_free(bench);
        return 2;
    }
    bench->result.command = join_command(argc, argv);
    int code = run(bench);
    mem_free(bench->result.command);
    mem_free(bench);
    return code;
}
