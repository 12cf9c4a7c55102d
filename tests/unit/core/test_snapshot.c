/* Moving a shard's state: nobody but the shards can tell. */
#include "core/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "tests/support/core_rig.h"
#include "tests/support/unit.h"

enum { CLIENTS = 12, CHANNELS = 5 };

static struct rig rig;
static struct rig_client *clients[CLIENTS];
static const char *const names[CHANNELS] = {"a:0", "a:1", "b:2", "b:3", "room:4"};

static void start(uint16_t shards, uint64_t seed)
{
    struct rng rng;

    rng_init(&rng, seed);
    rig_init(&rig, shards);
    rig.settings.ns_count = 3;
    for (int i = 1; i <= 2; i++) {
        rig.settings.ns[i] = rig.settings.ns[0];
        rig.settings.ns[i].policy = (uint8_t)rng_below(&rng, 4);
        rig.settings.ns[i].outbox_messages = 1 + (uint32_t)rng_below(&rng, 10);
        rig.settings.ns[i].history_messages = 1 + (uint32_t)rng_below(&rng, 20);
    }
    strcpy(rig.settings.ns[1].name, "a");
    strcpy(rig.settings.ns[2].name, "b");
    rig_start(&rig);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = rig_client(&rig, (uint16_t)(i % shards));
    }
}

static void one_step(struct rng *rng, unsigned step)
{
    uint64_t which = rng_below(rng, CLIENTS);
    struct rig_client *client = clients[which];
    const char *name = names[rng_below(rng, CHANNELS)];
    uint64_t what = rng_below(rng, 10), amount = rng_below(rng, 40);
    bool begin = rng_below(rng, 2);
    char payload[16];

    if (what < 5) {
        snprintf(payload, sizeof(payload), "%u", step);
        assert_int_equal(rig_publish_keyed(&rig, 0, name, payload, (uint32_t)amount % 4), 0);
    } else if (what < 7 && !client->closed) {
        int err = rig_ask(client, name, RIG_PLAIN, begin ? "begin" : "");
        assert_true(err == 0 || err == -EEXIST);
    } else if (what < 8 && !client->closed) {
        struct shard *shard = rig.shards[client->shard].shard;
        shard_unsubscribe(shard, &client->sub, span_str(name), RIG_PLAIN);
    } else if (!client->closed) {
        client->room = amount < 20 ? (long)amount : -1;
        shard_writable(rig.shards[client->shard].shard, &client->sub);
    }
    rig_run(&rig);
}

/* Plays the seed; moves to another number of shards now and then. Gives what each client got. In the
 * framing without notices: how those are cut depends on when a socket was tried. */
static void play(uint64_t seed, bool move, char *ret_sent[CLIENTS])
{
    struct rng rng, moves;

    rng_init(&rng, seed);
    rng_init(&moves, seed + 1000);
    start(1 + (uint16_t)(seed % 3), seed);
    for (unsigned step = 1; step <= 400; step++) {
        one_step(&rng, step);
        if (move && rng_below(&moves, 40) == 0) {
            rig_transfer(&rig, 1 + (uint16_t)rng_below(&moves, RIG_SHARDS_MAX), clients, CLIENTS);
        }
    }
    for (int i = 0; i < CLIENTS; i++) {
        if (!clients[i]->closed) {
            rig_writable(clients[i], -1);
        }
        ret_sent[i] = mem_strdup(rig_sent(clients[i]));
    }
    rig_fini(&rig);
}

static void clients_get_the_same_whether_shards_move_or_not(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        char *stayed[CLIENTS], *moved[CLIENTS];
        play(seed, false, stayed);
        play(seed, true, moved);
        for (int i = 0; i < CLIENTS; i++) {
            assert_string_equal(moved[i], stayed[i]);
            mem_free(moved[i]);
            mem_free(stayed[i]);
        }
    }
}

static void a_partly_sent_message_goes_on_at_its_byte(void **state)
{
    (void)state;
    for (long room = 0; room < 8; room++) {
        start(1, 1);
        rig_subscribe(clients[0], "room:4", RIG_TOLD, "");
        clients[0]->room = room;
        assert_int_equal(rig_publish(&rig, 0, "room:4", "hello"), 0);
        rig_run(&rig);
        rig_transfer(&rig, 2, clients, CLIENTS);
        rig_writable(clients[0], -1);
        assert_string_equal(rig_sent(clients[0]), "1=hello;");
        rig_fini(&rig);
    }
}

