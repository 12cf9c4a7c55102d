/* The bench report as JSON: the same figures for programs, and what the HTML page draws from. */
#include "role/bench_result.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void set(json_t *object, const char *name, json_t *value)
{
    json_object_set_new(object, name, value);
}

static void set_count(json_t *object, const char *name, uint64_t value)
{
    set(object, name, json_integer((json_int_t)value));
}

/* Rounded to what the measurement can bear, so that files stay small and comparable. */
static json_t *rounded(double value, double digits)
{
    double scale = pow(10, digits);
    return json_real(isfinite(value) ? round(value * scale) / scale : 0);
}

static void set_number(json_t *object, const char *name, double value)
{
    set(object, name, rounded(value, 4));
}

/* Text from a peer or the command line may hold anything. */
static void set_text(json_t *object, const char *name, const char *text)
{
    json_t *value = json_string(text);
    set(object, name, value ? value : json_string("(not UTF-8)"));
}

static double ms(uint64_t ns)
{
    return (double)ns / 1e6;
}

static json_t *quantiles(const struct hist *hist)
{
    json_t *object = json_object();
    static const struct {
        const char *name;
        double quantile;
    } wanted[] = {{"p50", 0.5}, {"p90", 0.9}, {"p95", 0.95}, {"p99", 0.99}, {"p99.9", 0.999},
        {"p99.99", 0.9999}, {"max", 1}};

    set_count(object, "count", hist->count);
    set_number(object, "min", ms(hist_min(hist)));
    set_number(object, "mean", hist_mean(hist) / 1e6);
    for (size_t i = 0; i < COUNT_OF(wanted); i++) {
        set_number(object, wanted[i].name, ms(hist_quantile(hist, wanted[i].quantile)));
    }
    return object;
}

/* Points of the percentile curve: [nines, milliseconds], where nines = -log10(1 - quantile). */
static json_t *curve(const struct hist *hist)
{
    json_t *points = json_array();
    double most = hist->count ? log10((double)hist->count) : 0;

    int steps = (int)floor(20 * most + 1e-6);

    for (int i = 0; i <= steps; i++) {
        double nines = i / 20.0;
        json_t *point = json_array();
        json_array_append_new(point, rounded(nines, 2));
        json_array_append_new(point, rounded(ms(hist_quantile(hist, 1 - pow(10, -nines))), 4));
        json_array_append_new(points, point);
    }
    return points;
}

static json_t *usage(const struct bench_usage *u)
{
    json_t *object = json_object();

    set_number(object, "cpu_s", (double)u->cpu_ns / 1e9);
    set_count(object, "rss_bytes", u->rss_bytes);
    set_count(object, "pss_bytes", u->pss_bytes);
    set_count(object, "threads", u->threads);
    return object;
}

static json_t *plan_json(const struct bench_result *r)
{
    const struct bench_plan *plan = r->plan;
    json_t *object = json_object();
    char line[256];

    bench_describe(plan, line, sizeof line);
    set_text(object, "scenario", bench_scenario_name(plan->scenario));
    set_text(object, "description", line);
    set_text(object, "name", plan->options->name ? plan->options->name : "");
    set_text(object, "command", r->command);
    set_text(object, "version", FANOUT_VERSION);
    set_count(object, "started", r->started_s);
    set_text(object, "mode", bench_mode_name(plan->mode));
    set_count(object, "clients", plan->options->clients);
    set_count(object, "channels", plan->channel_count);
    set_count(object, "slow", plan->options->slow);
    set_number(object, "rate", plan->rate);
    set_count(object, "size", plan->options->size);
    set_number(object, "duration_s", plan->options->duration);
    set_text(object, "publish", bench_via_name(plan->via));
    set_count(object, "publishers", plan->sender_count);
    set_count(object, "processes", plan->process_count);
    set_count(object, "threads", plan->threads_per_process);
    return object;
}

static json_t *host_json(const struct bench_host *host)
{
    json_t *object = json_object();

    set_text(object, "system", host->system);
    set_text(object, "kernel", host->kernel);
    set_text(object, "cpu", host->cpu);
    set_count(object, "cpus", host->cpu_count);
    set_count(object, "memory_bytes", host->memory_bytes);
    set_count(object, "descriptors", host->fd_limit);
    set_text(object, "server", host->server);
    return object;
}

static json_t *deliveries_json(const struct bench_result *r)
{
    json_t *object = json_object();

    set_count(object, "expected", r->send->expected);
    set_count(object, "received", r->load->counted);
    set_count(object, "lost", r->lost);
    set_count(object, "twice", r->load->twice);
    set_count(object, "out_of_order", r->load->late);
    set_count(object, "missing_by_sequence", r->load->missing);
    set_count(object, "other_messages", r->load->other);
    set_number(object, "per_s", r->deliveries_per_s);
    set_number(object, "per_s_in_window", r->deliveries_in_window_s);
    set_count(object, "bytes", r->load->bytes);
    set_count(object, "reads", r->load->reads);
    return object;
}

static json_t *publish_json(const struct bench_result *r)
{
    json_t *object = json_object();

    set_count(object, "sent", r->send->sent);
    set_count(object, "accepted", r->send->accepted);
    set_count(object, "unsent", r->send->unsent);
    set_count(object, "behind_max", r->send->behind_max);
    set_count(object, "errors", r->send->errors_ever);
    set_number(object, "per_s", r->window_s > 0 ? (double)r->send->sent / r->window_s : 0);
    set(object, "late_ms", quantiles(&r->send->late));
    set(object, "answer_ms", quantiles(&r->send->answer));
    return object;
}

