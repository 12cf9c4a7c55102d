#include <jansson.h>

#include "ctl/config_table.h"
#include "tests/unit/ctl/config_fixture.h"

static const char rich[] = "listen: [':1', 'unix:/a b']\n"
                           "redis:\n"
                           "  host: \"h\\u0085\\uFEFF\xc3\xa9\\\"\"\n"
                           "  mappings: ['x:*=x:{1}']\n"
                           "namespaces: {room: {policy: conflate, conflate_key: /id}}\n";

static void what_is_printed_as_a_file_reads_back_the_same(void **state)
{
    (void)state;
    struct fixture f = fixture_text(rich);
    assert_int_equal(f.result, 0);
    char *first = fixture_print(f.config, CONFIG_YAML);
    struct fixture again = fixture_text(first);
    assert_lines(&again.report.faults, "");
    assert_string_equal(again.config->redis.host, f.config->redis.host);
    assert_int_equal(again.config->redis.mappings.count, 3);
    const struct config_namespace *room = config_namespace(again.config, "room", 4);
    assert_string_equal(room->conflate_key, "/id");
    free(first);
    fixture_fini(&again);
    fixture_fini(&f);
}

static void json_gives_each_value_and_its_source(void **state)
{
    (void)state;
    struct fixture f = fixture_text(rich);
    char *text = fixture_print(f.config, CONFIG_JSON);
    json_error_t error;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(root);
    json_t *ping = json_object_get(root, "ws.ping_interval");
    assert_int_equal(json_integer_value(json_object_get(ping, "value")), 25000);
    assert_string_equal(json_string_value(json_object_get(ping, "source")), "default");
    json_t *host = json_object_get(root, "redis.host");
    assert_string_equal(json_string_value(json_object_get(host, "source")), "fanout.yaml:3");
    json_t *mappings = json_object_get(json_object_get(root, "redis.mappings"), "value");
    assert_int_equal(json_array_size(mappings), 3);
    json_t *room = json_object_get(json_object_get(root, "namespaces"), "room");
    json_t *policy = json_object_get(room, "policy");
    assert_string_equal(json_string_value(json_object_get(policy, "value")), "conflate");
    json_decref(root);
    free(text);
    fixture_fini(&f);
}

static void no_form_shows_a_password(void **state)
{
    (void)state;
    struct fixture f = fixture_load(NULL, "REDIS_URL=redis://bob:hunter2@h", "");
    for (int format = CONFIG_TEXT; format <= CONFIG_YAML; format++) {
        char *text = fixture_print(f.config, (enum config_format)format);
        assert_null(strstr(text, "hunter2"));
        assert_non_null(strstr(text, "***"));
        free(text);
    }
    fixture_fini(&f);
}

static char *help_of(enum config_role role)
{
    struct bytes out = {0};
    assert_int_equal(config_help(role, &out), 0);
    assert_int_equal(bytes_append_byte(&out, '\0'), 0);
    return (char *)out.data;
}

static void help_names_every_flag_of_a_role_within_100_columns(void **state)
{
    (void)state;
    char *text = help_of(CONFIG_CONFIG), name[CONFIG_NAME_MAX], flag[CONFIG_NAME_MAX + 8];
    for (size_t i = 0; i < config_option_count; i++) {
        bool is_bool = config_options[i].type == CONFIG_TYPE_BOOL;
        snprintf(flag, sizeof flag, "\n  --%s%s", is_bool ? "[no-]" : "",
            config_flag_name(&config_options[i], name));
        assert_non_null(strstr(text, flag));
        assert_non_null(strstr(text, config_env_name(&config_options[i], name)));
    }
    for (char *line = text; *line; line += strcspn(line, "\n") + 1) {
        assert_true(strcspn(line, "\n") <= 100);
    }
    free(text);
    text = help_of(CONFIG_PUB);
    assert_non_null(strstr(text, "\n  --redis-db NUMBER\n          Number of the logical database. "
                                 "[default: 0] [env: FANOUT_REDIS_DB]\n"));
    assert_null(strstr(text, "--shards"));
    free(text);
    text = help_of(CONFIG_COORDINATOR);
    assert_non_null(strstr(text, "[default: :8081]"));
    assert_non_null(strstr(text, "\n  --gateway URL\n"));
    assert_null(strstr(text, "--ws-ping-interval"));
    free(text);
    text = help_of(CONFIG_SERVE);
    assert_non_null(strstr(text, "[default: :8084]"));
    assert_null(strstr(text, "--workflows"));
    free(text);
}

static void docs_are_what_the_table_says(void **state)
{
    (void)state;
    const char *root = getenv("FANOUT_TEST_ROOT");
    char path[4096];
    struct bytes expected = {0}, found = {0};
    snprintf(path, sizeof path, "%s/docs/config.md", root ? root : ".");
    assert_int_equal(config_doc(&expected), 0);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(bytes_reserve(&found, 1 << 20), 0);
    found.len = fread(found.data, 1, 1 << 20, file);
    fclose(file);
    if (!span_equal(span_of(expected.data, expected.len), span_of(found.data, found.len))) {
        fail_msg("docs/config.md is out of date: write it anew with `fanout config --doc`");
    }
    bytes_fini(&expected);
    bytes_fini(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_printed_as_a_file_reads_back_the_same),
        cmocka_unit_test(json_gives_each_value_and_its_source),
        cmocka_unit_test(no_form_shows_a_password),
        cmocka_unit_test(help_names_every_flag_of_a_role_within_100_columns),
        cmocka_unit_test(docs_are_what_the_table_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