static void a_gap_that_waits_moves_too(void **state)
{
    (void)state;
    start(1, 1);
    rig.settings.ns[0].outbox_messages = 2;
    rig_subscribe(clients[0], "room:4", RIG_TOLD, "");
    clients[0]->room = 2;
    for (int i = 0; i < 6; i++) {
        assert_int_equal(rig_publish(&rig, 0, "room:4", "m"), 0);
        rig_run(&rig);
    }
    rig_transfer(&rig, 2, clients, CLIENTS);
    rig_writable(clients[0], -1);
    assert_string_equal(rig_sent(clients[0]), "1=m;!room:4 2-5 slow;6=m;");
    rig_fini(&rig);
}

static void keys_and_offsets_move_with_their_channel(void **state)
{
    (void)state;
    start(3, 1);
    struct publish_order order = {
        .name = span_str("room:4"), .payload = span_str("m"), .once = {77, 78}, .reply_id = 1};
    assert_int_equal(rig_order(&rig, 0, order), 0);
    rig_run(&rig);
    rig_transfer(&rig, 2, clients, CLIENTS);
    assert_int_equal(rig_order(&rig, 0, order), 0);
    order.once[0] = 79;
    assert_int_equal(rig_order(&rig, 1, order), 0);
    rig_run(&rig);
    assert_int_equal(rig.result_count, 3);
    assert_int_equal(rig.results[1].duplicate + rig.results[2].duplicate, 1);
    for (int i = 1; i < 3; i++) {
        assert_int_equal(rig.results[i].cursor.epoch, rig.results[0].cursor.epoch);
        assert_int_equal(rig.results[i].cursor.offset, rig.results[i].duplicate ? 1 : 2);
    }
    rig_fini(&rig);
}

static void a_forgotten_channel_does_not_give_a_number_again_elsewhere(void **state)
{
    (void)state;
    start(2, 1);
    rig.settings.ns[0].history_messages = 0;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(rig_publish(&rig, 0, "room:4", "m"), 0);
    }
    rig_run(&rig);
    rig_transfer(&rig, 3, clients, CLIENTS);
    rig_subscribe(clients[0], "room:4", RIG_TOLD, "");
    assert_int_equal(clients[0]->cursor.offset, 5);
    rig_fini(&rig);
}

static void one_who_waits_for_the_broker_goes_on_waiting(void **state)
{
    (void)state;
    start(2, 1);
    rig.closed_channels = true;
    assert_int_equal(rig_ask(clients[0], "room:4", RIG_TOLD, ""), 0);
    rig_run(&rig);
    rig_transfer(&rig, 3, clients, CLIENTS);
    rig_run(&rig);
    assert_int_equal(clients[0]->answers, 0);
    for (uint16_t i = 0; i < 3; i++) {
        home_opened(rig.shards[i].shard, span_of(NULL, 0));
    }
    rig_run(&rig);
    assert_int_equal(clients[0]->answers, 1);
    rig_fini(&rig);
}

/* ---- what is not ours ---- */

static void export_all(struct bytes *bytes, size_t *ret_shard_bytes)
{
    struct pack out = {.out = bytes};

    start(1, 3);
    for (int i = 0; i < 4; i++) {
        rig_subscribe(clients[i], i & 1 ? "room:4" : "a:0", RIG_TOLD, "");
        clients[i]->room = 3;
    }
    for (int i = 0; i < 6; i++) {
        assert_int_equal(rig_publish(&rig, 0, i & 1 ? "room:4" : "a:0", "hello"), 0);
    }
    rig_run(&rig);
    snapshot_export_shard(rig.shards[0].shard, &out);
    *ret_shard_bytes = bytes->len;
    snapshot_export_subscriber(rig.shards[0].shard, &clients[1]->sub, &out);
    assert_int_equal(out.err, 0);
    rig_fini(&rig);
}

