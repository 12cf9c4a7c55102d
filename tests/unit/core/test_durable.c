/* A durable history behind the store port: what is shown when, what a cursor is worth after a restart, and
 * that nothing the store could not take is skipped in silence. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "core/home.h"
#include "tests/support/core_rig.h"
#include "tests/support/unit.h"

static struct rig rig;
static struct store_model model;
static const char channel[] = "user:a";

static void start_rig(uint16_t shards, uint8_t durability)
{
    rig_init(&rig, shards);
    rig.store = &model;
    rig.settings.ns[0].durability = durability;
    rig_start(&rig);
}

static void start(uint16_t shards, uint8_t durability)
{
    store_model_init(&model, 77);
    start_rig(shards, durability);
}

static void finish(void)
{
    rig_fini(&rig);
    store_model_fini(&model);
}

/* The process ends, in the middle of what the store was asked, and another one begins. */
static void crash(uint8_t durability)
{
    uint16_t shards = rig.settings.shard_count;

    store_model_lose(&model);
    rig.store_waits = false;
    rig_run(&rig);
    rig_fini(&rig);
    store_model_reopen(&model);
    start_rig(shards, durability);
}

static struct shard *home_shard(void)
{
    uint64_t hash = shard_hash(rig.shards[0].shard, span_str(channel));
    return rig.shards[shard_home_of(rig.shards[0].shard, hash)].shard;
}

static void publish(const char *payload)
{
    assert_int_equal(rig_publish(&rig, 0, channel, payload), 0);
    rig_run(&rig);
}

static void publish_many(unsigned first, unsigned last)
{
    char payload[16];

    for (unsigned i = first; i <= last; i++) {
        snprintf(payload, sizeof(payload), "m%u", i);
        assert_int_equal(rig_publish(&rig, 0, channel, payload), 0);
    }
    rig_run(&rig);
}

/* The payloads alone; offsets are large numbers. */
static const char *got(struct rig_client *client)
{
    static char text[20000];
    size_t len = 0;

    for (const char *at = rig_sent(client); *at;) {
        const char *equals = strchr(at, '='), *end = strchr(at, ';');
        if (at[0] == '!') {
            equals = at - 1;
        }
        len += (size_t)snprintf(
            text + len, sizeof(text) - len, "%.*s ", (int)(end - equals - 1), equals + 1);
        at = end + 1;
    }
    text[len] = 0;
    return text;
}

static struct rig_client *follow(const char *since)
{
    struct rig_client *client = rig_client(&rig, 0);
    rig_subscribe(client, channel, RIG_TOLD, since);
    return client;
}

static const char *text_of(struct cursor cursor)
{
    static char text[CURSOR_TEXT_MAX];
    cursor_format(cursor, text);
    return text;
}

static struct rig_client *resume(struct cursor cursor)
{
    return follow(text_of(cursor));
}

static struct publish_result publish_for_answer(const char *payload, uint32_t flags, uint64_t key)
{
    uint32_t before = rig.result_count;

    assert_int_equal(rig_order(&rig, 0,
                         (struct publish_order){.name = span_str(channel),
                             .payload = span_str(payload),
                             .flags = flags,
                             .once = {key, key},
                             .reply_id = 1}),
        0);
    rig_run(&rig);
    return rig.result_count > before ? rig.results[before] : (struct publish_result){0};
}

static void async_is_shown_at_once_and_stored_soon(void **state)
{
    (void)state;
    start(1, DURABILITY_ASYNC);
    rig.store_waits = true;
    struct rig_client *client = follow("");
    publish_many(1, 3);
    assert_string_equal(got(client), "m1 m2 m3 ");
    assert_int_equal(model.appends, 0);
    rig.store_waits = false;
    rig_run(&rig);
    assert_int_equal(model.appends, 1);
    finish();
}

