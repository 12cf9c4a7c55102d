/* What the embedded store of runs takes: build/release/bench/bench_flow_db [DIRECTORY [steps [batch]]]
 *
 * Steps of a seven-node workflow, as the coordinator commits them: consume, emit, queue, two node
 * records, header, output, a blob of 300 bytes, two events. `batch` runs are worked on at once, so many
 * commits are one transaction; a run is over after seven steps, and another begins. Without a directory
 * (or with "-") in memory. Then 100,000 runs are left running, and what opening them takes; on disk
 * only. The directory must not exist; it is left behind. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/check.h"
#include "base/mem.h"
#include "flow/changes.h"
#include "rt/clock.h"
#include "store/flow_db.h"

enum { NODES = 7, LIVE_RUNS = 100000, BLOB = 300 };

struct slot {
    struct bench *bench;
    struct flow_commit commit;
    struct changes changes;
    char id[40];
    uint32_t step; /* 0: it begins. */
    uint64_t version;
    bool busy;
};

struct bench {
    struct flow_db *db;
    struct flow_store store;
    struct flow_db_options options;
    uint64_t runs, steps, published;
    uint32_t runs_max; /* Steps of one run before it is left as it is; 0: until it is over. */
};

static void on_task(void *ctx, struct flow_task *task)
{
    struct bench *bench = ctx;

    bench->store.release_task(bench->store.ctx, task, FLOW_DONE, "");
}

static void on_timer(void *ctx, struct span run_id, struct span node)
{
    (void)ctx;
    (void)run_id;
    (void)node;
}

static void on_state(void *ctx, bool up, const char *why)
{
    (void)ctx;
    (void)up;
    (void)why;
}

static void publish(void *ctx, struct flow_publication *publication)
{
    ((struct bench *)ctx)->published += publication->count;
    publication->ret_count = publication->count;
    publication->err = 0;
    publication->done(publication);
}

static uint64_t wall_ms(void)
{
    return clock_wall_ns() / 1000000;
}

static struct span text(char *out, size_t cap, const char *fmt, ...) PRINTF_LIKE(3, 4);

static struct span text(char *out, size_t cap, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    int len = vsnprintf(out, cap, fmt, args);
    va_end(args);
    return span_of(out, (size_t)len);
}

static void add(struct slot *slot, struct flow_op op)
{
    CHECK(changes_add(&slot->changes, &op) == 0);
}

static void add_node(struct slot *slot, uint32_t node, const char *state)
{
    char name[16], record[512];

    struct span body = text(record, sizeof(record),
        "{\"state\":\"%s\",\"visit\":1,\"attempt\":1,\"hop\":%u,\"from\":%d,\"queued_ms\":"
        "1700000000000,"
        "\"finished_ms\":1700000000001,\"payload_ref\":\"sha256:%064u\",\"result_ref\":\"sha256:%"
        "064u\","
        "\"edges\":[1,1]}",
        state, node, (int)node - 1, node, node + 1);
    add(slot,
        (struct flow_op){
            .kind = FLOW_NODE, .node = text(name, sizeof(name), "node%u", node), .body = body});
}

static void add_event(struct slot *slot, const char *type, uint32_t node)
{
    char event[512];

    add(slot, (struct flow_op){.kind = FLOW_EVENT,
                  .body = text(event, sizeof(event),
                      "{\"type\":\"%s\",\"run_id\":\"%s\",\"node_id\":\"node%u\",\"status\":"
                      "\"completed\",\"counter\":1,\"result_ref\":\"sha256:%064u\",\"timestamp\":"
                      "1697234568}",
                      type, slot->id, node, node)});
}

