#include "tests/unit/ctl/config_fixture.h"

static void flags_beat_environment_beats_file_beats_default(void **state)
{
    (void)state;
    struct fixture f = fixture_load("shards: 1\ndrain_timeout: 1s\nredis.db: 1\n",
        "FANOUT_SHARDS=2 FANOUT_DRAIN_TIMEOUT=2s", "--shards 3");
    char at[64];
    assert_value(&f, "shards", "3", "flag --shards");
    assert_value(&f, "drain_timeout", "2s", "env FANOUT_DRAIN_TIMEOUT");
    snprintf(at, sizeof at, "%s:3", f.path);
    assert_value(&f, "redis.db", "1", at);
    assert_value(&f, "ws.ping_interval", "25s", "default");
    fixture_fini(&f);
}

static void addr_beats_port_whatever_their_order(void **state)
{
    (void)state;
    struct fixture f = fixture_load(NULL, "ADDR=:8081 PORT=9000", "");
    assert_value(&f, "listen", ":8081", "env ADDR");
    fixture_fini(&f);
    f = fixture_load(NULL, "PORT=9000 ADDR=127.0.0.1:8081", "");
    assert_value(&f, "listen", "127.0.0.1:8081", "env ADDR");
    fixture_fini(&f);
    f = fixture_load("listen: [':1']\n", "PORT=9000", "");
    assert_value(&f, "listen", ":9000", "env PORT");
    fixture_fini(&f);
    f = fixture_load(NULL, "ADDR=:8081 FANOUT_PORT=7 FANOUT_LISTEN=:5,:6", "");
    assert_value(&f, "listen", ":5, :6", "env FANOUT_LISTEN");
    fixture_fini(&f);
    f = fixture_load(NULL, "ADDR=:8081", "--port 4");
    assert_value(&f, "listen", ":4", "flag --port");
    fixture_fini(&f);
}

static void a_repeated_listen_flag_adds_an_address(void **state)
{
    (void)state;
    struct fixture f = fixture_load(NULL, "ADDR=:1", "--listen :2 --listen=unix:/x");
    assert_value(&f, "listen", ":2, unix:/x", "flag --listen");
    fixture_fini(&f);
}

static void the_contracts_redis_names_are_read(void **state)
{
    (void)state;
    struct fixture f =
        fixture_load(NULL, "REDIS_HOST=redis REDIS_PORT=7000 REDIS_PASSWORD=hunter2", "");
    assert_value(&f, "broker", "redis", "env REDIS_HOST");
    assert_value(&f, "redis.host", "redis", "env REDIS_HOST");
    assert_value(&f, "redis.port", "7000", "env REDIS_PORT");
    assert_value(&f, "redis.password", "***", "env REDIS_PASSWORD");
    assert_string_equal(f.config->redis.password, "hunter2");
    fixture_fini(&f);
    f = fixture_load(NULL, "REDIS_HOST=h REDIS_ADDR=a:1", "");
    assert_value(&f, "redis.host", "h", "env REDIS_HOST");
    assert_value(&f, "redis.port", "1", "env REDIS_ADDR");
    fixture_fini(&f);
}

static void an_empty_variable_counts_as_not_set(void **state)
{
    (void)state;
    struct fixture f = fixture_load(NULL, "REDIS_PASSWORD= REDIS_HOST= PORT= FANOUT_SHARDS=", "");
    assert_value(&f, "broker", "embedded", "default");
    assert_value(&f, "listen", ":8084", "default");
    fixture_fini(&f);
}