static void sync_is_shown_and_acknowledged_when_it_is_stored(void **state)
{
    (void)state;
    start(2, DURABILITY_SYNC);
    struct rig_client *client = follow("");
    rig.store_waits = true;
    assert_int_equal(publish_for_answer("m1", 0, 0).reply_id, 0);
    publish("m2");
    struct rig_client *late = rig_client(&rig, 0);
    assert_int_equal(rig_ask(late, channel, RIG_TOLD, "begin"), 0);
    rig_run(&rig);
    assert_string_equal(got(client), "");
    assert_int_equal(rig.result_count, 0);
    rig.store_waits = false;
    rig_run(&rig);
    assert_string_equal(got(client), "m1 m2 ");
    assert_int_equal(rig.result_count, 1);
    assert_true(rig.results[0].has_cursor);
    publish("m3");
    assert_string_equal(got(late), "m1 m2 m3 ");
    finish();
}

static void an_answer_can_wait_for_the_store(void **state)
{
    (void)state;
    start(1, DURABILITY_ASYNC);
    struct rig_client *client = follow("");
    rig.store_waits = true;
    assert_int_equal(publish_for_answer("m1", PUBLICATION_ACK_STORED, 0).reply_id, 0);
    assert_string_equal(got(client), "m1 ");
    rig.store_waits = false;
    rig_run(&rig);
    assert_int_equal(rig.result_count, 1);
    assert_int_equal(rig.results[0].err, 0);
    finish();
    start(1, DURABILITY_NONE);
    assert_int_equal(publish_for_answer("m1", PUBLICATION_ACK_STORED, 0).err, -ENOTSUP);
    finish();
}

/* Else a publisher who asks again, and forgets the event then, may lose it with this process. */
static void who_repeats_a_key_and_asks_for_the_store_waits_for_it(void **state)
{
    (void)state;
    for (int fails = 0; fails < 2; fails++) {
        start(1, DURABILITY_ASYNC);
        struct rig_client *client = follow("");
        rig.store_waits = true;
        publish_for_answer("m1", PUBLICATION_ACK_STORED, 7);
        assert_int_equal(rig.result_count, 0);
        publish_for_answer("m1", 0, 7); /* It is shown already. */
        assert_int_equal(rig.result_count, 1);
        assert_true(rig.results[0].duplicate);
        publish_for_answer("m1", PUBLICATION_ACK_STORED, 7);
        assert_int_equal(rig.result_count, 1);
        model.append_err = fails ? -EIO : 0;
        rig.store_waits = false;
        rig_run(&rig);
        assert_int_equal(rig.result_count, 3);
        for (int i = 1; i < 3; i++) {
            assert_int_equal(rig.results[i].err, fails ? -EIO : 0);
            assert_int_equal(rig.results[i].has_cursor, !fails);
            assert_int_equal(rig.results[i].duplicate, i == 2 && !fails);
        }
        assert_int_equal(home_shard()->durable.followers.count, 0);
        publish_for_answer("m1", PUBLICATION_ACK_STORED, 7); /* It is over: nothing to wait for. */
        assert_int_equal(rig.result_count, 4);
        assert_string_equal(got(client), "m1 ");
        finish();
    }
}

static void after_a_restart_everything_stored_is_replayed_and_cursors_go_on(void **state)
{
    (void)state;
    for (uint16_t shards = 1; shards <= 2; shards++) {
        start(shards, DURABILITY_ASYNC);
        struct rig_client *client = follow("");
        publish_many(1, 5);
        struct cursor third = {client->cursor.epoch, client->cursor.offset + 3};
        crash(DURABILITY_ASYNC);
        struct rig_client *back = resume(third), *all = follow("begin"), *live = follow("");
        assert_int_equal(back->state, SUBSCRIBE_REPLAYED);
        assert_int_equal(live->state, SUBSCRIBE_LIVE);
        assert_string_equal(got(back), "m4 m5 ");
        publish_many(6, 7);
        assert_string_equal(got(back), "m4 m5 m6 m7 ");
        assert_string_equal(got(all), "m1 m2 m3 m4 m5 m6 m7 ");
        assert_string_equal(got(live), "m6 m7 ");
        /* Where the live one began is a good place, too. */
        struct rig_client *again = resume(live->cursor);
        assert_string_equal(got(again), "m6 m7 ");
        finish();
    }
}

