#include "tests/unit/ctl/config_fixture.h"

static void a_redis_key_turns_the_broker_to_redis(void **state)
{
    (void)state;
    struct fixture f = fixture_text("redis: {mode: exact}\n");
    assert_value(&f, "broker", "redis", "fanout.yaml:1");
    fixture_fini(&f);
    f = fixture_text("broker: redis\n");
    assert_value(&f, "redis.host", "localhost", "default");
    assert_int_equal(f.config->broker, CONFIG_BROKER_REDIS);
    fixture_fini(&f);
}

static void an_embedded_broker_that_ignores_redis_is_noticed(void **state)
{
    (void)state;
    struct fixture f = fixture_load(NULL, "REDIS_HOST=h", "--broker embedded");
    assert_value(&f, "broker", "embedded", "flag --broker");
    assert_lines(&f.report.notices, "flag --broker: broker is embedded, so what env REDIS_HOST "
                                    "says of redis has no effect\n");
    fixture_fini(&f);
}

static void overlapping_patterns_are_refused(void **state)
{
    (void)state;
    assert_faults("redis:\n"
                  "  mappings:\n"
                  "    - orders:*=orders:{1}\n"
                  "    - orders:eu:*=eu:{1}\n"
                  "    - room:special=room:x\n"
                  "    - fanout:x=x:y\n",
        "fanout.yaml:4: redis.mappings: orders:eu:* overlaps orders:* (fanout.yaml:3), so an event "
        "that matches both would be delivered twice\n"
        "fanout.yaml:5: redis.mappings: room:special overlaps room:* (built in), so an event that "
        "matches both would be delivered twice\n"
        "fanout.yaml:6: redis.mappings: fanout:x overlaps fanout:*, which fanout uses itself\n");
}

static void values_that_contradict_each_other_are_faults(void **state)
{
    (void)state;
    assert_faults("redis: {reconnect_min: 10s}\n",
        "fanout.yaml:1: redis.reconnect_min is longer than redis.reconnect_max\n");
    assert_faults("redis: {tls: true, tls_cert: c}\n",
        "fanout.yaml:1: redis.tls_cert and redis.tls_key belong together; expected both\n");
    assert_faults(
        "redis: {tls_ca: c}\n", "fanout.yaml:1: redis.tls_ca is given, but redis.tls is false\n");
    assert_faults("redis: {tls_insecure: true}\n",
        "fanout.yaml:1: redis.tls_insecure is given, but redis.tls is false\n");
    assert_faults("redis: {tls: true, unix: /x}\n",
        "fanout.yaml:1: redis.tls is true, but redis.unix names a socket, which does not speak "
        "TLS\n");
    assert_faults(
        "redis: {username: bob}\n", "fanout.yaml:1: redis.username is given without a password\n");
    assert_faults("redis: {password: a, password_file: b}\n",
        "fanout.yaml:1: redis.password_file and redis.password are both given; expected one\n");
    assert_faults("idle_timeout: 20s\n",
        "default: ws.ping_interval is not shorter than idle_timeout, so idle clients would be cut "
        "off before they are asked\n");
    assert_faults("listen: [':1', ':2', ':1']\n", "fanout.yaml:1: listen names :1 twice\n");
}

static void namespaces_are_checked_with_what_they_inherit(void **state)
{
    (void)state;
    assert_faults("namespaces: {room: {policy: conflate}}\n",
        "fanout.yaml:1: namespaces.room.policy is conflate, which needs conflate_key, e.g. "
        "/node_id\n");
    assert_faults("namespaces: {room: {conflate_key: node_id}}\n",
        "fanout.yaml:1: namespaces.room.conflate_key is \"node_id\"; expected a JSON pointer, "
        "e.g. /node_id\n");
    assert_faults("namespaces: {room: {history: redis}}\n",
        "fanout.yaml:1: namespaces.room.history is redis, but the broker is embedded\n");
    assert_faults("namespaces: {room: {history_bytes: 1GiB}}\n",
        "fanout.yaml:1: namespaces.room.history_bytes is more than history_bytes_total\n");
    assert_faults("namespaces: {a*b: {}}\n", "fanout.yaml:1: namespace name is \"a*b\"; expected 1 "
                                             "to 64 of a-z, 0-9, _ and -\n");
    struct fixture f =
        fixture_text("namespaces:\n  default: {conflate_key: /id}\n  room: {policy: conflate}\n");
    assert_string_equal(config_namespace(f.config, "room", 4)->conflate_key, "/id");
    fixture_fini(&f);
}