static void a_url_says_everything_and_single_options_beat_it(void **state)
{
    (void)state;
    struct fixture f =
        fixture_load(NULL, "REDIS_URL=rediss://bob:p%40ss@h.example:7000/3", "--redis-db 5");
    assert_value(&f, "redis.host", "h.example", "env REDIS_URL");
    assert_value(&f, "redis.port", "7000", "env REDIS_URL");
    assert_value(&f, "redis.username", "bob", "env REDIS_URL");
    assert_value(&f, "redis.tls", "true", "env REDIS_URL");
    assert_value(&f, "redis.db", "5", "flag --redis-db");
    assert_string_equal(f.config->redis.password, "p@ss");
    fixture_fini(&f);
    f = fixture_load(NULL, "REDIS_URL=unix:///run/r.sock?db=2", "");
    assert_value(&f, "redis.unix", "/run/r.sock", "env REDIS_URL");
    assert_value(&f, "redis.db", "2", "env REDIS_URL");
    fixture_fini(&f);
    f = fixture_load(NULL, "REDIS_URL=redis://[::1]", "");
    assert_value(&f, "redis.host", "::1", "env REDIS_URL");
    assert_value(&f, "redis.port", "6379", "env REDIS_URL");
    fixture_fini(&f);
    f = fixture_load(NULL, "REDIS_URL=redis://:x@h", "");
    assert_value(&f, "redis.username", "-", "default");
    assert_string_equal(f.config->redis.password, "x");
    fixture_fini(&f);
}

static void a_url_that_is_none_is_a_fault(void **state)
{
    (void)state;
    const char *const urls[] = {"h:6379", "redis://h:x", "redis://h/zero", "redis://h?x=1",
        "unix://run", "redis://%zz@h", "redis://u:%4@h", "redis://[::1", "redis://h:70000"};
    for (size_t i = 0; i < COUNT_OF(urls); i++) {
        char env[64];
        snprintf(env, sizeof env, "REDIS_URL=%s", urls[i]);
        struct fixture f = fixture_load(NULL, env, "");
        assert_int_equal(f.result, -22);
        assert_int_equal(f.report.faults.count, 1);
        fixture_fini(&f);
    }
}

static void a_host_named_in_a_stronger_place_beats_the_socket(void **state)
{
    (void)state;
    struct fixture f = fixture_load("redis.unix: /run/r.sock\n", "REDIS_HOST=h", "");
    assert_value(&f, "redis.host", "h", "env REDIS_HOST");
    assert_null(f.config->redis.unix_path);
    fixture_fini(&f);
    f = fixture_load("redis.host: h\n", "FANOUT_REDIS_UNIX=/run/r.sock", "");
    assert_string_equal(f.config->redis.unix_path, "/run/r.sock");
    fixture_fini(&f);
}

static void what_kubernetes_injects_is_understood_but_beats_nothing(void **state)
{
    (void)state;
    struct fixture f = fixture_load(NULL, "REDIS_PORT=tcp://10.0.0.1:6380", "");
    assert_value(&f, "redis.host", "10.0.0.1", "env REDIS_PORT");
    assert_value(&f, "redis.port", "6380", "env REDIS_PORT");
    assert_value(&f, "broker", "redis", "env REDIS_PORT");
    fixture_fini(&f);
    f = fixture_load(NULL, "REDIS_HOST=redis REDIS_PORT=tcp://10.0.0.1:6380", "");
    assert_value(&f, "redis.host", "redis", "env REDIS_HOST");
    assert_value(&f, "redis.port", "6380", "env REDIS_PORT");
    fixture_fini(&f);
    f = fixture_load("redis: {host: h, port: 1}\n", "REDIS_PORT=tcp://10.0.0.1:6380", "");
    assert_string_equal(f.config->redis.host, "h");
    assert_int_equal(f.config->redis.port, 1);
    fixture_fini(&f);
    f = fixture_load(NULL, "PORT=tcp://10.0.0.1:9000", "");
    assert_value(&f, "listen", ":9000", "env PORT");
    fixture_fini(&f);
}

static void our_own_service_variables_are_no_faults(void **state)
{
    (void)state;
    struct fixture f = fixture_load(NULL,
        "FANOUT_SERVICE_HOST=10.0.0.2 FANOUT_SERVICE_PORT=8084 FANOUT_SERVICE_PORT_HTTP=8084 "
        "FANOUT_PORT=tcp://10.0.0.2:8084 FANOUT_PORT_8084_TCP=tcp://10.0.0.2:8084 "
        "FANOUT_PORT_8084_TCP_PROTO=tcp FANOUT_PORT_8084_TCP_ADDR=10.0.0.2 "
        "FANOUT_DEMO_PORT=tcp://10.0.0.3:1",
        "");
    assert_value(&f, "listen", ":8084", "default");
    assert_lines(&f.report.notices, "env FANOUT_PORT: tcp://10.0.0.2:8084 is what Kubernetes "
                                    "injects for a service named fanout; ignored\n");
    fixture_fini(&f);
}

