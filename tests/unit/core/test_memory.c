/* Memory that runs out at every point: nothing leaks, the books balance, and it works afterwards. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "tests/support/core_rig.h"
#include "tests/support/unit.h"

enum { POINTS_MAX = 700, CROWD = 10 };

static struct rig rig;
static const char *near_name, *far_name; /* At home on shard 0 and on shard 1. */
static struct rig_client *blocked, *healthy[CROWD], *fresh[4];

typedef void step_fn(void);

static void start(uint8_t policy)
{
    rig_init(&rig, 2);
    rig.settings.ns[0].policy = policy;
    rig.settings.ns[0].outbox_messages = 4;
    rig.settings.overload_bytes = 3000;
    rig_start(&rig);
    near_name = rig_name_at(&rig, 0, 1);
    far_name = rig_name_at(&rig, 1, 1);
    for (int i = 0; i < CROWD; i++) {
        healthy[i] = rig_client(&rig, (uint16_t)(i & 1));
        rig_subscribe(healthy[i], near_name, i & 2 ? RIG_PLAIN : RIG_TOLD, "");
    }
    for (uint16_t i = 0; i < 4; i++) {
        fresh[i] = rig_client(&rig, i & 1);
    }
    blocked = rig_client(&rig, 0);
    rig_subscribe(blocked, near_name, RIG_TOLD, "");
    rig_subscribe(blocked, far_name, RIG_TOLD, "");
    blocked->room = 3;
}

static void publish_some(void)
{
    for (uint32_t i = 0; i < 12; i++) {
        int err = rig_publish_keyed(&rig, i & 1, i % 3 ? near_name : far_name, "m", 1 + i % 2);
        assert_true(err == 0 || err == -ENOMEM);
        if (i % 4 == 3) {
            rig_turn(&rig);
        }
    }
}

static void subscribe_anew(void)
{
    for (uint16_t i = 0; i < 4; i++) {
        struct rig_client *client = fresh[i];
        int err = rig_ask(client, i & 2 ? near_name : "room:new", RIG_TOLD, "begin");
        assert_true(err == 0 || err == -ENOMEM);
        rig_turn(&rig);
        if (i == 2) {
            err = client->closed ? 0 : rig_ask(client, "room:third", RIG_PLAIN, "");
            assert_true(err == 0 || err == -ENOMEM);
        }
    }
}

static void look_at_history(void)
{
    uint64_t id;
    int err = shard_history(rig.shards[0].shard, span_str(far_name), since_parse(span_str("begin")),
        3, UINT32_MAX, &id);
    assert_true(err == 0 || err == -ENOMEM);
}

static void control(void)
{
    if (!blocked->closed) {
        int err = shard_control(rig.shards[0].shard, &blocked->sub, "<control>", 9);
        assert_true(err == 0 || err == -ENOMEM);
    }
}

static void overload(void)
{
    for (int i = 0; i < 40; i++) {
        int err = rig_publish(&rig, 0, near_name, "many");
        assert_true(err == 0 || err == -ENOMEM);
        rig_receive(&rig, 0);
    }
}

static void flush(void)
{
    if (!blocked->closed) {
        blocked->room = 7;
        shard_writable(rig.shards[0].shard, &blocked->sub);
    }
}

static void leave(void)
{
    rig_close(healthy[0]);
    shard_leave_all(rig.shards[1].shard, &healthy[1]->sub, true);
}

static void everything(void)
{
    publish_some();
    control();
    subscribe_anew();
    flush();
    publish_some();
    look_at_history();
    overload();
    leave();
    flush();
}

/* Runs the step with memory for 0, 1, 2, … tries, until it no longer runs out. */
static void at_every_point(step_fn *step, uint8_t policy)
{
    for (int points = 0; points < POINTS_MAX; points++) {
        start(policy);
        publish_some();
        mem_fail_after(points);
        step();
        rig_turn(&rig);
        rig_turn(&rig);
        mem_fail_after(-1);
        rig_check_books(&rig);
        rig_run(&rig);
        /* Whoever is left is served again. */
        for (int i = 0; i < CROWD; i++) {
            rig_forget(healthy[i]);
        }
        assert_int_equal(rig_publish(&rig, 1, near_name, "again"), 0);
        rig_run(&rig);
        for (int i = 2; i < CROWD; i++) {
            assert_true(healthy[i]->closed || strstr(rig_sent(healthy[i]), "again;"));
        }
        rig_fini(&rig);
    }
}

static void publishing(void **state)
{
    (void)state;
    for (uint8_t policy = 0; policy <= OUTBOX_DISCONNECT; policy++) {
        at_every_point(publish_some, policy);
    }
}

static void subscribing(void **state)
{
    (void)state;
    at_every_point(subscribe_anew, OUTBOX_DROP_OLDEST);
}

static void history_control_and_leaving(void **state)
{
    (void)state;
    at_every_point(look_at_history, OUTBOX_DROP_OLDEST);
    at_every_point(control, OUTBOX_DROP_OLDEST);
    at_every_point(leave, OUTBOX_DROP_OLDEST);
    at_every_point(flush, OUTBOX_DROP_OLDEST);
}

static void an_overload(void **state)
{
    (void)state;
    at_every_point(overload, OUTBOX_DROP_OLDEST);
}

static void all_of_it_in_a_row(void **state)
{
    (void)state;
    for (uint8_t policy = 0; policy <= OUTBOX_DISCONNECT; policy++) {
        at_every_point(everything, policy);
    }
}

/* There is no memory to bring it, but enough to say that it is missing. */
static void what_is_lost_for_want_of_memory_is_told(void **state)
{
    (void)state;
    rig_init(&rig, 1);
    rig_start(&rig);
    struct rig_client *told = rig_client(&rig, 0), *plain = rig_client(&rig, 0), *late;
    rig_subscribe(told, "room:x", RIG_TOLD, "");
    rig_subscribe(plain, "room:x", RIG_PLAIN, "");
    for (int i = 0; i < 5; i++) { /* Fewer than are kept spare. */
        assert_int_equal(rig_publish(&rig, 0, "room:x", "m"), 0);
        rig_run(&rig);
    }
    rig_forget(told);
    rig_forget(plain);
    /* Publications 6 and 7 come in a letter and find no batch. Who comes in between did not lose the first. */
    assert_int_equal(rig_publish(&rig, 0, "room:x", "m"), 0);
    mem_fail_after(1);
    rig_receive(&rig, 0);
    mem_fail_after(-1);
    late = rig_client(&rig, 0);
    assert_int_equal(rig_ask(late, "room:x", RIG_TOLD, ""), 0);
    rig_receive(&rig, 0);
    assert_int_equal(rig_publish(&rig, 0, "room:x", "m"), 0);
    mem_fail_after(1);
    rig_receive(&rig, 0);
    mem_fail_after(-1);
    rig_run(&rig);
    assert_int_equal(rig_publish(&rig, 0, "room:x", "n"), 0);
    rig_run(&rig);
    assert_string_equal(rig_sent(told), "!room:x 6-7 memory;8=n;");
    assert_string_equal(rig_sent(late), "!room:x 7-7 memory;8=n;");
    assert_string_equal(rig_sent(plain), "n;");
    rig_check_books(&rig);
    struct books books = rig_books(told);
    assert_int_equal(books.dropped[DROP_MEMORY], 2);
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(publishing),
        cmocka_unit_test(subscribing),
        cmocka_unit_test(history_control_and_leaving),
        cmocka_unit_test(an_overload),
        cmocka_unit_test(all_of_it_in_a_row),
        cmocka_unit_test(what_is_lost_for_want_of_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