static void the_newest_cursor_of_the_former_life_is_live(void **state)
{
    (void)state;
    start(1, DURABILITY_ASYNC);
    struct rig_client *client = follow("");
    publish_many(1, 5);
    struct cursor last = {client->cursor.epoch, client->cursor.offset + 5};
    crash(DURABILITY_ASYNC);
    struct rig_client *back = resume(last);
    assert_int_equal(back->state, SUBSCRIBE_LIVE);
    publish("m6");
    assert_string_equal(got(back), "m6 ");
    finish();
}

static void what_a_crash_lost_is_answered_with_reset(void **state)
{
    (void)state;
    start(1, DURABILITY_ASYNC);
    struct rig_client *client = follow("");
    publish_many(1, 2);
    rig.store_waits = true;
    publish_many(3, 4);
    struct cursor lost = {client->cursor.epoch, client->cursor.offset + 4};
    struct cursor kept = {client->cursor.epoch, client->cursor.offset + 1};
    crash(DURABILITY_ASYNC);
    publish("m5"); /* Has another number than the one that was lost. */
    assert_int_equal(resume(lost)->state, SUBSCRIBE_RESET);
    struct rig_client *back = resume(kept);
    assert_int_equal(back->state, SUBSCRIBE_REPLAYED);
    assert_string_equal(got(back), "m2 m5 ");
    finish();
}

static void memory_answers_what_it_has_and_the_store_the_rest_in_pages(void **state)
{
    (void)state;
    start(1, DURABILITY_ASYNC);
    rig.settings.ns[0].history_messages = 100000;
    rig.settings.replay_page_bytes = 2000;
    struct rig_client *client = follow("");
    struct cursor start_at = client->cursor;
    publish_many(1, 300);
    uint32_t reads = model.reads;
    struct rig_client *near = resume((struct cursor){start_at.epoch, start_at.offset + 290});
    assert_int_equal(model.reads, reads);
    crash(DURABILITY_ASYNC);
    rig.settings.ns[0].history_messages = 100000;
    rig.settings.replay_page_bytes = 2000;
    publish_many(301, 350);
    struct rig_client *far = resume((struct cursor){start_at.epoch, start_at.offset + 10});
    assert_true(model.reads > reads + 5);
    publish_many(351, 352);
    assert_int_equal(far->sub.delivered, 342);
    assert_int_equal(far->answers, 1);
    (void)near;
    unsigned next = 11;
    for (const char *at = got(far); *at; at = strchr(at, ' ') + 1, next++) {
        char expected[16];
        snprintf(expected, sizeof(expected), "m%u ", next);
        assert_int_equal(strncmp(at, expected, strlen(expected)), 0);
    }
    assert_int_equal(next, 353);
    finish();
}

static void a_cursor_whose_event_is_on_the_way_to_the_store_waits_for_it(void **state)
{
    (void)state;
    start(1, DURABILITY_ASYNC);
    rig.settings.ns[0].history_messages = 100;
    struct rig_client *client = follow("");
    rig.store_waits = true;
    publish_many(1, 150); /* The ring holds 100; the store has none yet. */
    struct rig_client *back = rig_client(&rig, 0);
    assert_int_equal(
        rig_ask(back, channel, RIG_TOLD,
            text_of((struct cursor){client->cursor.epoch, client->cursor.offset + 20})),
        0);
    for (int i = 0; i < 5; i++) {
        rig_turn(&rig);
    }
    rig.store_waits = false;
    rig_run(&rig);
    /* The store trimmed it by number meanwhile: told, not skipped. */
    assert_int_equal(back->answers, 1);
    assert_int_equal(back->state, SUBSCRIBE_RESET);
    finish();
}