static void only_listed_names_are_read(void **state)
{
    (void)state;
    struct fixture f =
        fixture_load(NULL, "FANOUT_SHARD=3 FANOUT_ZEBRA=1 LOG_LEVEL=debug HOST=x REDIS_NAME=y", "");
    assert_value(&f, "log.level", "info", "default");
    assert_int_equal(f.config->broker, CONFIG_BROKER_EMBEDDED);
    assert_lines(&f.report.notices,
        "env FANOUT_SHARD: not a known option, ignored; did you mean FANOUT_SHARDS?\n"
        "env FANOUT_ZEBRA: not a known option, ignored\n");
    fixture_fini(&f);
}

static void a_bad_variable_is_named_in_its_fault(void **state)
{
    (void)state;
    struct fixture f = fixture_load(NULL, "PORT=http FANOUT_WS_PING_INTERVAL=25", "--pin=x");
    assert_lines(&f.report.faults,
        "env PORT: port is \"http\"; expected a port from 0 to 65535\n"
        "env FANOUT_WS_PING_INTERVAL: ws.ping_interval is \"25\"; expected a duration from 100ms "
        "to 1h, e.g. 25s\n"
        "flag --pin: pin is \"x\"; expected true or false\n");
    fixture_fini(&f);
}

static void a_switch_is_turned_on_and_off(void **state)
{
    (void)state;
    struct fixture f = fixture_load(NULL, "FANOUT_FD_TABLES=1", "--pin --no-ws-compression");
    assert_true(f.config->pin);
    assert_true(f.config->fd_tables);
    assert_value(&f, "ws.compression", "false", "flag --no-ws-compression");
    fixture_fini(&f);
    f = fixture_load(NULL, "", "--pin --pin=false");
    assert_false(f.config->pin);
    fixture_fini(&f);
}

static void wrong_flags_are_told_with_the_nearest(void **state)
{
    (void)state;
    struct fixture f =
        fixture_load(NULL, "", "--sharts 3 --shard 4 --shard=5 --no-pin=1 -x word --redis-port");
    assert_lines(&f.report.faults,
        "command line: \"--sharts\" is not a flag here; did you mean --shards?\n"
        "command line: \"--shard\" is not a flag here; did you mean --shards?\n"
        "command line: \"--shard\" is not a flag here; did you mean --shards?\n"
        "command line: --no-pin takes no value\n"
        "command line: \"-x\" is not a flag here\n"
        "command line: --redis-port needs a value\n"
        "command line: \"3\" is unexpected; flags begin with --\n"
        "command line: \"word\" is unexpected; flags begin with --\n");
    fixture_fini(&f);
}

static void a_flag_of_another_role_is_unknown(void **state)
{
    (void)state;
    char role[] = "pub", flag[] = "--shards=1";
    char *argv[] = {role, flag, NULL}, *env[] = {NULL};
    struct fixture f = {0};
    f.result = config_load(CONFIG_PUB, 2, argv, env, &f.config, &f.report);
    assert_lines(&f.report.faults, "command line: \"--shards\" is not a flag here\n");
    fixture_fini(&f);
}

static void help_is_told_apart_from_a_snapshot(void **state)
{
    (void)state;
    struct fixture f = fixture_load(NULL, "", "--help --zebra");
    assert_int_equal(f.result, 1);
    assert_null(f.config);
    fixture_fini(&f);
}

static void a_missing_file_is_a_fault(void **state)
{
    (void)state;
    struct fixture f = fixture_load(NULL, "FANOUT_CONFIG=/nonexistent/fanout.yaml", "");
    assert_lines(
        &f.report.faults, "/nonexistent/fanout.yaml: cannot be read: No such file or directory\n");
    fixture_fini(&f);
    f = fixture_load(NULL, "FANOUT_CONFIG=/nonexistent/fanout.yaml", "--config /tmp");
    assert_lines(&f.report.faults, "/tmp: cannot be read: Is a directory\n");
    fixture_fini(&f);
}

