/* The statistics of a run, and the reports made of them. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "role/bench_result.h"
#include "tests/support/unit.h"

static struct bytes out;

static const char *text(void)
{
    assert_int_equal(bytes_append_byte(&out, 0), 0);
    return (const char *)out.data;
}

static int clear(void **state)
{
    bytes_fini(&out);
    return 0;
}

static void a_script_cannot_be_ended_from_inside(void **state)
{
    const char *json = "{\"a\":\"</script><!--<b>&\"}";
    assert_int_equal(bench_html_script(&out, span_str(json)), 0);
    assert_string_equal(text(), "{\"a\":\"\\u003c/script>\\u003c!--\\u003cb>&\"}");
}

static void html_text_is_escaped(void **state)
{
    assert_int_equal(bench_html_text(&out, "a<b>&\"c\"'"), 0);
    assert_string_equal(text(), "a&lt;b&gt;&amp;&quot;c&quot;'");
}

static void shell_words_are_quoted_when_needed(void **state)
{
    assert_int_equal(bench_shell_word(&out, "--url=http://a:1/%d"), 0);
    assert_int_equal(bytes_append_byte(&out, ' '), 0);
    assert_int_equal(bench_shell_word(&out, "it's & more"), 0);
    assert_int_equal(bytes_append_byte(&out, ' '), 0);
    assert_int_equal(bench_shell_word(&out, ""), 0);
    assert_string_equal(text(), "--url=http://a:1/%d 'it'\\''s & more' ''");
}

static void a_bin_interpolates_its_quantiles(void **state)
{
    static struct bench_bin bin;
    memset(&bin, 0, sizeof bin);
    assert_true(bench_bin_quantile(&bin, 0.5) == 0);
    for (int i = 0; i < 1000; i++) {
        bin.heat[hist_index(1000000) >> BENCH_HEAT_BITS] += 1;
    }
    double p50 = bench_bin_quantile(&bin, 0.5);
    assert_true(p50 > 800000 && p50 < 1200000);
}

static struct bench_shared *shared;
static struct bench_result result;
static struct bench_options options;
static struct bench_plan plan;
static struct bench_send_totals totals;

/* A run of two lanes: 30 of 40 expected deliveries in a window of one second. */
static void make_run(void)
{
    char err[ARGS_ERR_MAX];
    uint64_t start_ns = 1000000000;

    bench_options_init(&options);
    options.clients = 10;
    options.duration = 1;
    options.name = "</script><b>";
    assert_int_equal(bench_plan_make(&options, &plan, err), 0);
    assert_int_equal(bench_shared_create(10, 2, &shared), 0);
    bench_shared_window(shared, start_ns, 1000000000, 5000000000);
    for (int i = 0; i < 30; i++) {
        uint64_t due_ns = start_ns + (uint64_t)i * 10000000;
        bench_lane_take(&shared->lanes[i % 2], shared, due_ns + 2000000, due_ns, 1000000);
    }
    memset(&result, 0, sizeof result);
    memset(&totals, 0, sizeof totals);
    totals.sent = totals.accepted = 4;
    totals.expected = 40;
    result.plan = &plan;
    result.command = (char *)"fanout bench '<x>'";
    result.send = &totals;
    result.window_s = result.measured_s = 1;
    result.attempts = 10;
    result.connect_s = 0.5;
    result.load = mem_zalloc_aligned(sizeof *result.load);
    bench_sum(shared, true, result.load);
    result.load->opened = 10;
    result.bin_ns = shared->bin_ns;
    result.bin_count = shared->bin_count;
    bench_result_judge(&result);
}

static void drop_run(void)
{
    bench_shared_destroy(shared);
    mem_free(result.load);
}

static void lanes_add_up_and_loss_is_found(void **state)
{
    make_run();
    assert_int_equal(result.load->counted, 30);
    assert_int_equal(result.load->latency.count, 30);
    assert_int_equal(hist_quantile(&result.load->latency, 1), 2000000);
    assert_int_equal(hist_quantile(&result.load->service, 1), 1000000);
    assert_int_equal(result.load->bins[0].deliveries, 10);
    assert_int_equal(result.lost, 10);
    assert_true(result.lost_share == 0.25);
    assert_true(result.deliveries_per_s == 30);
    assert_true(result.failed);
    drop_run();
}