static void add_queue(struct slot *slot, uint32_t node)
{
    char token[80], name[16], body[512];

    struct span id = text(token, sizeof(token), "%s:node%u:1:1", slot->id, node);
    add(slot, (struct flow_op){.kind = FLOW_EMIT, .id = id});
    add(slot, (struct flow_op){.kind = FLOW_QUEUE,
                  .id = id,
                  .name = span_str("transform"),
                  .node = text(name, sizeof(name), "node%u", node),
                  .body = text(body, sizeof(body),
                      "{\"id\":\"%s\",\"run_id\":\"%s\",\"from_node\":\"\",\"to_node\":\"node%u\","
                      "\"payload_ref\":\"sha256:%064u\",\"hop\":%u,\"metadata\":{}}",
                      token, slot->id, node, node, node)});
}

static void add_header(struct slot *slot, const char *status)
{
    char header[700];

    add(slot,
        (struct flow_op){.kind = FLOW_HEADER,
            .body = text(header, sizeof(header),
                "{\"run_id\":\"%s\",\"tag\":\"flight-search\",\"user\":\"test-user\",\"status\":"
                "\"%s\",\"workflow_ref\":\"sha256:%064u\",\"inputs_ref\":\"sha256:%064u\","
                "\"created_ms\":1700000000000,\"finished_ms\":0,\"counter\":1,\"emits\":%u,"
                "\"consumes\":%u,\"events\":%u,\"nodes\":7}",
                slot->id, status, 1, 2, slot->step + 1, slot->step, slot->step * 2)});
}

static void add_blob(struct slot *slot, uint64_t number)
{
    char ref[FLOW_REF_LEN + 1], body[BLOB + 1], name[16];

    struct span id = text(ref, sizeof(ref), "sha256:%016llx%016llx%032x",
        (unsigned long long)(number * 0x9e3779b97f4a7c15ull), (unsigned long long)number, 7);
    memset(body, 'x', BLOB);
    body[0] = body[BLOB - 1] = '"';
    add(slot, (struct flow_op){.kind = FLOW_BLOB, .id = id, .body = span_of(body, BLOB)});
    add(slot,
        (struct flow_op){
            .kind = FLOW_OUTPUT, .id = id, .node = text(name, sizeof(name), "node%u", slot->step)});
}

static void begin_run(struct slot *slot)
{
    static const char ir[] = "{\"nodes\":{\"node0\":{\"type\":\"transform\",\"config\":{}}}}";
    struct bench *bench = slot->bench;

    snprintf(slot->id, sizeof(slot->id), "0192%08llx-7000-8000-%012llx",
        (unsigned long long)bench->runs, (unsigned long long)bench->runs);
    bench->runs += 1;
    slot->version = 0;
    add(slot, (struct flow_op){.kind = FLOW_OPEN,
                  .id = span_str("test-user"),
                  .name = span_str("flight-search"),
                  .body = span_str(ir),
                  .n = wall_ms()});
    add_blob(slot, bench->runs * 16 + 15);
    add_queue(slot, 0);
    add_node(slot, 0, "queued");
    add_event(slot, "workflow_started", 0);
    add_event(slot, "node_started", 0);
    add_header(slot, "running");
}

static void step_run(struct slot *slot)
{
    struct bench *bench = slot->bench;
    char token[80];
    uint32_t node = slot->step - 1;

    add(slot, (struct flow_op){.kind = FLOW_CONSUME,
                  .id = text(token, sizeof(token), "%s:node%u:1:1", slot->id, node)});
    add_blob(slot, bench->runs * 16 + node);
    add_node(slot, node, "completed");
    add_event(slot, "node_completed", node);
    if (slot->step < NODES) {
        add_queue(slot, node + 1);
        add_node(slot, node + 1, "queued");
        add_event(slot, "node_started", node + 1);
        add_header(slot, "running");
    } else {
        add_event(slot, "workflow_completed", node);
        add_header(slot, "completed");
        add(slot,
            (struct flow_op){.kind = FLOW_CLOSE, .name = span_str("completed"), .n = wall_ms()});
    }
}