static void namespaces_merge_field_by_field(void **state)
{
    (void)state;
    struct fixture f = fixture_load(
        "namespaces: {default: {outbox_messages: 9}, room: {outbox_bytes: 2MiB, history_age: 1h}}",
        "FANOUT_NAMESPACES=room:outbox_bytes=3MiB;chat:policy=disconnect",
        "--namespace room:policy=drop_newest,history_messages=0");
    assert_value(&f, "namespaces.room.outbox_bytes", "3MiB", "env FANOUT_NAMESPACES");
    assert_value(&f, "namespaces.room.policy", "drop_newest", "flag --namespace");
    assert_value(&f, "namespaces.room.history_bytes", "1MiB", "default");
    const struct config_namespace *room = config_namespace(f.config, "room", 4);
    assert_int_equal(room->outbox_messages, 9);
    assert_int_equal(room->history_messages, 0);
    assert_int_equal(room->history_age_ms, 3600000);
    assert_int_equal(config_namespace(f.config, "chat", 4)->policy, CONFIG_DISCONNECT);
    assert_string_equal(config_namespace(f.config, "roo", 3)->name, "default");
    assert_string_equal(config_namespace(f.config, "", 0)->name, "default");
    fixture_fini(&f);
}

static void a_namespace_flag_says_what_it_expects(void **state)
{
    (void)state;
    struct fixture f = fixture_load(NULL, "",
        "--namespace room --namespace room:zebra=1 --namespace room:polcy=x "
        "--namespace Room:policy=conflate "
        "--namespace room:outbox_messages=0");
    assert_lines(&f.report.faults,
        "flag --namespace: namespaces is \"room\"; expected name:key=value,…, e.g. "
        "room:policy=drop_newest,outbox_messages=64\n"
        "flag --namespace: \"namespaces.room.zebra\" is not an option\n"
        "flag --namespace: \"namespaces.room.polcy\" is not an option; did you mean policy?\n"
        "flag --namespace: namespace name is \"Room\"; expected 1 to 64 of a-z, 0-9, _ and -\n"
        "flag --namespace: namespaces.room.outbox_messages is \"0\"; expected a whole number from "
        "1 to 16777216\n");
    fixture_fini(&f);
}

static void shards_default_to_the_cores(void **state)
{
    (void)state;
    struct fixture f = fixture_load(NULL, "", "");
    assert_in_range(config_shard_count(f.config), 1, 64);
    fixture_fini(&f);
    f = fixture_load(NULL, "", "--shards 7");
    assert_int_equal(config_shard_count(f.config), 7);
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_beat_environment_beats_file_beats_default),
        cmocka_unit_test(addr_beats_port_whatever_their_order),
        cmocka_unit_test(a_repeated_listen_flag_adds_an_address),
        cmocka_unit_test(the_contracts_redis_names_are_read),
        cmocka_unit_test(an_empty_variable_counts_as_not_set),
        cmocka_unit_test(a_url_says_everything_and_single_options_beat_it),
        cmocka_unit_test(a_url_that_is_none_is_a_fault),
        cmocka_unit_test(a_host_named_in_a_stronger_place_beats_the_socket),
        cmocka_unit_test(what_kubernetes_injects_is_understood_but_beats_nothing),
        cmocka_unit_test(our_own_service_variables_are_no_faults),
        cmocka_unit_test(only_listed_names_are_read),
        cmocka_unit_test(a_bad_variable_is_named_in_its_fault),
        cmocka_unit_test(a_switch_is_turned_on_and_off),
        cmocka_unit_test(wrong_flags_are_told_with_the_nearest),
        cmocka_unit_test(a_flag_of_another_role_is_unknown),
        cmocka_unit_test(help_is_told_apart_from_a_snapshot),
        cmocka_unit_test(a_missing_file_is_a_fault),
        cmocka_unit_test(namespaces_merge_field_by_field),
        cmocka_unit_test(a_namespace_flag_says_what_it_expects),
        cmocka_unit_test(shards_default_to_the_cores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