static void messages_outside_the_bins_go_to_the_last(void **state)
{
    assert_int_equal(bench_shared_create(1, 1, &shared), 0);
    bench_shared_window(shared, 1000, 3600ull * 1000000000, 5000000000);
    assert_true(shared->bin_count <= BENCH_BINS_MAX);
    assert_true(shared->bin_ns * shared->bin_count >= 3600ull * 1000000000);
    bench_lane_take(&shared->lanes[0], shared, UINT64_MAX / 2, 1000, 0);
    assert_int_equal(shared->lanes[0].bins[shared->bin_count - 1].deliveries, 1);
    bench_shared_destroy(shared);
}

static void the_json_report_is_json(void **state)
{
    json_error_t error;

    make_run();
    assert_int_equal(bench_report_json(&result, true, &out), 0);
    json_t *root = json_loadb((const char *)out.data, out.len, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(root);
    json_t *deliveries = json_object_get(root, "deliveries");
    assert_int_equal(json_integer_value(json_object_get(deliveries, "lost")), 10);
    json_t *latency = json_object_get(root, "latency_ms");
    assert_true(json_real_value(json_object_get(latency, "max")) == 2.0);
    assert_string_equal(json_string_value(json_object_get(json_object_get(root, "run"), "command")),
        "fanout bench '<x>'");
    json_decref(root);
    drop_run();
}

/* Nothing a user types may end an element early, and the page may ask nobody for anything. */
static void the_html_report_stands_alone(void **state)
{
    make_run();
    assert_int_equal(bench_report_html(&result, &out), 0);
    const char *page = text();
    assert_null(strstr(page, "</script><b>"));
    assert_null(strstr(page, "{{"));
    assert_non_null(strstr(page, "<title>&lt;/script&gt;"));
    assert_null(strstr(page, "src="));
    assert_null(strstr(page, "@import"));
    assert_null(strstr(page, "url("));
    assert_null(strstr(page, "<link"));
    drop_run();
}

static void the_text_report_names_what_matters(void **state)
{
    char *report = NULL;
    size_t len = 0;

    make_run();
    FILE *stream = open_memstream(&report, &len);
    bench_report_text(&result, stream, false);
    fclose(stream);
    assert_non_null(strstr(report, "30 of 40, 10 lost (25.0000 %)"));
    assert_non_null(strstr(report, "2.00 ms"));
    assert_null(strstr(report, "\033"));
    free(report);
    drop_run();
}

/* The text of a run whose server's memory went from before to after, RSS and PSS alike. */
static char *text_of_memory(uint64_t before, uint64_t after)
{
    char *report = NULL;
    size_t len = 0;

    make_run();
    plan.pid_count = 1;
    result.before.processes = result.connected.processes = 1;
    result.before.rss_bytes = result.before.pss_bytes = before;
    result.connected.rss_bytes = result.connected.pss_bytes = after;
    bench_result_judge(&result);
    FILE *stream = open_memstream(&report, &len);
    bench_report_text(&result, stream, false);
    fclose(stream);
    drop_run();
    return report;
}

static void memory_within_the_noise_is_no_figure(void **state)
{
    static const uint64_t after[] = {
        9000000, 9950000, 10000000, 10000000 + BENCH_MEMORY_NOISE_BYTES};

    for (size_t i = 0; i < COUNT_OF(after); i++) {
        char *report = text_of_memory(10000000, after[i]);
        assert_non_null(strstr(report, "memory grew by less than its noise (64.0 KiB)"));
        assert_null(strstr(report, "/connection"));
        free(report);
    }
    char *report = text_of_memory(10000000, 10000000 + 10 * 20480);
    assert_non_null(strstr(report, "20.0 KiB/connection (PSS 20.0 KiB)"));
    free(report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_script_cannot_be_ended_from_inside, clear),
        cmocka_unit_test_teardown(html_text_is_escaped, clear),
        cmocka_unit_test_teardown(shell_words_are_quoted_when_needed, clear),
        cmocka_unit_test(a_bin_interpolates_its_quantiles),
        cmocka_unit_test(lanes_add_up_and_loss_is_found),
        cmocka_unit_test(messages_outside_the_bins_go_to_the_last),
        cmocka_unit_test_teardown(the_json_report_is_json, clear),
        cmocka_unit_test_teardown(the_html_report_stands_alone, clear),
        cmocka_unit_test(the_text_report_names_what_matters),
        cmocka_unit_test(memory_within_the_noise_is_no_figure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
