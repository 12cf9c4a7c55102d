#include "tests/unit/ctl/config_fixture.h"

static void an_empty_file_is_the_defaults(void **state)
{
    (void)state;
    struct fixture f = fixture_text("# nothing yet\nredis:\nnamespaces:\n");
    assert_value(&f, "listen", ":8084", "default");
    assert_int_equal(f.config->broker, CONFIG_BROKER_EMBEDDED);
    fixture_fini(&f);
}

static void every_kind_of_value_is_read_with_its_line(void **state)
{
    (void)state;
    struct fixture f = fixture_text("listen: [':1', 'unix:/x']\n"
                                    "pin: yes\n"
                                    "redis:\n"
                                    "  host: h\n"
                                    "  password: 12345\n"
                                    "  mappings:\n"
                                    "    - {pattern: 'a=*', channel: 'a:{1}'}\n"
                                    "    - b:*=b:{1}\n"
                                    "ws: {ping_interval: 20s, read_bytes_v1: 1k}\n"
                                    "log.level: debug\n");
    assert_value(&f, "listen", ":1, unix:/x", "fanout.yaml:1");
    assert_value(&f, "pin", "true", "fanout.yaml:2");
    assert_value(&f, "redis.host", "h", "fanout.yaml:4");
    assert_string_equal(f.config->redis.password, "12345");
    assert_int_equal(f.config->redis.mappings.count, 4);
    assert_string_equal(f.config->redis.mappings.items[0].pattern, "workflow:events:*");
    assert_string_equal(f.config->redis.mappings.items[2].pattern, "a=*");
    assert_string_equal(f.config->redis.mappings.items[3].channel, "b:{1}");
    assert_string_equal(f.config->redis.mappings.items[3].origin, "fanout.yaml:8");
    assert_int_equal(f.config->ws.ping_interval_ms, 20000);
    assert_int_equal(f.config->ws.read_bytes_v1, 1024);
    assert_int_equal(f.config->log.level, LOG_DEBUG);
    fixture_fini(&f);
}

static void all_faults_of_a_file_are_told_at_once(void **state)
{
    (void)state;
    assert_faults("listen: [nope]\n"
                  "shards: 65\n"
                  "redis:\n"
                  "  hots: x\n"
                  "  canary_interval: 10ms\n"
                  "ws: {ping_interval: 5 parsecs}\n"
                  "pinn: true\n"
                  "log: {level: loud}\n",
        "fanout.yaml:1: listen is \"nope\"; expected host:port, :port, [v6]:port or unix:/path\n"
        "fanout.yaml:2: shards is \"65\"; expected a whole number from 0 to 64\n"
        "fanout.yaml:4: \"redis.hots\" is not an option; did you mean redis.host?\n"
        "fanout.yaml:5: redis.canary_interval is \"10ms\"; expected a duration from 200ms to 1h, "
        "e.g. 1s\n"
        "fanout.yaml:6: ws.ping_interval is \"5 parsecs\"; expected a duration from 100ms to 1h, "
        "e.g. 25s\n"
        "fanout.yaml:7: \"pinn\" is not an option; did you mean pin?\n"
        "fanout.yaml:8: log.level is \"loud\"; expected debug, info, warn or error\n");
}

static void each_type_says_what_it_expects(void **state)
{
    (void)state;
    assert_faults("pin: maybe\n", "fanout.yaml:1: pin is \"maybe\"; expected true or false\n");
    assert_faults("http.head_bytes: 1KB\n", "fanout.yaml:1: http.head_bytes is \"1KB\"; expected "
                                            "a size from 1KiB to 1MiB, e.g. 16KiB\n");
    assert_faults("max_connections: 4294967296\n",
        "fanout.yaml:1: max_connections is \"4294967296\"; expected a whole number from 0 to "
        "4294967295\n");
    assert_faults("redis.host: \"a\\tb\"\n",
        "fanout.yaml:1: redis.host is \"a\\x09b\"; expected text without control characters\n");
    assert_faults(
        "port: 65536\n", "fanout.yaml:1: port is \"65536\"; expected a port from 0 to 65535\n");
    assert_faults("redis.addr: localhost\n",
        "fanout.yaml:1: redis.addr is \"localhost\"; expected host:port, e.g. localhost:6379\n");
    assert_faults("redis.mappings: ['a?=x:y']\n",
        "fanout.yaml:1: redis.mappings is \"a?=x:y\"; expected pattern=channel with at most one * "
        "and a namespace before the first colon of the channel, e.g. orders:*=orders:{1}\n");
    assert_faults("idle_timeout:\n",
        "fanout.yaml:1: idle_timeout is \"\"; expected a duration from 0 to 1d, e.g. 75s\n");
}