static json_t *server_json(const struct bench_result *r)
{
    json_t *object = json_object();

    set_count(object, "processes", r->plan->pid_count);
    set(object, "before", usage(&r->before));
    set(object, "connected", usage(&r->connected));
    if (r->held_s > 0) {
        set(object, "held", usage(&r->held));
        set_number(object, "held_s", r->held_s);
    }
    set_number(object, "us_per_handshake", r->us_per_handshake);
    set_number(object, "rss_bytes_per_connection", r->rss_per_connection);
    set_number(object, "pss_bytes_per_connection", r->pss_per_connection);
    if (r->send) {
        set(object, "window_start", usage(&r->window_start));
        set(object, "window_end", usage(&r->window_end));
        set_number(object, "us_per_delivery", r->us_per_delivery);
        set_number(object, "cores", r->server_cores);
    }
    return object;
}

/* One entry a bin, up to the last in which something happened. */
static json_t *series_json(const struct bench_result *r)
{
    static const char *const names[] = {"p50", "p95", "p99"};
    static const double wanted[] = {0.5, 0.95, 0.99};
    json_t *object = json_object(), *deliveries = json_array(), *sent = json_array();
    json_t *heat = json_array(), *lines[COUNT_OF(names)];
    double seconds = (double)r->bin_ns / 1e9;
    uint32_t used = 0, low = BENCH_HEAT_ROWS, high = 0;

    for (size_t q = 0; q < COUNT_OF(names); q++) {
        lines[q] = json_array();
    }
    for (uint32_t i = 0; i < r->bin_count; i++) {
        const struct bench_bin *bin = &r->load->bins[i];
        used = bin->deliveries || r->send->bins[i] ? i + 1 : used;
        for (uint32_t row = 0; row < BENCH_HEAT_ROWS; row++) {
            low = bin->heat[row] && row < low ? row : low;
            high = bin->heat[row] && row >= high ? row + 1 : high;
        }
    }
    for (uint32_t i = 0; i < used; i++) {
        const struct bench_bin *bin = &r->load->bins[i];
        json_t *column = json_array();
        json_array_append_new(deliveries, rounded((double)bin->deliveries / seconds, 1));
        json_array_append_new(sent, rounded((double)r->send->bins[i] / seconds, 1));
        for (size_t q = 0; q < COUNT_OF(names); q++) {
            json_array_append_new(lines[q], rounded(bench_bin_quantile(bin, wanted[q]) / 1e6, 4));
        }
        for (uint32_t row = low; row < high; row++) {
            json_array_append_new(column, json_integer(bin->heat[row]));
        }
        json_array_append_new(heat, column);
    }
    json_t *edges = json_array();
    for (uint32_t row = low; row <= high && low < high; row++) {
        json_array_append_new(edges, rounded(ms(bench_heat_low(row)), 6));
    }
    set_number(object, "bin_s", seconds);
    set(object, "deliveries_per_s", deliveries);
    set(object, "sent_per_s", sent);
    for (size_t q = 0; q < COUNT_OF(names); q++) {
        set(object, names[q], lines[q]);
    }
    set(object, "heat_edges_ms", edges);
    set(object, "heat", heat);
    return object;
}

static json_t *samples_json(const struct bench_result *r)
{
    json_t *samples = json_array();

    for (size_t i = 0; i < r->sample_count; i++) {
        json_t *sample = json_array();
        json_array_append_new(sample, rounded(r->samples[i].at, 3));
        json_array_append_new(sample, rounded(r->samples[i].cores, 4));
        json_array_append_new(sample, json_integer((json_int_t)r->samples[i].rss_bytes));
        json_array_append_new(samples, sample);
    }
    return samples;
}

int bench_report_json(const struct bench_result *r, bool pretty, struct bytes *out)
{
    json_t *root = json_object(), *connect = json_object(), *generator = json_object();
    json_t *notes = json_array();

    set(root, "run", plan_json(r));
    set(root, "host", host_json(&r->host));
    set(root, "ok", json_boolean(!r->failed));
    for (size_t i = 0; i < r->note_count; i++) {
        json_t *text = json_string(r->notes[i]);
        json_array_append_new(notes, text ? text : json_string("(not UTF-8)"));
    }
    set(root, "notes", notes);
    set_count(connect, "attempts", r->attempts);
    set_count(connect, "opened", r->load->opened);
    set_count(connect, "failed", r->load->failed);
    set_count(connect, "closed", r->load->closed);
    set_number(connect, "seconds", r->connect_s);
    set_number(connect, "per_s", r->handshakes_per_s);
    set(connect, "handshake_ms", quantiles(&r->load->handshake));
    set(connect, "handshake_curve", curve(&r->load->handshake));
    set(root, "connect", connect);
    if (r->plan->pid_count) {
        set(root, "server", server_json(r));
    }
    if (r->send) {
        set_number(root, "window_s", r->window_s);
        set_number(root, "measured_s", r->measured_s);
        set(root, "deliveries", deliveries_json(r));
        set(root, "latency_ms", quantiles(&r->load->latency));
        set(root, "service_ms", quantiles(&r->load->service));
        set(root, "publish", publish_json(r));
        set_number(generator, "busy", r->generator_share);
        set_number(generator, "cpu_s", (double)r->generator_cpu_ns / 1e9);
        set(root, "generator", generator);
        set(root, "latency_curve", curve(&r->load->latency));
        set(root, "service_curve", curve(&r->load->service));
        set(root, "series", series_json(r));
        set(root, "samples", samples_json(r));
    } else {
        json_decref(generator);
    }
    char *text =
        json_dumps(root, (pretty ? JSON_INDENT(1) : JSON_COMPACT) | JSON_REAL_PRECISION(10));
    json_decref(root);
    int err = text ? bytes_append_str(out, text) : -ENOMEM;
    err = err || !pretty ? err : bytes_append_byte(out, '\n');
    free(text);
    return err;
}
