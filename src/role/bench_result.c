#include "role/bench_result.h"

#include <stdarg.h>
#include <string.h>

#include "role/term.h"

static void note(struct bench_result *r, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void note(struct bench_result *r, const char *fmt, ...)
{
    va_list args;

    if (r->note_count == BENCH_NOTES_MAX) {
        return;
    }
    va_start(args, fmt);
    vsnprintf(r->notes[r->note_count], BENCH_NOTE_BYTES, fmt, args);
    va_end(args);
    r->note_count += 1;
}

/* What memory grew by. Pages come and go without a connection's doing: so little, or a loss, says
 * nothing about connections. */
static double growth(uint64_t after, uint64_t before)
{
    return after > before + BENCH_MEMORY_NOISE_BYTES ? (double)(after - before) : 0;
}

static void judge_connections(struct bench_result *r)
{
    const struct bench_lane *load = r->load;
    uint64_t opened = load->opened;

    r->handshakes_per_s = r->connect_s > 0 ? (double)opened / r->connect_s : 0;
    if (load->failed) {
        char n[32];
        note(r, "%s of the clients could not connect: %s", term_count(load->failed, n), load->why);
        r->failed = true;
    }
    if (load->closed) {
        char n[32];
        note(r, "%s clients were cut off: %s", term_count(load->closed, n), load->why);
        r->failed = true;
    }
    if (r->plan->pid_count == 0) {
        note(r, "no --pid: the server's CPU and memory were not measured");
        return;
    }
    if (r->connected.processes < r->plan->pid_count) {
        note(r, "%zu of %zu measured processes could not be read; are they still alive?",
            r->plan->pid_count - r->connected.processes, r->plan->pid_count);
        r->failed = true;
    }
    if (opened) {
        const struct bench_usage *after = r->held_s > 0 ? &r->held : &r->connected;
        uint64_t kept = opened < r->plan->options->clients ? opened : r->plan->options->clients;
        r->us_per_handshake =
            (double)(r->connected.cpu_ns - r->before.cpu_ns) / 1e3 / (double)opened;
        r->rss_per_connection = growth(after->rss_bytes, r->before.rss_bytes) / (double)kept;
        r->pss_per_connection = growth(after->pss_bytes, r->before.pss_bytes) / (double)kept;
    }
}

static void judge_deliveries(struct bench_result *r)
{
    const struct bench_lane *load = r->load;
    const struct bench_send_totals *send = r->send;
    double offered = r->plan->rate * r->window_s;
    char a[32], b[32];

    uint64_t in_window = 0;
    for (uint32_t i = 0; i < r->bin_count; i++) {
        if ((double)(i + 1) * (double)r->bin_ns <= r->window_s * 1e9 + 1e6) {
            in_window += load->bins[i].deliveries;
        }
    }
    r->deliveries_in_window_s = r->window_s > 0 ? (double)in_window / r->window_s : 0;
    double until_last = r->measured_s > r->window_s ? r->measured_s : r->window_s;
    r->deliveries_per_s = until_last > 0 ? (double)load->counted / until_last : 0;
    r->lost = send->expected > load->counted ? send->expected - load->counted : 0;
    r->lost_share = send->expected ? (double)r->lost / (double)send->expected : 0;
    uint64_t cpu_ns = r->window_end.cpu_ns - r->window_start.cpu_ns;
    if (r->plan->pid_count && load->counted) {
        r->us_per_delivery = (double)cpu_ns / 1e3 / (double)load->counted;
    }
    r->server_cores = r->measured_s > 0 ? (double)cpu_ns / 1e9 / r->measured_s : 0;
    r->generator_share =
        r->measured_s > 0 ? (double)r->generator_cpu_ns / 1e9 / r->measured_s / r->plan->lane_count
                          : 0;
    if (load->counted == 0) {
        note(r, "nothing was delivered%s%s", send->why[0] ? ": " : "", send->why);
        r->failed = true;
        return;
    }
    if (send->errors_ever) {
        note(r, "%s publications failed: %s", term_count(send->errors_ever, a), send->why);
        r->failed = true;
    }
    if (r->lost) {
        note(r, "%s of %s deliveries never came", term_count(r->lost, a),
            term_count(send->expected, b));
        r->failed = r->failed || !r->plan->options->allow_loss;
    }
    if (load->twice) {
        note(r, "%s deliveries came twice", term_count(load->twice, a));
        r->failed = true;
    }
    if (load->late) {
        note(r, "%s deliveries came after a later one of the same sender",
            term_count(load->late, a));
        r->failed = true;
    }
    if (send->unsent && offered > 0 && !r->interrupted) {
        note(r,
            "the publishers kept up with %.1f %% of the rate: the rest was never sent, and latency "
            "from the due time includes their queue",
            100 * (double)send->sent / offered);
    }
    if (r->generator_share > 0.85) {
        note(r,
            "the load threads were busy %.0f %% of the time: figures may be theirs, not the "
            "server's; give it --threads",
            100 * r->generator_share);
    }
    if (load->latency.count < 10000) {
        note(r, "only %s deliveries: p99.9 is the word of a handful",
            term_count(load->latency.count, a));
    }
}

void bench_result_judge(struct bench_result *r)
{
    if (r->interrupted) {
        note(r, "interrupted: figures cover the time until then");
    }
    judge_connections(r);
    if (r->send) {
        judge_deliveries(r);
    }
}

void bench_describe(const struct bench_plan *plan, char *out, size_t cap)
{
    const struct bench_options *o = plan->options;
    char clients[32], channels[32], rate[48], where[64];

    term_count(o->clients, clients);
    term_count(plan->channel_count, channels);
    if (plan->mode == BENCH_USERS) {
        snprintf(where, sizeof where, "as many users");
    } else {
        snprintf(where, sizeof where, "%s %s%s", channels,
            plan->mode == BENCH_ROOM ? "room" : "channel", plan->channel_count == 1 ? "" : "s");
    }
    if (!plan->publishes) {
        snprintf(out, cap, "%s clients, %s", clients, where);
        return;
    }
    if (plan->rate > 0) {
        snprintf(rate, sizeof rate, "%g msg/s", plan->rate);
    } else {
        snprintf(rate, sizeof rate, "as many messages as are answered");
    }
    int len = snprintf(out, cap, "%s clients, %s, %s of %llu B by %u %s publisher%s, %g s", clients,
        where, rate, (unsigned long long)o->size, plan->sender_count, bench_via_name(plan->via),
        plan->sender_count == 1 ? "" : "s", o->duration);
    if (o->slow && len > 0 && (size_t)len < cap) {
        snprintf(out + len, cap - (size_t)len, ", %llu never reading", (unsigned long long)o->slow);
    }
}

int bench_shell_word(struct bytes *out, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-./:=,+@%";
    if (*word && strspn(word, plain) == strlen(word)) {
        return bytes_append_str(out, word);
    }
    int err = bytes_append_byte(out, '\'');
    for (const char *at = word; *at && !err; at++) {
        err = *at == '\'' ? bytes_append_str(out, "'\\''") : bytes_append_byte(out, (uint8_t)*at);
    }
    return err ? err : bytes_append_byte(out, '\'');
}
