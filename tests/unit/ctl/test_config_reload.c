#include "tests/unit/ctl/config_fixture.h"

static struct fixture reload(const struct config *running, const char *flags)
{
    struct fixture f = {0};
    char role[] = "serve", *argv[FIXTURE_WORDS_MAX + 1] = {role}, *env[] = {NULL};
    char *text = strdup(flags);
    int argc = fixture_words(text, argv, 1);
    f.result = config_reload(running, CONFIG_SERVE, argc, argv, env, &f.config, &f.report);
    free(text);
    return f;
}

static void a_reload_takes_what_it_can_and_names_the_rest(void **state)
{
    (void)state;
    struct fixture old = fixture_load(NULL, "", "--shards 2 --idle-timeout 60s --listen :1");
    struct fixture new = reload(
        old.config, "--shards 3 --idle-timeout 50s --listen :2 --redis-host h --log-level debug");
    assert_value(&new, "shards", "2", "flag --shards");
    assert_value(&new, "listen", ":1", "flag --listen");
    assert_value(&new, "idle_timeout", "50s", "flag --idle-timeout");
    assert_value(&new, "redis.host", "localhost", "default");
    assert_value(&new, "broker", "embedded", "default");
    assert_lines(&new.report.restart, "listen\nshards\nbroker\nredis.host\n");
    assert_lines(&new.report.changed, "idle_timeout\nlog.level\n");
    fixture_fini(&old);
    fixture_fini(&new);
}

static void a_reload_that_changes_nothing_says_nothing(void **state)
{
    (void)state;
    struct fixture old = fixture_load(NULL, "", "--redis-mapping a:*=a:{1}");
    struct fixture new = reload(old.config, "--redis-mapping=a:*=a:{1}");
    assert_int_equal(new.result, 0);
    assert_lines(&new.report.restart, "");
    assert_lines(&new.report.changed, "");
    fixture_fini(&old);
    fixture_fini(&new);
}

static void namespaces_reload_field_by_field(void **state)
{
    (void)state;
    struct fixture old = fixture_load(NULL, "",
        "--namespace room:outbox_messages=5,durability=sync --namespace z:policy=disconnect");
    struct fixture new = reload(old.config, "--namespace chat:outbox_messages=6,durability=sync");
    assert_int_equal(new.result, 0);
    assert_lines(&new.report.changed, "namespaces.chat.outbox_messages\n"
                                      "namespaces.room.outbox_messages\nnamespaces.z.policy\n");
    assert_lines(&new.report.restart, "namespaces.chat.durability\nnamespaces.room.durability\n");
    assert_int_equal(config_namespace(new.config, "room", 4)->outbox_messages, 1024);
    assert_int_equal(config_namespace(new.config, "room", 4)->durability, CONFIG_SYNC);
    assert_int_equal(config_namespace(new.config, "chat", 4)->durability, CONFIG_DURABILITY_NONE);
    fixture_fini(&old);
    fixture_fini(&new);
}

static void a_faulty_reload_gives_no_snapshot(void **state)
{
    (void)state;
    struct fixture old = fixture_load(NULL, "", "");
    struct fixture new = reload(old.config, "--shards=x");
    assert_int_equal(new.result, -22);
    assert_null(new.config);
    fixture_fini(&old);
    fixture_fini(&new);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reload_takes_what_it_can_and_names_the_rest),
        cmocka_unit_test(a_reload_that_changes_nothing_says_nothing),
        cmocka_unit_test(namespaces_reload_field_by_field),
        cmocka_unit_test(a_faulty_reload_gives_no_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
