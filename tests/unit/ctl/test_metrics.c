#include "ctl/metrics.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "ctl/stats.h"
#include "tests/support/unit.h"

struct fixture {
    struct figures figures;
    struct bytes out;
};

static int set_up(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));

    f->figures.version = "1.2.3";
    f->figures.role = "serve";
    f->figures.shard_count = 2;
    f->figures.ns_count = 2;
    snprintf(f->figures.ns[0].name, sizeof(f->figures.ns[0].name), "default");
    snprintf(f->figures.ns[1].name, sizeof(f->figures.ns[1].name), "room");
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    bytes_fini(&f->out);
    mem_free(f);
    return 0;
}

/* The page as a string. */
static char *page(struct fixture *f)
{
    f->out.len = 0;
    assert_int_equal(metrics_append(&f->out, &f->figures), 0);
    assert_int_equal(bytes_append_byte(&f->out, 0), 0);
    return (char *)f->out.data;
}

/* The value of the one line that begins with this name and these labels. */
static double value(struct fixture *f, const char *series)
{
    char wanted[200];

    page(f);
    snprintf(wanted, sizeof(wanted), "\n%s ", series);
    const char *at = strstr((char *)f->out.data, wanted);
    if (!at) {
        fail_msg("there is no %s", series);
        return 0;
    }
    assert_null(strstr(at + 1, wanted));
    return atof(at + strlen(wanted));
}

/* Prometheus refuses a whole scrape for one family that is declared twice or not at all. */
static void each_sample_stands_below_its_one_help_and_type(void **state)
{
    struct fixture *f = *state;
    f->figures.broker.redis = true;
    f->figures.shared.on = true;
    char family[128] = "", seen[16384] = " ";
    int samples = 0;

    char *text = page(f), *next;
    for (char *line = text; *line; line = next) {
        next = strchr(line, '\n');
        assert_non_null(next);
        *next++ = 0;
        char name[128], type[32];
        if (sscanf(line, "# HELP %127s", name) == 1) {
            char key[132];
            snprintf(key, sizeof(key), " %s ", name);
            assert_null(strstr(seen, key));
            assert_true(strlen(seen) + strlen(name) + 2 < sizeof(seen));
            memcpy(seen + strlen(seen), key + 1, strlen(key));
            snprintf(family, sizeof(family), "%s", name);
        } else if (sscanf(line, "# TYPE %127s %31s", name, type) == 2) {
            assert_string_equal(name, family);
        } else {
            assert_int_equal(strncmp(line, family, strlen(family)), 0);
            assert_non_null(strrchr(line, ' '));
            samples += 1;
        }
    }
    assert_true(samples > 80);
}

static void label_values_are_escaped(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(metrics_append_label(&f->out, "x", "a\"b\\c\nd\xc3\xa9"), 0);
    assert_int_equal(bytes_append_byte(&f->out, 0), 0);
    assert_string_equal((char *)f->out.data, "x=\"a\\\"b\\\\c\\nd\xc3\xa9\"");
}

static void the_histogram_rises_to_its_count(void **state)
{
    struct fixture *f = *state;
    uint64_t total = 0;
    double last_bound = 0, last = 0;
    int buckets = 0;

    for (int i = 0; i < SHARD_LATENCY_BUCKETS; i++) {
        f->figures.core.latency[i] = (uint64_t)(i % 3);
        total += (uint64_t)(i % 3);
    }
    f->figures.core.latency_sum_seconds = 1.5;
    const char *name = "fanout_publish_to_write_seconds_bucket{le=\"";
    for (char *at = strstr(page(f), name); at; at = strstr(at + 1, name)) {
        char *end;
        double bound = strtod(at + strlen(name), &end);
        double count = atof(end + strlen("\"} "));
        assert_true(bound > last_bound);
        assert_true(count >= last);
        last_bound = bound;
        last = count;
        buckets += 1;
    }
    assert_int_equal(buckets, SHARD_LATENCY_BUCKETS);
    assert_int_equal((uint64_t)last, total);
    assert_int_equal(
        (uint64_t)value(f, "fanout_publish_to_write_seconds_bucket{le=\"+Inf\"}"), total);
    assert_int_equal((uint64_t)value(f, "fanout_publish_to_write_seconds_count"), total);
    assert_true(value(f, "fanout_publish_to_write_seconds_sum") == 1.5);
}

/* Bucket 0 of the core is what took less than 16.384 µs. */
static void the_first_bound_is_16_microseconds(void **state)
{
    struct fixture *f = *state;

    f->figures.core.latency[0] = 7;
    assert_int_equal(value(f, "fanout_publish_to_write_seconds_bucket{le=\"1.6384e-05\"}"), 7);
}

static void books_that_do_not_balance_show(void **state)
{
    struct fixture *f = *state;

    f->figures.core.books = (struct books){.accepted = 10, .delivered = 6, .queued = 1};
    f->figures.core.books.dropped[DROP_SLOW] = 2;
    assert_int_equal(value(f, "fanout_books_difference"), 1);
    f->figures.core.books.pending = 1;
    assert_int_equal(value(f, "fanout_books_difference"), 0);
    assert_int_equal(value(f, "dropped_messages"), 2);
}