static void the_beginning_of_nothing_is_a_place_to_go_on_from(void **state)
{
    (void)state;
    start(1, DURABILITY_SYNC);
    struct rig_client *client = follow("begin");
    struct cursor nothing = client->cursor;
    assert_int_equal(client->state, SUBSCRIBE_LIVE);
    publish_many(1, 3);
    assert_string_equal(got(client), "m1 m2 m3 ");
    struct rig_client *back = resume(nothing);
    assert_int_equal(back->state, SUBSCRIBE_REPLAYED);
    assert_string_equal(got(back), "m1 m2 m3 ");
    crash(DURABILITY_SYNC);
    assert_string_equal(got(resume(nothing)), "m1 m2 m3 ");
    finish();
}

/* The store has it, home has not heard so: a page must not show it before everybody sees it. */
static void what_is_committed_and_not_shown_comes_once(void **state)
{
    (void)state;
    start(1, DURABILITY_SYNC);
    publish("m1");
    rig.store_waits = true;
    publish("m2");
    struct rig_client *client = rig_client(&rig, 0);
    assert_int_equal(rig_ask(client, channel, RIG_TOLD, "begin"), 0);
    rig_turn(&rig);
    struct mail_chain in = {0};
    assert_true(store_model_step(&model)); /* The append … */
    in = rig.shards[0].in;
    rig.shards[0].in = (struct mail_chain){0};
    assert_true(store_model_step(&model)); /* … and the read, whose answer comes first. */
    rig_turn(&rig);
    rig.shards[0].in = in;
    rig.store_waits = false;
    rig_run(&rig);
    assert_string_equal(got(client), "m1 m2 ");
    finish();
}

static void history_is_read_from_the_store(void **state)
{
    (void)state;
    uint64_t id;
    start(1, DURABILITY_ASYNC);
    publish_many(1, 5);
    crash(DURABILITY_ASYNC);
    assert_int_equal(shard_history(rig.shards[0].shard, span_str(channel),
                         since_parse(span_str("begin")), 3, UINT32_MAX, &id),
        0);
    rig_run(&rig);
    assert_int_equal(rig.history_answers, 1);
    assert_true(rig.history_more);
    assert_int_equal(rig.history_state, SUBSCRIBE_REPLAYED);
    struct since since = {.kind = SINCE_CURSOR, .cursor = rig.history_cursor};
    assert_int_equal(
        shard_history(rig.shards[0].shard, span_str(channel), since, 3, UINT32_MAX, &id), 0);
    rig_run(&rig);
    assert_false(rig.history_more);
    assert_non_null(strstr((const char *)rig.history.data, "=m4;"));
    assert_non_null(strstr((const char *)rig.history.data, "=m5;"));
    assert_int_equal(shard_history(rig.shards[0].shard, span_str("user:nobody"),
                         since_parse(span_str("begin")), 3, UINT32_MAX, &id),
        0);
    rig_run(&rig);
    assert_int_equal(rig.history_state, SUBSCRIBE_LIVE);
    finish();
}

static void what_the_store_refused_leaves_a_hole_that_is_told(void **state)
{
    (void)state;
    start(1, DURABILITY_ASYNC);
    struct rig_client *client = follow("");
    publish_many(1, 2);
    model.append_err = -ENOSPC;
    publish_many(3, 4);
    model.append_err = 0;
    publish_many(5, 6);
    assert_string_equal(got(client), "m1 m2 m3 m4 m5 m6 ");
    home_tick(home_shard());
    rig_run(&rig);
    struct cursor before = {client->cursor.epoch, client->cursor.offset + 2};
    struct cursor after = {client->cursor.epoch, client->cursor.offset + 5};
    crash(DURABILITY_ASYNC);
    assert_int_equal(resume(before)->state, SUBSCRIBE_RESET);
    assert_string_equal(got(resume(after)), "m6 ");
    finish();
}

