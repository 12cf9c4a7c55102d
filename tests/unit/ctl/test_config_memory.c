#include <errno.h>

#include "base/mem.h"
#include "tests/unit/ctl/config_fixture.h"

static const char text[] = "listen: [':1', 'unix:/a']\n"
                           "redis:\n"
                           "  url: redis://bob:secret@h:1/2\n"
                           "  mappings: [{pattern: 'x:*', channel: 'x:{1}'}, 'y:*=y:{1}']\n"
                           "namespaces: {room: {policy: conflate, conflate_key: /id}, a: {}}\n";

/* Every allocation may fail, and each time there is -ENOMEM and nothing left behind. */
static void loading_survives_each_failing_allocation(void **state)
{
    (void)state;
    int err = -ENOMEM;
    for (int64_t n = 0; err == -ENOMEM; n++) {
        struct fixture f = {0};
        assert_true(n < 10000);
        mem_fail_after(n);
        err = config_load_text("fanout.yaml", text, sizeof text - 1, &f.config, &f.report);
        mem_fail_after(-1);
        assert_true(err == -ENOMEM || err == 0);
        assert_true((err == 0) == (f.config != NULL));
        fixture_fini(&f);
    }
    assert_int_equal(err, 0);
}

static void faults_survive_each_failing_allocation(void **state)
{
    (void)state;
    static const char bad[] = "shards: 65\nzebra: 1\nredis.mappings: ['a?=b', {pattern: a?}]\n";
    int err = -ENOMEM;
    for (int64_t n = 0; err == -ENOMEM; n++) {
        struct fixture f = {0};
        assert_true(n < 10000);
        mem_fail_after(n);
        err = config_load_text("fanout.yaml", bad, sizeof bad - 1, &f.config, &f.report);
        mem_fail_after(-1);
        assert_null(f.config);
        assert_true(err == -ENOMEM || err == -EINVAL);
        fixture_fini(&f);
    }
}

static void reloading_survives_each_failing_allocation(void **state)
{
    (void)state;
    char role[] = "serve", a[] = "--shards=3", b[] = "--namespace=room:durability=sync";
    char redis[] = "REDIS_HOST=h", *env[] = {redis, NULL}, *argv[] = {role, a, b, NULL};
    struct fixture old = fixture_text(text);
    int err = -ENOMEM;
    for (int64_t n = 0; err == -ENOMEM; n++) {
        struct fixture f = {0};
        assert_true(n < 10000);
        mem_fail_after(n);
        err = config_reload(old.config, CONFIG_SERVE, 3, argv, env, &f.config, &f.report);
        mem_fail_after(-1);
        assert_true((err == 0) == (f.config != NULL));
        fixture_fini(&f);
    }
    assert_int_equal(err, 0);
    fixture_fini(&old);
}

static void printing_survives_each_failing_allocation(void **state)
{
    (void)state;
    struct fixture f = fixture_text(text);
    for (int format = CONFIG_TEXT; format <= CONFIG_YAML; format++) {
        int err = -ENOMEM;
        for (int64_t n = 0; err == -ENOMEM; n++) {
            struct bytes out = {0};
            assert_true(n < 10000);
            mem_fail_after(n);
            err = config_print(f.config, (enum config_format)format, &out);
            mem_fail_after(-1);
            bytes_fini(&out);
        }
        assert_int_equal(err, 0);
    }
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loading_survives_each_failing_allocation),
        cmocka_unit_test(faults_survive_each_failing_allocation),
        cmocka_unit_test(reloading_survives_each_failing_allocation),
        cmocka_unit_test(printing_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