/* A total of 53 bits still counts one by one. */
static void large_counts_keep_every_digit(void **state)
{
    struct fixture *f = *state;

    f->figures.ns[1].stats.delivered = (1ull << 53) - 1;
    assert_non_null(strstr(
        page(f), "fanout_deliveries_delivered_total{namespace=\"room\"} 9007199254740991\n"));
}

static void the_plain_names_count_rooms_and_clients(void **state)
{
    struct fixture *f = *state;

    f->figures.rooms = 3;
    f->figures.websockets[FIGURES_USER] = 4;
    f->figures.websockets[FIGURES_ROOM] = 5;
    f->figures.http_connections = 6;
    assert_int_equal(value(f, "rooms"), 3);
    assert_int_equal(value(f, "clients"), 9);
}

static void an_embedded_broker_has_no_redis_figures(void **state)
{
    struct fixture *f = *state;

    f->figures.broker.up = true;
    assert_int_equal(value(f, "fanout_broker_up{broker=\"embedded\"}"), 1);
    assert_null(strstr(page(f), "fanout_delivery_path_age_seconds"));
    f->figures.broker.redis = true;
    f->figures.broker.path_age_seconds = 2.5;
    assert_true(value(f, "fanout_delivery_path_age_seconds") == 2.5);
    assert_null(strstr(page(f), "fanout_shared_history")); /* There is none. */
    f->figures.shared.on = true;
    f->figures.shared.lost = 7;
    assert_int_equal(value(f, "fanout_shared_history_lost_total"), 7);
}

static void descriptors_nobody_counted_are_left_out(void **state)
{
    struct fixture *f = *state;

    f->figures.process.open_fds = -1;
    assert_null(strstr(page(f), "process_open_fds"));
}

static void stats_are_one_json_object(void **state)
{
    struct fixture *f = *state;

    f->figures.websockets[FIGURES_USER] = 4;
    f->figures.users = 3;
    for (int redis = 0; redis < 2; redis++) {
        f->figures.broker.redis = redis;
        f->out.len = 0;
        assert_int_equal(stats_append(&f->out, &f->figures), 0);
        json_t *root = json_loadb((char *)f->out.data, f->out.len, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(root);
        assert_int_equal(json_integer_value(json_object_get(root, "connections")), 4);
        assert_int_equal(json_integer_value(json_object_get(root, "users")), 3);
        assert_int_equal(json_array_size(json_object_get(root, "shards")), 2);
        json_decref(root);
    }
}

static void without_memory_both_say_so(void **state)
{
    struct fixture *f = *state;
    int err = 0;

    f->figures.broker.redis = true;
    for (int64_t n = 0; n < 4; n++) {
        struct bytes out = {0};
        mem_fail_after(n);
        err = metrics_append(&out, &f->figures);
        mem_fail_after(-1);
        bytes_fini(&out);
        assert_int_equal(err, -ENOMEM);
    }
    struct bytes out = {0};
    mem_fail_after(0);
    err = stats_append(&out, &f->figures);
    mem_fail_after(-1);
    bytes_fini(&out);
    assert_int_equal(err, -ENOMEM);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* Buckets of Prometheus are cumulative: what took at most 16 us is in each of them. */
static void a_coordinator_has_its_own_families(void **state)
{
    struct fixture *f = *state;

    assert_null(strstr(page(f), "fanout_flow_"));
    f->figures.flow = (struct figures_flow){
        .on = true, .up = true, .runs_failed = 3, .steps = 5, .step_seconds = 0.25};
    for (int i = 0; i < FIGURES_STEP_BUCKETS; i++) {
        f->figures.flow.steps_below[i] = i < 2 ? 2 : 4;
    }
    assert_true(value(f, "fanout_flow_runs_ended_total{status=\"failed\"}") == 3);
    assert_true(value(f, "fanout_flow_step_seconds_bucket{le=\"1.6e-05\"}") == 2);
    assert_true(value(f, "fanout_flow_step_seconds_bucket{le=\"6.4e-05\"}") == 4);
    assert_true(value(f, "fanout_flow_step_seconds_bucket{le=\"+Inf\"}") == 5);
    assert_true(value(f, "fanout_flow_step_seconds_sum") == 0.25);
    assert_non_null(strstr(page(f), "fanout_flow_db_full"));
    assert_null(strstr(page(f), "fanout_flow_redis_"));
    f->figures.flow.redis.on = true;
    f->figures.flow.redis.reclaimed = 2;
    assert_true(value(f, "fanout_flow_redis_reclaimed_total") == 2);
    assert_null(strstr(page(f), "fanout_flow_db_"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_coordinator_has_its_own_families, set_up, tear_down),
        TEST(each_sample_stands_below_its_one_help_and_type),
        TEST(label_values_are_escaped),
        TEST(the_histogram_rises_to_its_count),
        TEST(the_first_bound_is_16_microseconds),
        TEST(books_that_do_not_balance_show),
        TEST(large_counts_keep_every_digit),
        TEST(the_plain_names_count_rooms_and_clients),
        TEST(an_embedded_broker_has_no_redis_figures),
        TEST(descriptors_nobody_counted_are_left_out),
        TEST(stats_are_one_json_object),
        TEST(without_memory_both_say_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