/* The process ends before the store has heard that history is to be forgotten. */
static void a_hole_is_told_though_a_crash_came_before_the_clearing(void **state)
{
    (void)state;
    start(1, DURABILITY_ASYNC);
    struct rig_client *client = follow("");
    publish_many(1, 2);
    model.append_err = model.clear_err = -ENOSPC;
    publish("m3");
    model.append_err = 0;
    publish("m4");
    struct cursor second = {client->cursor.epoch, client->cursor.offset + 2};
    struct cursor third = {client->cursor.epoch, client->cursor.offset + 3};
    model.clear_err = 0;
    crash(DURABILITY_ASYNC);
    assert_int_equal(resume(second)->state, SUBSCRIBE_RESET);
    assert_string_equal(got(resume(third)), "m4 ");
    /* Where numbers begin again nothing is missing. */
    publish_many(5, 6);
    assert_string_equal(got(resume(third)), "m4 m5 m6 ");
    finish();
}

/* Nobody has seen the event whose number is missing. */
static void a_sync_event_that_was_refused_is_no_hole(void **state)
{
    (void)state;
    start(1, DURABILITY_SYNC);
    struct rig_client *client = follow("");
    publish("m1");
    struct cursor first = {client->cursor.epoch, client->cursor.offset + 1};
    model.append_err = -ENOSPC;
    publish("m2");
    model.append_err = 0;
    publish("m3");
    crash(DURABILITY_SYNC);
    assert_string_equal(got(resume(first)), "m3 ");
    finish();
}

static void tick_for(uint64_t ms)
{
    for (uint64_t passed = 0; passed < ms; passed += 100) {
        rig.now_ns += 100000000;
        home_tick(home_shard());
        rig_run(&rig);
    }
}

/* Nothing is asked at every tick for ever, nor all of it at one. */
static void a_store_that_refuses_to_forget_is_asked_ever_more_seldom(void **state)
{
    (void)state;
    enum { CHANNELS = 3 * HOLES_TICK_MAX };
    char name[32];
    start(1, DURABILITY_ASYNC);
    publish_many(1, 2);
    model.append_err = model.clear_err = -EIO;
    publish("m3");
    uint32_t first = model.clears;
    assert_in_range(first, 1, 2);
    for (int i = 0; i < CHANNELS; i++) { /* While it pauses: each is noted, none is asked for. */
        snprintf(name, sizeof(name), "user:%d", i);
        assert_int_equal(rig_publish(&rig, 0, name, "lost"), 0);
        rig_run(&rig);
    }
    assert_int_equal(model.clears, first);
    tick_for(600000);
    /* Asked together, 256 hear the refusal together: some 25 times in ten minutes. */
    assert_in_range(model.clears - first, 20 * HOLES_TICK_MAX, 30 * HOLES_TICK_MAX);
    model.append_err = model.clear_err = 0;
    publish("m4"); /* The store takes it: there is no need to wait any longer. */
    uint32_t clears = model.clears;
    tick_for(100);
    assert_int_equal(model.clears - clears, HOLES_TICK_MAX);
    tick_for(500);
    assert_int_equal(home_shard()->durable.holes.channels.count, 0);
    finish();
}

/* A store that failed for good takes no clear either: nobody may wait for what will never be there. */
static void a_cursor_in_a_hole_is_reset_and_not_waited_for(void **state)
{
    (void)state;
    start(1, DURABILITY_ASYNC);
    rig.settings.ns[0].history_messages = 1; /* Memory has the newest alone. */
    struct rig_client *client = follow("");
    publish("m1");
    model.append_err = model.clear_err = -EIO;
    publish_many(2, 4);
    struct cursor lost = {client->cursor.epoch, client->cursor.offset + 2};
    assert_int_equal(resume(lost)->state, SUBSCRIBE_RESET);
    assert_in_range(model.reads, 0, 5);
    model.append_err = model.clear_err = 0;
    tick_for(1000);
    finish();
}

static void a_sync_publisher_hears_that_it_could_not_be_stored(void **state)
{
    (void)state;
    start(1, DURABILITY_SYNC);
    struct rig_client *client = follow("");
    publish("m1");
    model.append_err = -ENOSPC;
    assert_int_equal(publish_for_answer("m2", 0, 5).err, -ENOSPC);
    model.append_err = 0;
    struct publish_result again = publish_for_answer("m2", 0, 5);
    assert_int_equal(again.err, 0);
    assert_false(again.duplicate);
    assert_string_equal(got(client), "m1 m2 ");
    struct rig_client *back =
        resume((struct cursor){client->cursor.epoch, client->cursor.offset + 1});
    assert_string_equal(got(back), "m2 ");
    finish();
}

