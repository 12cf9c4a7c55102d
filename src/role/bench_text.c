/* The bench report for people. */
#include "role/bench_result.h"
#include "role/term.h"

struct style {
    const char *bold, *dim, *warn, *off;
};

static void print_quantiles(FILE *out, const char *label, const struct hist *hist,
    const char *remark, const struct style *s)
{
    static const struct {
        const char *name;
        double quantile;
    } wanted[] = {{"p50", 0.5}, {"p95", 0.95}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1}};

    fprintf(out, "  %-11s", label);
    for (size_t i = 0; i < COUNT_OF(wanted); i++) {
        char text[32];
        fprintf(out, " %s%s%s %s%-9s%s", s->dim, wanted[i].name, s->off, i < 3 ? s->bold : "",
            term_time(hist_quantile(hist, wanted[i].quantile), text), s->off);
    }
    fprintf(out, " %s%s%s\n", s->dim, remark, s->off);
}

static void print_deliveries(const struct bench_result *r, FILE *out, const struct style *s)
{
    const struct bench_lane *load = r->load;
    const struct bench_send_totals *send = r->send;
    char a[32], b[32], c[32], d[32];

    fprintf(out, "  %-11s %s%s/s%s   %s of %s, %s lost (%.4f %%), %llu twice, %llu out of order\n",
        "deliveries", s->bold, term_count((uint64_t)(r->deliveries_per_s + 0.5), a), s->off,
        term_count(load->counted, b), term_count(send->expected, c), term_count(r->lost, d),
        100 * r->lost_share, (unsigned long long)load->twice, (unsigned long long)load->late);
    print_quantiles(out, "latency", &load->latency, "from when it was due", s);
    print_quantiles(out, "service", &load->service, "from when it was sent", s);
    fprintf(out, "  %-11s %s sent, %.1f/s", "publish", term_count(send->sent, a),
        r->window_s > 0 ? (double)send->sent / r->window_s : 0);
    if (send->unsent && !r->interrupted) {
        fprintf(out, " (%s due but not sent)", term_count(send->unsent, b));
    }
    if (send->answer.count) {
        fprintf(out, "   answered p50 %s, p99 %s", term_time(hist_quantile(&send->answer, 0.5), c),
            term_time(hist_quantile(&send->answer, 0.99), d));
    }
    fprintf(out, "\n");
    if (load->other) {
        fprintf(out, "  %-11s %s messages without a stamp (notices, strangers)\n", "other",
            term_count(load->other, a));
    }
}

static const char *growth_text(double per_connection, char text[32])
{
    return per_connection > 0 ? term_size(per_connection, text) : "within noise";
}

static void print_server(const struct bench_result *r, FILE *out, const struct style *s)
{
    char a[32], b[32], c[32];
    const struct bench_usage *last = r->send         ? &r->window_end
                                     : r->held_s > 0 ? &r->held
                                                     : &r->connected;

    if (r->plan->pid_count == 0) {
        return;
    }
    fprintf(out, "  %-11s ", "server");
    if (r->send) {
        fprintf(out, "%s%.3f µs%s CPU/delivery, %.2f cores, ", s->bold, r->us_per_delivery, s->off,
            r->server_cores);
    }
    fprintf(out, "RSS %s, PSS %s, %u thread%s\n", term_size((double)last->rss_bytes, a),
        term_size((double)last->pss_bytes, b), last->threads, last->threads == 1 ? "" : "s");
    fprintf(out, "  %-11s ", "");
    if (r->rss_per_connection > 0 || r->pss_per_connection > 0) {
        fprintf(out, "%s%s%s/connection (PSS %s)",
            r->plan->scenario == BENCH_IDLE_MEMORY ? s->bold : "",
            growth_text(r->rss_per_connection, a),
            r->plan->scenario == BENCH_IDLE_MEMORY ? s->off : "",
            growth_text(r->pss_per_connection, c));
    } else {
        fprintf(
            out, "memory grew by less than its noise (%s)", term_size(BENCH_MEMORY_NOISE_BYTES, a));
    }
    fprintf(out, ", %.1f µs CPU/handshake\n", r->us_per_handshake);
}

void bench_report_text(const struct bench_result *r, FILE *out, bool colour)
{
    static const struct style plain = {"", "", "", ""};
    static const struct style coloured = {"\033[1m", "\033[2m", "\033[33m", "\033[0m"};
    const struct style *s = colour ? &coloured : &plain;
    const struct bench_lane *load = r->load;
    char line[256], a[32], b[32], c[32];

    bench_describe(r->plan, line, sizeof line);
    fprintf(out, "%s%s%s  %s%s%s\n", s->bold, bench_scenario_name(r->plan->scenario), s->off,
        s->dim, line, s->off);
    if (r->send) {
        print_deliveries(r, out, s);
    }
    print_server(r, out, s);
    fprintf(out, "  %-11s %s%s/s%s   %s of %s in %.2f s, p50 %s, p99 %s\n", "handshakes",
        r->plan->scenario == BENCH_CONNECT_STORM ? s->bold : "",
        term_count((uint64_t)(r->handshakes_per_s + 0.5), a),
        r->plan->scenario == BENCH_CONNECT_STORM ? s->off : "", term_count(load->opened, b),
        term_count(r->attempts, c), r->connect_s,
        term_time(hist_quantile(&load->handshake, 0.5), line),
        term_time(hist_quantile(&load->handshake, 0.99), line + 64));
    if (r->send) {
        fprintf(out, "  %-11s %.0f %% of %u load thread%s, %.1f messages a read\n", "generator",
            100 * r->generator_share, r->plan->lane_count, r->plan->lane_count == 1 ? "" : "s",
            load->reads > load->opened
                ? (double)load->received / (double)(load->reads - load->opened)
                : 0);
    }
    for (size_t i = 0; i < r->note_count; i++) {
        fprintf(out, "%s  note        %s%s\n", s->warn, r->notes[i], s->off);
    }
}
