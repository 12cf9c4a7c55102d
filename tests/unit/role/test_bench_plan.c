#include <string.h>
#include <unistd.h>

#include "role/bench_plan.h"
#include "tests/support/unit.h"

static struct bench_options options;
static struct bench_plan plan;
static char err[ARGS_ERR_MAX];

static int make(void)
{
    return bench_plan_make(&options, &plan, err);
}

static void templates_are_filled_in(void **state)
{
    char out[32];

    assert_int_equal(bench_expand("/sub?id=%d", 17, 4, out, sizeof out), 10);
    assert_string_equal(out, "/sub?id=17");
    assert_int_equal(bench_expand("%c-%d-%%d%x", 1, 2, out, sizeof out), 8);
    assert_string_equal(out, "2-1-%d%x");
    assert_true(bench_expand("0123456789012345678901234567890%d", 1, 2, out, sizeof out) < 0);
    assert_int_equal(bench_expand("0123456789012345678901234567890", 1, 2, out, sizeof out), 31);
}

static void defaults_speak_to_the_gateway(void **state)
{
    bench_options_init(&options);
    assert_int_equal(make(), 0);
    assert_string_equal(plan.subscribe.path, "/ws?room=bench-%d&client_id=c%c");
    assert_string_equal(plan.publish.path, "/api/v1/channels/room:bench-%d");
    assert_string_equal(plan.publish.url.address, "127.0.0.1:8084");
    assert_int_equal(plan.sender_count, 8);
    assert_int_equal(plan.channel_count, 1);
    assert_int_equal(plan.process_count, 1);
    assert_false(plan.spread);
    assert_true(plan.rate == 100);

    options.url = "http://10.0.0.1:80/base/";
    options.mode = "users";
    assert_int_equal(make(), 0);
    assert_string_equal(plan.subscribe.path, "/base/ws?username=bench-%d");
    assert_int_equal(plan.channel_count, 1000);
}

static void other_servers_have_their_own_addresses(void **state)
{
    bench_options_init(&options);
    options.subscribe_url = "ws://127.0.0.1:9000/sub?id=%d";
    options.publish_url = "http://127.0.0.1:9001";
    assert_int_equal(make(), 0);
    assert_string_equal(plan.subscribe.path, "/sub?id=%d");
    assert_string_equal(plan.publish.path, "/");
    assert_string_equal(plan.publish.url.address, "127.0.0.1:9001");
}

static void redis_uses_the_contracts_channels(void **state)
{
    static const char *const expected[][2] = {{"users", "workflow:events:bench-%d"},
        {"room", "room:bench-%d"}, {"channels", "fanout:ch:bench:%d"}};

    bench_options_init(&options);
    options.publish = "redis";
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        options.mode = expected[i][0];
        assert_int_equal(make(), 0);
        assert_string_equal(plan.redis_channel, expected[i][1]);
        assert_int_equal(plan.redis_room, i == 1);
        assert_int_equal(plan.sender_count, 1);
    }
    options.redis = "redis://127.0.0.1:6379/my:channel:%d";
    assert_int_equal(make(), 0);
    assert_string_equal(plan.redis_channel, "my:channel:%d");
    options.redis = "redis://127.0.0.1:6379/0"; /* A database, not a channel. */
    assert_int_equal(make(), 0);
    assert_string_equal(plan.redis_channel, "fanout:ch:bench:%d");
}

static void many_clients_need_processes(void **state)
{
    bench_options_init(&options);
    options.clients = 90000;
    options.threads = 2;
    assert_int_equal(make(), 0);
    assert_int_equal(plan.process_count, 5);
    assert_int_equal(plan.lane_count, 10);
    assert_true(plan.spread);
    uint64_t expected_first = 0;
    for (uint32_t lane = 0; lane < plan.lane_count; lane++) {
        uint64_t first, end;
        bench_plan_span(&plan, lane, &first, &end);
        assert_int_equal(first, expected_first);
        expected_first = end;
    }
    assert_int_equal(expected_first, 90000);
}

static void what_cannot_be_is_told(void **state)
{
    bench_options_init(&options);
    options.rooms = 2000;
    assert_true(make() < 0);
    assert_string_equal(err, "--rooms 2000 is more than --clients 1000");

    bench_options_init(&options);
    options.scenario = "idle-memory";
    assert_true(make() < 0);
    assert_non_null(strstr(err, "--pid"));
    options.pid = "nobody";
    assert_true(make() < 0);
    options.pid = "1,";
    assert_true(make() < 0);
    options.pid = "1 ";
    assert_true(make() < 0);
    options.pid = "1 1,1"; /* As pidof prints them. */
    assert_int_equal(make(), 0);
    assert_int_equal(plan.pid_count, 3);

    bench_options_init(&options);
    options.subscribe_url = "wss://127.0.0.1/ws";
    assert_true(make() < 0);
    assert_string_equal(err, "--subscribe-url: bench speaks no TLS; give the plain address");

    bench_options_init(&options);
    options.slow = 1001;
    assert_true(make() < 0);
    bench_options_init(&options);
    options.publishers = 1000;
    assert_true(make() < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(templates_are_filled_in),
        cmocka_unit_test(defaults_speak_to_the_gateway),
        cmocka_unit_test(other_servers_have_their_own_addresses),
        cmocka_unit_test(redis_uses_the_contracts_channels),
        cmocka_unit_test(many_clients_need_processes),
        cmocka_unit_test(what_cannot_be_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