/* The others of its letter were stored. */
static void only_the_publisher_of_what_is_unfit_hears_that(void **state)
{
    (void)state;
    static const char *const payloads[] = {"m1", "m2", "m3"};
    start(1, DURABILITY_SYNC);
    struct rig_client *client = follow("");
    model.unfit = "m2";
    for (uint64_t i = 0; i < COUNT_OF(payloads); i++) {
        assert_int_equal(rig_order(&rig, 0,
                             (struct publish_order){.name = span_str(channel),
                                 .payload = span_str(payloads[i]),
                                 .reply_id = i + 1}),
            0);
    }
    rig_run(&rig);
    assert_int_equal(model.appends, 1);
    assert_int_equal(rig.result_count, 3);
    assert_int_equal(rig.results[0].err, 0);
    assert_int_equal(rig.results[1].err, -EINVAL);
    assert_int_equal(rig.results[2].err, 0);
    assert_string_equal(got(client), "m1 m3 ");
    finish();
}

static void a_duplicate_waits_for_what_becomes_of_the_first(void **state)
{
    (void)state;
    for (int fails = 0; fails < 2; fails++) {
        start(1, DURABILITY_SYNC);
        struct rig_client *client = follow("");
        rig.store_waits = true;
        publish_for_answer("m1", 0, 9);
        publish_for_answer("m1", 0, 9);
        assert_int_equal(rig.result_count, 0);
        model.append_err = fails ? -ENOSPC : 0;
        assert_true(store_model_step(&model));
        model.append_err = 0;
        rig.store_waits = false;
        rig_run(&rig);
        assert_int_equal(rig.result_count, 2);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(rig.results[i].err, fails ? -ENOSPC : 0);
            assert_int_equal(rig.results[i].has_cursor, !fails);
        }
        assert_int_equal(rig.results[1].duplicate, !fails);
        assert_int_equal(rig.results[1].cursor.offset, rig.results[0].cursor.offset);
        assert_int_equal(publish_for_answer("m1", 0, 9).duplicate, !fails);
        assert_string_equal(got(client), "m1 ");
        finish();
    }
}

/* Nobody's event is kept meanwhile, nor more of those who wait than the bound says. */
static void those_who_repeat_a_key_under_way_are_bounded(void **state)
{
    (void)state;
    struct publish_order order = {
        .name = span_str(channel), .payload = span_str("m1"), .once = {9, 9}};
    start(1, DURABILITY_SYNC);
    struct rig_client *client = follow("");
    rig.store_waits = true;
    publish_for_answer("m1", 0, 9);
    order.reply_id = 0; /* Nobody waits for this one: nothing is left of it. */
    assert_int_equal(rig_order(&rig, 0, order), 0);
    rig_run(&rig);
    assert_int_equal(home_shard()->durable.followers.count, 0);
    publish_for_answer("m1", 0, 9);
    assert_int_equal(home_shard()->durable.followers.count, 1);
    home_shard()->durable.followers.count = FOLLOWERS_MAX;
    assert_int_equal(publish_for_answer("m1", 0, 9).err, -EBUSY);
    home_shard()->durable.followers.count = 1;
    mem_fail_after(1); /* The event itself, and no more. */
    assert_int_equal(publish_for_answer("m1", 0, 9).err, -ENOMEM);
    mem_fail_after(-1);
    rig.store_waits = false;
    rig_run(&rig);
    assert_int_equal(rig.result_count, 4);
    assert_int_equal(home_shard()->durable.followers.count, 0);
    assert_string_equal(got(client), "m1 ");
    finish();
}