static void asked_anew(void *ctx, uint64_t former_id, uint64_t id)
{
    (void)ctx;
    (void)former_id;
    (void)id;
}

/* After an import that may have failed in the middle. */
static void tear_down(void)
{
    for (int i = 0; i < CLIENTS; i++) {
        rig_close(clients[i]);
    }
    for (int i = 0; i < 3; i++) {
        rig_receive(&rig, 0);
        rig_sweep(&rig, 0);
    }
    shard_destroy(rig.shards[0].shard);
    for (uint32_t i = 0; i < rig.shards[0].clients.high_count; i++) {
        bytes_fini(&((struct rig_client *)slab_at(&rig.shards[0].clients, i))->sent);
    }
    slab_fini(&rig.shards[0].clients);
}

/* Imports what is there; must only not harm. */
static int import_all(const uint8_t *data, size_t shard_bytes, size_t len)
{
    struct unpack shard_in = {span_of(data, shard_bytes), false};
    struct unpack in = {span_of(data + shard_bytes, len - shard_bytes), false};

    start(1, 3);
    int err = snapshot_import_shard(rig.shards[0].shard, &shard_in, false);
    if (!err) {
        err = snapshot_import_subscriber(
            rig.shards[0].shard, &clients[1]->sub, &in, asked_anew, NULL);
    }
    tear_down();
    return err;
}

static void what_is_cut_off_anywhere_is_refused(void **state)
{
    (void)state;
    struct bytes bytes = {0};
    size_t shard_bytes;

    export_all(&bytes, &shard_bytes);
    assert_int_equal(import_all(bytes.data, shard_bytes, bytes.len), 0);
    for (size_t len = 0; len < shard_bytes; len++) {
        assert_int_equal(import_all(bytes.data, len, len), -EBADMSG);
    }
    for (size_t len = shard_bytes; len < bytes.len; len++) {
        assert_int_equal(import_all(bytes.data, shard_bytes, len), -EBADMSG);
    }
    bytes_fini(&bytes);
}

static void any_damaged_byte_does_no_harm(void **state)
{
    (void)state;
    struct bytes bytes = {0};
    size_t shard_bytes;

    export_all(&bytes, &shard_bytes);
    for (size_t i = 0; i < bytes.len; i++) {
        static const uint8_t flips[] = {1, 0x80, 0xff};
        for (size_t k = 0; k < COUNT_OF(flips); k++) {
            bytes.data[i] ^= flips[k];
            (void)import_all(bytes.data, shard_bytes, bytes.len);
            bytes.data[i] ^= flips[k];
        }
    }
    bytes_fini(&bytes);
}

static void memory_that_runs_out_during_an_import_is_told(void **state)
{
    (void)state;
    struct bytes bytes = {0};
    size_t shard_bytes;
    int err = -ENOMEM;

    export_all(&bytes, &shard_bytes);
    for (int points = 0; err == -ENOMEM; points++) {
        struct unpack shard_in = {span_of(bytes.data, shard_bytes), false};
        struct unpack in = {span_of(bytes.data + shard_bytes, bytes.len - shard_bytes), false};
        assert_true(points < 1000);
        start(1, 3);
        mem_fail_after(points);
        err = snapshot_import_shard(rig.shards[0].shard, &shard_in, false);
        err = err ? err
                  : snapshot_import_subscriber(
                        rig.shards[0].shard, &clients[1]->sub, &in, asked_anew, NULL);
        mem_fail_after(-1);
        tear_down();
    }
    assert_int_equal(err, 0);
    bytes_fini(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clients_get_the_same_whether_shards_move_or_not),
        cmocka_unit_test(a_partly_sent_message_goes_on_at_its_byte),
        cmocka_unit_test(a_gap_that_waits_moves_too),
        cmocka_unit_test(keys_and_offsets_move_with_their_channel),
        cmocka_unit_test(a_forgotten_channel_does_not_give_a_number_again_elsewhere),
        cmocka_unit_test(one_who_waits_for_the_broker_goes_on_waiting),
        cmocka_unit_test(what_is_cut_off_anywhere_is_refused),
        cmocka_unit_test(any_damaged_byte_does_no_harm),
        cmocka_unit_test(memory_that_runs_out_during_an_import_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