static void wrong_shapes_are_faults(void **state)
{
    (void)state;
    assert_faults("[a]\n", "fanout.yaml:1: the file is a list; expected a mapping of options\n");
    assert_faults("redis: 6379\n",
        "fanout.yaml:1: redis is a single value; expected a mapping of its options\n");
    assert_faults("shards: [1]\n", "fanout.yaml:1: shards is a list; expected a single value\n");
    assert_faults("listen: {a: 1}\n", "fanout.yaml:1: listen is a mapping; expected a list\n");
    assert_faults("listen: []\n", "fanout.yaml:1: listen is an empty list; expected an address\n");
    assert_faults(
        "listen: [[':1']]\n", "fanout.yaml:1: listen[0] is a list; expected a single value\n");
    assert_faults("namespaces: [room]\n",
        "fanout.yaml:1: namespaces is a list; expected a mapping of names to settings\n");
    assert_faults("namespaces: {room: 5}\n",
        "fanout.yaml:1: namespaces.room is a single value; expected a mapping of its settings\n");
    assert_faults("namespaces: {room: {policy: [a]}}\n",
        "fanout.yaml:1: namespaces.room.policy is a list; expected a single value\n");
    assert_faults("? [a]\n: 1\n", "fanout.yaml:1: a key is not a name\n");
    assert_faults("redis.mappings: [{pattern: [a], channel: 'x:y'}]\n",
        "fanout.yaml:1: redis.mappings.pattern is a list; expected text\n");
    assert_faults("redis.mappings: [{patern: 'a', channel: 'x:y'}]\n",
        "fanout.yaml:1: \"redis.mappings.patern\" is not an option; did you mean pattern?\n");
    assert_faults("redis.mappings: [{pattern: a, pattern: b, channel: 'x:y'}]\n",
        "fanout.yaml:1: redis.mappings.pattern is given twice\n");
}

static void what_is_given_twice_is_a_fault(void **state)
{
    (void)state;
    assert_faults(
        "shards: 1\nshards: 1\n", "fanout.yaml:2: shards is given twice; first in line 1\n");
    assert_faults("ws: {compression: true}\nws: {compression: no}\n",
        "fanout.yaml:2: ws is given twice; first in line 1\n"
        "fanout.yaml:2: ws.compression is given twice; first in line 1\n");
    assert_faults("log: {level: info}\nlog.level: warn\n",
        "fanout.yaml:2: log.level is given twice; first in line 1\n");
    assert_faults("namespaces:\n  room: {}\n  room: {}\n",
        "fanout.yaml:3: namespaces.room is given twice; first in line 2\n");
    assert_faults("namespaces:\n  default: {}\n  default: {}\n",
        "fanout.yaml:3: namespaces.default is given twice; first in line 2\n");
    assert_faults("namespaces:\n  room:\n    policy: disconnect\n    policy: disconnect\n",
        "fanout.yaml:4: namespaces.room.policy is given twice; first in line 3\n");
}