/* What was forgotten with its failure is not under way, when its key is used where nobody waits for the disk. */
static void a_key_that_failed_can_be_used_in_a_history_that_does_not_wait(void **state)
{
    (void)state;
    start(1, DURABILITY_SYNC);
    model.append_err = -ENOSPC;
    assert_int_equal(publish_for_answer("m1", 0, 9).err, -ENOSPC);
    model.append_err = 0;
    rig.settings.ns[0].durability = DURABILITY_ASYNC; /* As a reload does. */
    assert_int_equal(publish_for_answer("m1", 0, 9).err, 0);
    assert_true(publish_for_answer("m1", 0, 9).duplicate);
    finish();
}

static void a_store_without_room_makes_publishers_wait(void **state)
{
    (void)state;
    start(1, DURABILITY_SYNC);
    rig.store_waits = true;
    publish("m1");
    model.refuse = -EBUSY;
    assert_int_equal(publish_for_answer("m2", PUBLICATION_MAY_REFUSE, 0).err, -EBUSY);
    model.refuse = 0;
    rig.store_waits = false;
    rig_run(&rig);
    assert_int_equal(publish_for_answer("m3", PUBLICATION_MAY_REFUSE, 0).err, 0);
    finish();
}

static void a_read_that_finds_no_room_is_tried_again(void **state)
{
    (void)state;
    start(1, DURABILITY_ASYNC);
    publish_many(1, 3);
    model.refuse = -EBUSY;
    struct rig_client *client = rig_client(&rig, 0);
    assert_int_equal(rig_ask(client, channel, RIG_TOLD, "begin"), 0);
    rig_run(&rig);
    assert_int_equal(client->answers, 0);
    model.refuse = 0;
    home_tick(home_shard());
    rig_run(&rig);
    assert_string_equal(got(client), "m1 m2 m3 ");
    finish();
}

static void begin_epoch(void)
{
    for (uint16_t i = 0; i < rig.settings.shard_count; i++) {
        home_new_epoch(rig.shards[i].shard, span_str(""));
    }
}

static void a_new_epoch_resets_cursors_and_keeps_what_is_stored(void **state)
{
    (void)state;
    start(2, DURABILITY_ASYNC);
    struct rig_client *client = follow("");
    publish_many(1, 3);
    struct cursor old = {client->cursor.epoch, client->cursor.offset + 3};
    begin_epoch();
    home_tick(home_shard());
    rig_run(&rig);
    assert_int_equal(client->restarts, 1);
    assert_int_not_equal(client->cursor.epoch, old.epoch);
    assert_int_equal(resume(old)->state, SUBSCRIBE_RESET);
    publish("m4");
    assert_string_equal(got(client), "m1 m2 m3 m4 ");
    assert_string_equal(got(follow("begin")), "m1 m2 m3 m4 ");
    assert_string_equal(got(resume(client->cursor)), "m4 ");
    /* What was read in this epoch can be gone on from in it, however old. */
    struct cursor second = {client->cursor.epoch, old.offset - 1};
    assert_string_equal(got(resume(second)), "m3 m4 ");
    finish();
}

static void what_waits_for_the_store_when_an_epoch_begins_belongs_to_the_new_one(void **state)
{
    (void)state;
    start(1, DURABILITY_SYNC);
    struct rig_client *client = follow("");
    rig.store_waits = true;
    publish("m1");
    begin_epoch();
    rig.store_waits = false;
    rig_run(&rig);
    assert_string_equal(got(client), "m1 ");
    assert_int_equal(client->restarts, 1);
    assert_string_equal(got(resume(client->cursor)), "m1 ");
    finish();
}

static void where_a_restart_misses_events_it_begins_an_epoch(void **state)
{
    (void)state;
    start(1, DURABILITY_ASYNC);
    struct rig_client *client = follow("");
    publish_many(1, 3);
    struct cursor old = {client->cursor.epoch, client->cursor.offset + 3};
    store_model_lose(&model);
    rig_fini(&rig);
    store_model_reopen(&model);
    rig_init(&rig, 1);
    rig.store = &model;
    rig.settings.ns[0].durability = DURABILITY_ASYNC;
    rig.settings.serial = 2048;
    rig_start(&rig);
    assert_int_equal(resume(old)->state, SUBSCRIBE_RESET);
    assert_string_equal(got(follow("begin")), "m1 m2 m3 ");
    finish();
}