static void done(struct flow_commit *commit)
{
    struct slot *slot = commit->owner;
    struct bench *bench = slot->bench;

    CHECK(commit->err == 0);
    slot->busy = false;
    slot->version = commit->ret_version;
    slot->step += 1;
    bench->steps += 1;
    if (slot->step > NODES || (bench->runs_max && slot->step >= bench->runs_max)) {
        slot->step = 0;
    }
}

static void next(struct slot *slot)
{
    struct bench *bench = slot->bench;

    changes_reset(&slot->changes);
    if (slot->step == 0) {
        begin_run(slot);
    } else {
        step_run(slot);
    }
    slot->busy = true;
    slot->commit = (struct flow_commit){
        .done = done,
        .owner = slot,
        .run_id = span_str(slot->id),
        .user = span_str("test-user"),
        .version = slot->version,
        .ops = slot->changes.ops,
        .op_count = slot->changes.count,
    };
    bench->store.commit(bench->store.ctx, &slot->commit);
}

static void open_db(struct bench *bench)
{
    char why[FLOW_DB_WHY_MAX];

    if (flow_db_open(&bench->options, &bench->db, why) < 0) {
        fprintf(stderr, "%s\n", why);
        exit(1);
    }
    bench->store = flow_db_store(bench->db);
}

static double cpu_s(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6 +
           (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec / 1e6;
}

static void run_steps(struct bench *bench, uint64_t steps, uint32_t batch)
{
    struct slot *slots = mem_zalloc(batch * sizeof(*slots));
    uint64_t begin = clock_now_ns(), until = bench->steps + steps;
    double cpu = cpu_s();

    for (uint32_t i = 0; i < batch; i++) {
        slots[i].bench = bench;
    }
    while (bench->steps < until) {
        for (uint32_t i = 0; i < batch; i++) {
            next(&slots[i]);
        }
        (void)flow_db_turn(bench->db, wall_ms());
    }
    double s = (double)(clock_now_ns() - begin) / 1e9;
    printf("%llu commits in batches of %u: %.0f/s, %.1f us each, of it %.1f us CPU\n",
        (unsigned long long)steps, batch, (double)steps / s, s * 1e6 / (double)steps,
        (cpu_s() - cpu) * 1e6 / (double)steps);
    for (uint32_t i = 0; i < batch; i++) {
        changes_fini(&slots[i].changes);
    }
    mem_free(slots);
}

static void print_stats(struct bench *bench)
{
    struct flow_db_stats stats;

    flow_db_stats(bench->db, &stats);
    printf("file %.1f MiB, cache %.1f MiB, %llu transactions, %u runs unpublished, %u tasks wait\n",
        (double)stats.file_bytes / 1048576, (double)stats.cache_bytes / 1048576,
        (unsigned long long)stats.transactions, stats.unpublished_runs, stats.tasks_waiting);
}

int main(int argc, char **argv)
{
    struct bench bench = {0};
    struct flow_publisher publisher = {&bench, publish};
    uint64_t steps = argc > 2 ? strtoull(argv[2], NULL, 10) : 200000;
    uint32_t batch = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 100;

    bench.options = flow_db_options_default();
    bench.options.dir = argc > 1 && strcmp(argv[1], "-") != 0 ? argv[1] : NULL;
    bench.options.publisher = &publisher;
    bench.options.in = (struct flow_events_in){&bench, on_task, NULL, on_timer, on_state};
    open_db(&bench);
    run_steps(&bench, steps, batch);
    print_stats(&bench);
    if (bench.options.dir) {
        bench.runs_max = 2;
        run_steps(&bench, 2 * LIVE_RUNS, 500);
        flow_db_destroy(bench.db);
        uint64_t begin = clock_now_ns();
        open_db(&bench);
        printf("opening with %d runs that run: %.0f ms\n", LIVE_RUNS,
            (double)(clock_now_ns() - begin) / 1e6);
        print_stats(&bench);
    }
    flow_db_destroy(bench.db);
    return 0;
}