static void a_password_file_is_read_without_its_newline(void **state)
{
    (void)state;
    char path[] = "/tmp/fanout-secret-XXXXXX", text[80];
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "hunter2\r\n", 9), 9);
    close(fd);
    snprintf(text, sizeof text, "redis.password_file: %s\n", path);
    struct fixture f = fixture_text(text);
    assert_value(&f, "redis.password", "***", "fanout.yaml:1");
    assert_string_equal(f.config->redis.password, "hunter2");
    fixture_fini(&f);
    f = fixture_load(text, "REDIS_PASSWORD=stronger", "");
    assert_string_equal(f.config->redis.password, "stronger");
    fixture_fini(&f);
    unlink(path);
    f = fixture_text("redis.password_file: /nonexistent\n");
    assert_lines(&f.report.faults,
        "fanout.yaml:1: /nonexistent cannot be read: No such file or directory\n");
    fixture_fini(&f);
}

static void a_gateway_is_an_address_for_http(void **state)
{
    (void)state;
    const char *good[] = {"http://g:8084", "https://gateway.example.com/base"};
    const char *bad[] = {"gateway:8084", "http://", "https://", "ws://g", "HTTP//g"};
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        char text[80];
        snprintf(text, sizeof text, "gateway: %s\n", good[i]);
        struct fixture f = fixture_text(text);
        assert_value(&f, "gateway", good[i], "fanout.yaml:1");
        fixture_fini(&f);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        char text[80], fault[160];
        snprintf(text, sizeof text, "gateway: \"%s\"\n", bad[i]);
        snprintf(fault, sizeof fault,
            "fanout.yaml:1: gateway is \"%s\"; expected http://HOST:PORT or https://HOST:PORT\n",
            bad[i]);
        assert_faults(text, fault);
    }
}

static void task_types_are_names_of_streams(void **state)
{
    (void)state;
    struct fixture f = fixture_text("flow: {task_types: \"gpu,ocr-2\"}\n");
    assert_value(&f, "flow.task_types", "gpu,ocr-2", "fanout.yaml:1");
    fixture_fini(&f);
    assert_faults("flow: {task_types: \"gpu,a b,X\"}\n",
        "fanout.yaml:1: flow.task_types names \"a b\"; expected 1 to 64 of a-z, 0-9, _ and - "
        "each\n"
        "fanout.yaml:1: flow.task_types names \"X\"; expected 1 to 64 of a-z, 0-9, _ and - each\n");
}

static void the_coordinator_listens_on_a_port_of_its_own(void **state)
{
    (void)state;
    char role[] = "coordinator", port[] = "PORT=9000";
    char *argv[] = {role}, *env[] = {NULL, NULL};
    const uint16_t expected[] = {8081, 9000};
    for (int i = 0; i < 2; i++) {
        struct config_report report = {0};
        struct config *config = NULL;
        env[0] = i ? port : NULL;
        assert_int_equal(config_load(CONFIG_COORDINATOR, 1, argv, env, &config, &report), 0);
        assert_int_equal(config->listen.count, 1);
        assert_int_equal(config->listen.items[0].port, expected[i]);
        config_free(config);
        config_report_fini(&report);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_redis_key_turns_the_broker_to_redis),
        cmocka_unit_test(an_embedded_broker_that_ignores_redis_is_noticed),
        cmocka_unit_test(overlapping_patterns_are_refused),
        cmocka_unit_test(values_that_contradict_each_other_are_faults),
        cmocka_unit_test(namespaces_are_checked_with_what_they_inherit),
        cmocka_unit_test(a_password_file_is_read_without_its_newline),
        cmocka_unit_test(a_gateway_is_an_address_for_http),
        cmocka_unit_test(task_types_are_names_of_streams),
        cmocka_unit_test(the_coordinator_listens_on_a_port_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