static void an_idempotency_key_is_known_after_a_restart(void **state)
{
    (void)state;
    start(1, DURABILITY_ASYNC);
    const uint64_t key[2] = {5, 5};
    durable_remember_key(home_shard(), key, 1, (struct cursor){7, 8}, 1000);
    struct publish_result result = publish_for_answer("m", 0, 5);
    assert_true(result.duplicate);
    assert_int_equal(result.cursor.offset, 8);
    finish();
}

static void a_channel_in_memory_beside_a_durable_one_is_as_before(void **state)
{
    (void)state;
    store_model_init(&model, 77);
    rig_init(&rig, 1);
    rig.store = &model;
    rig.settings.ns_count = 2;
    rig.settings.ns[1] = rig.settings.ns[0];
    strcpy(rig.settings.ns[1].name, "user");
    rig.settings.ns[1].durability = DURABILITY_ASYNC;
    rig_start(&rig);
    publish("durable");
    assert_int_equal(rig_publish(&rig, 0, "room:x", "m"), 0);
    rig_run(&rig);
    struct rig_client *client = rig_client(&rig, 0);
    rig_subscribe(client, "room:x", RIG_TOLD, "begin");
    assert_string_equal(rig_sent(client), "1=m;");
    assert_int_equal(model.appends, 1);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(async_is_shown_at_once_and_stored_soon),
        cmocka_unit_test(sync_is_shown_and_acknowledged_when_it_is_stored),
        cmocka_unit_test(an_answer_can_wait_for_the_store),
        cmocka_unit_test(who_repeats_a_key_and_asks_for_the_store_waits_for_it),
        cmocka_unit_test(after_a_restart_everything_stored_is_replayed_and_cursors_go_on),
        cmocka_unit_test(the_newest_cursor_of_the_former_life_is_live),
        cmocka_unit_test(what_a_crash_lost_is_answered_with_reset),
        cmocka_unit_test(memory_answers_what_it_has_and_the_store_the_rest_in_pages),
        cmocka_unit_test(a_cursor_whose_event_is_on_the_way_to_the_store_waits_for_it),
        cmocka_unit_test(the_beginning_of_nothing_is_a_place_to_go_on_from),
        cmocka_unit_test(what_is_committed_and_not_shown_comes_once),
        cmocka_unit_test(history_is_read_from_the_store),
        cmocka_unit_test(what_the_store_refused_leaves_a_hole_that_is_told),
        cmocka_unit_test(a_hole_is_told_though_a_crash_came_before_the_clearing),
        cmocka_unit_test(a_sync_event_that_was_refused_is_no_hole),
        cmocka_unit_test(a_store_that_refuses_to_forget_is_asked_ever_more_seldom),
        cmocka_unit_test(a_cursor_in_a_hole_is_reset_and_not_waited_for),
        cmocka_unit_test(a_sync_publisher_hears_that_it_could_not_be_stored),
        cmocka_unit_test(only_the_publisher_of_what_is_unfit_hears_that),
        cmocka_unit_test(a_duplicate_waits_for_what_becomes_of_the_first),
        cmocka_unit_test(those_who_repeat_a_key_under_way_are_bounded),
        cmocka_unit_test(a_key_that_failed_can_be_used_in_a_history_that_does_not_wait),
        cmocka_unit_test(a_store_without_room_makes_publishers_wait),
        cmocka_unit_test(a_read_that_finds_no_room_is_tried_again),
        cmocka_unit_test(a_new_epoch_resets_cursors_and_keeps_what_is_stored),
        cmocka_unit_test(what_waits_for_the_store_when_an_epoch_begins_belongs_to_the_new_one),
        cmocka_unit_test(where_a_restart_misses_events_it_begins_an_epoch),
        cmocka_unit_test(an_idempotency_key_is_known_after_a_restart),
        cmocka_unit_test(a_channel_in_memory_beside_a_durable_one_is_as_before),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