static void yaml_that_hides_things_is_refused(void **state)
{
    (void)state;
    assert_faults("shards: &n 3\n",
        "fanout.yaml:1: &n: anchors and aliases are not understood; write the value out\n");
    assert_faults("redis.host: &n h\nredis.username: *n\nredis.password: x\n",
        "fanout.yaml:1: &n: anchors and aliases are not understood; write the value out\n"
        "fanout.yaml:2: *n: anchors and aliases are not understood; write the value out\n");
    assert_faults(
        "shards: !!int 3\n", "fanout.yaml:1: tag:yaml.org,2002:int: tags are not understood\n");
    assert_faults("--- {}\n--- {}\n", "fanout.yaml:2: a second document begins; expected one\n");
}

static void a_file_that_is_no_yaml_says_where(void **state)
{
    (void)state;
    assert_faults("shards: 1\nlisten: [':1'\n",
        "fanout.yaml:3: not YAML: while parsing a flow sequence: did not find expected ',' or "
        "']'\n");
    assert_faults("a: \xff\n", "fanout.yaml: byte 3: invalid leading UTF-8 octet\n");
}

static void a_file_larger_than_a_mebibyte_is_refused(void **state)
{
    (void)state;
    struct fixture f = {0};
    size_t len = (1 << 20) + 1;
    char *text = malloc(len);
    memset(text, '#', len);
    f.result = config_load_text("fanout.yaml", text, len, &f.config, &f.report);
    assert_int_equal(f.result, -22);
    assert_lines(&f.report.faults, "fanout.yaml: larger than 1MiB; that is no settings file\n");
    fixture_fini(&f);
    f.result = config_load_text("fanout.yaml", text, len - 1, &f.config, &f.report);
    assert_int_equal(f.result, 0);
    fixture_fini(&f);
    free(text);
}

static void deep_nesting_ends_the_reading_at_once(void **state)
{
    (void)state;
    size_t len = 200000;
    char *text = malloc(len + 1);
    memset(text, '[', len);
    text[len] = '\0';
    assert_faults(text, "fanout.yaml:1: the file is a list; expected a mapping of options\n"
                        "fanout.yaml:1: nested deeper than 16 levels\n");
    free(text);
}

static void faults_past_a_hundred_are_counted(void **state)
{
    (void)state;
    struct bytes text = {0};
    for (int i = 0; i < 130; i++) {
        assert_int_equal(bytes_appendf(&text, "zebra%d: 1\n", i), 0);
    }
    struct fixture f = {0};
    f.result = config_load_text("fanout.yaml", text.data, text.len, &f.config, &f.report);
    assert_int_equal(f.result, -22);
    assert_int_equal(f.report.faults.count, 100);
    assert_int_equal(f.report.faults.more_count, 30);
    assert_string_equal(f.report.faults.items[0], "fanout.yaml:1: \"zebra0\" is not an option");
    fixture_fini(&f);
    bytes_fini(&text);
}

static void a_secret_is_not_quoted_in_a_fault(void **state)
{
    (void)state;
    assert_faults("redis.password: \"hunter2\\0\"\n",
        "fanout.yaml:1: redis.password is not understood; expected text without control "
        "characters\n");
    assert_faults("redis.url: http://bob:hunter2@h\n",
        "fanout.yaml:1: redis.url is not understood; expected "
        "redis://[user:password@]host[:port][/db], rediss://… or unix:///path[?db=0]\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_file_is_the_defaults),
        cmocka_unit_test(every_kind_of_value_is_read_with_its_line),
        cmocka_unit_test(all_faults_of_a_file_are_told_at_once),
        cmocka_unit_test(each_type_says_what_it_expects),
        cmocka_unit_test(wrong_shapes_are_faults),
        cmocka_unit_test(what_is_given_twice_is_a_fault),
        cmocka_unit_test(yaml_that_hides_things_is_refused),
        cmocka_unit_test(a_file_that_is_no_yaml_says_where),
        cmocka_unit_test(a_file_larger_than_a_mebibyte_is_refused),
        cmocka_unit_test(deep_nesting_ends_the_reading_at_once),
        cmocka_unit_test(faults_past_a_hundred_are_counted),
        cmocka_unit_test(a_secret_is_not_quoted_in_a_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
