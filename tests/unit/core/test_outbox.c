/* Outboxes: what a client that reads too slowly gets in the end, and what it is told. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "core/outbox.h"
#include "tests/support/core_rig.h"
#include "tests/support/unit.h"

static struct rig rig;

/* One shard, with namespaces a and b beside the unnamed, all with this policy and bound. */
static void start(uint8_t policy, uint32_t messages, uint32_t bytes)
{
    rig_init(&rig, 1);
    rig.settings.ns_count = 3;
    rig.settings.ns[0].policy = policy;
    rig.settings.ns[0].outbox_messages = messages;
    rig.settings.ns[0].outbox_bytes = bytes;
    rig.settings.ns[1] = rig.settings.ns[2] = rig.settings.ns[0];
    strcpy(rig.settings.ns[1].name, "a");
    strcpy(rig.settings.ns[2].name, "b");
    rig_start(&rig);
}

/* A client that follows the channel and whose socket takes that many bytes. */
static struct rig_client *follower(const char *channel, uint8_t framing, long room)
{
    struct rig_client *client = rig_client(&rig, 0);
    rig_subscribe(client, channel, framing, "");
    client->room = room;
    return client;
}

static void publish_each(const char *channel, const char *const *payloads)
{
    for (; *payloads; payloads++) {
        assert_int_equal(rig_publish(&rig, 0, channel, *payloads), 0);
        rig_run(&rig);
    }
}

static void publish_together(const char *channel, const char *const *payloads)
{
    for (; *payloads; payloads++) {
        assert_int_equal(rig_publish(&rig, 0, channel, *payloads), 0);
    }
    rig_run(&rig);
}

static const char *const five[] = {"m1", "m2", "m3", "m4", "m5", NULL};

/* ---- drop_oldest ---- */

static void drop_oldest_keeps_the_newest_within_the_message_bound(void **state)
{
    (void)state;
    start(OUTBOX_DROP_OLDEST, 3, 1 << 20);
    struct rig_client *client = follower("a:x", RIG_TOLD, 0);

    publish_each("a:x", five);
    assert_int_equal(rig_books(client).queued, 3);
    assert_int_equal(rig_books(client).dropped[DROP_SLOW], 2);
    assert_int_equal(client->slow_began, 1);
    rig_writable(client, -1);
    assert_string_equal(rig_sent(client), "!a:x 1-2 slow;3=m3;4=m4;5=m5;");
    assert_int_equal(client->slow_ended, 1);
    assert_null(client->sub.outbox);
    rig_fini(&rig);
}

static void drop_oldest_keeps_the_newest_within_the_byte_bound(void **state)
{
    (void)state;
    start(OUTBOX_DROP_OLDEST, 1000, 14); /* Five bytes a frame. */
    struct rig_client *client = follower("a:x", RIG_TOLD, 0);

    publish_together("a:x", five);
    rig_writable(client, -1);
    assert_string_equal(rig_sent(client), "!a:x 1-3 slow;4=m4;5=m5;");
    rig_fini(&rig);
}

static void a_message_larger_than_the_byte_bound_is_dropped_and_told(void **state)
{
    (void)state;
    start(OUTBOX_DROP_OLDEST, 1000, 6);
    struct rig_client *client = follower("a:x", RIG_TOLD, 0);
    static const char *const payloads[] = {"much too long", "m2", NULL};

    publish_each("a:x", payloads);
    rig_writable(client, -1);
    assert_string_equal(rig_sent(client), "!a:x 1-1 slow;2=m2;");
    rig_fini(&rig);
}

static void a_partly_written_message_is_finished_whatever_the_policy_drops(void **state)
{
    static const struct {
        uint8_t policy;
        const char *sent;
    } rows[] = {
        {OUTBOX_DROP_OLDEST, "1=m1;!a:x 2-3 slow;4=m4;5=m5;"},
        {OUTBOX_DROP_NEWEST, "1=m1;2=m2;3=m3;!a:x 4-5 slow;"},
        {OUTBOX_CONFLATE, "1=m1;!a:x 2-3 slow;4=m4;5=m5;"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        for (long room = 1; room < 5; room++) {
            start(rows[i].policy, 3, 1 << 20);
            struct rig_client *client = follower("a:x", RIG_TOLD, room);
            publish_each("a:x", five);
            rig_writable(client, -1);
            assert_string_equal(rig_sent(client), rows[i].sent);
            rig_fini(&rig);
        }
    }
}

/* The socket stops anywhere inside a span of several messages. */
static void a_span_cut_anywhere_goes_on_where_it_stopped(void **state)
{
    (void)state;
    for (long room = 0; room < 25; room++) {
        start(OUTBOX_DROP_OLDEST, 100, 1 << 20);
        struct rig_client *client = follower("a:x", RIG_TOLD, room);
        publish_together("a:x", five);
        assert_int_equal(client->sent.len, room);
        rig_writable(client, 3);
        rig_writable(client, -1);
        assert_string_equal(rig_sent(client), "1=m1;2=m2;3=m3;4=m4;5=m5;");
        assert_int_equal(rig_books(client).delivered, 5);
        rig_fini(&rig);
    }
}

/* A flush that stops inside a run must leave what follows the begun message open to the policy. */
static void what_follows_a_partly_flushed_message_can_still_be_dropped(void **state)
{
    (void)state;
    static const char *const more[] = {"m6", "m7", "m8", NULL};
    start(OUTBOX_DROP_OLDEST, 5, 1 << 20);
    struct rig_client *client = follower("a:x", RIG_TOLD, 0);

    publish_together("a:x", five);
    rig_writable(client, 7);
    publish_each("a:x", more);
    rig_writable(client, -1);
    assert_string_equal(rig_sent(client), "1=m1;2=m2;!a:x 3-4 slow;5=m5;6=m6;7=m7;8=m8;");
    rig_fini(&rig);
}

/* ---- drop_newest ---- */

static void drop_newest_keeps_what_waits_and_drops_what_comes(void **state)
{
    (void)state;
    static const char *const late[] = {"m6", "m7", NULL};
    start(OUTBOX_DROP_NEWEST, 3, 1 << 20);
    struct rig_client *client = follower("a:x", RIG_TOLD, 0);

    publish_together("a:x", five);
    rig_writable(client, 10);
    publish_each("a:x", late);
    rig_writable(client, -1);
    assert_string_equal(rig_sent(client), "1=m1;2=m2;3=m3;!a:x 4-5 slow;6=m6;7=m7;");
    rig_fini(&rig);
}

static void drop_newest_takes_what_fits_of_a_batch(void **state)
{
    (void)state;
    start(OUTBOX_DROP_NEWEST, 1000, 12);
    struct rig_client *client = follower("a:x", RIG_TOLD, 0);

    publish_together("a:x", five);
    rig_writable(client, -1);
    assert_string_equal(rig_sent(client), "1=m1;2=m2;!a:x 3-5 slow;");
    rig_fini(&rig);
}

/* ---- disconnect ---- */

static void disconnect_ends_a_client_at_the_bound_and_not_before(void **state)
{
    (void)state;
    static const char *const one[] = {"m4", NULL};
    static const char *const three[] = {"m1", "m2", "m3", NULL};
    start(OUTBOX_DISCONNECT, 3, 1 << 20);
    struct rig_client *client = follower("a:x", RIG_TOLD, 0);
    struct rig_client *healthy = follower("a:x", RIG_TOLD, -1);

    publish_each("a:x", three);
    assert_false(client->closed);
    publish_each("a:x", one);
    assert_true(client->closed);
    assert_true(client->sub.flags & SUB_DOOMED_SLOW);
    assert_false(healthy->closed);
    assert_int_equal(rig.shards[0].shard->stats.books.dropped[DROP_SLOW], 1);
    assert_int_equal(rig.shards[0].shard->stats.books.dropped[DROP_CLOSED], 3);
    rig_fini(&rig);
}

/* However full the outbox is, and whatever its head is. */
static void one_that_is_ended_hears_last_words_behind_what_had_begun(void **state)
{
    static const struct {
        long room;
        bool control; /* Waits in front of the messages. */
        const char *sent, *in_all;
        uint32_t queued;
    } cases[] = {
        {0, false, "", "<bye>", 0},
        {2, false, "1=", "1=m1;<bye>", 1},
        {5, false, "1=m1;", "1=m1;<bye>", 0},
        {7, false, "1=m1;2=", "1=m1;2=m2;<bye>", 1},
        {2, true, "<p", "<pong><bye>", 0},
        {0, true, "", "<pong><bye>", 0},
        {8, true, "<pong>1=", "<pong>1=m1;<bye>", 1},
    };
    static const char *const more[] = {"m6", "m7", "m8", NULL};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        start(OUTBOX_DISCONNECT, 6, 1 << 20);
        struct rig_client *client = follower("a:x", RIG_TOLD, cases[i].room);
        struct shard *shard = rig.shards[0].shard;
        client->last_words = "<bye>";
        if (cases[i].control) {
            assert_int_equal(shard_control(shard, &client->sub, "<pong>", 6), 0);
        }
        publish_together("a:x", five);
        assert_string_equal(rig_sent(client), cases[i].sent);
        publish_together("a:x", more);
        assert_false(client->closed);
        assert_int_equal(client->sub.subscription_count, 0);
        assert_int_equal(rig_books(client).queued, cases[i].queued);
        rig_check_books(&rig);
        rig_writable(client, -1);
        assert_string_equal(rig_sent(client), cases[i].in_all);
        assert_null(client->sub.outbox);
        struct books books = rig_books(client);
        assert_int_equal(
            books.delivered + books.dropped[DROP_SLOW] + books.dropped[DROP_CLOSED], 8);
        rig_fini(&rig);
    }
}

/* ---- conflate ---- */

static void conflation_keeps_the_newest_of_each_key_in_order_of_offset(void **state)
{
    (void)state;
    start(OUTBOX_CONFLATE, 100, 1 << 20);
    struct rig_client *client = follower("a:x", RIG_TOLD, 0);
    static const uint32_t keys[] = {1, 2, 3, 1, 0, 2, 1};

    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        assert_int_equal(rig_publish_keyed(&rig, 0, "a:x", "m", keys[i]), 0);
        if (i % 2) {
            rig_run(&rig);
        }
    }
    rig_run(&rig);
    rig_writable(client, -1);
    assert_string_equal(rig_sent(client), "3=m;5=m;6=m;7=m;");
    assert_int_equal(rig_books(client).dropped[DROP_CONFLATED], 3);
    rig_fini(&rig);
}

static void a_partly_written_message_is_not_conflated(void **state)
{
    (void)state;
    start(OUTBOX_CONFLATE, 100, 1 << 20);
    struct rig_client *client = follower("a:x", RIG_TOLD, 2);

    for (int i = 0; i < 3; i++) {
        assert_int_equal(rig_publish_keyed(&rig, 0, "a:x", "m", 7), 0);
        rig_run(&rig);
    }
    rig_writable(client, -1);
    assert_string_equal(rig_sent(client), "1=m;3=m;");
    rig_fini(&rig);
}

static void the_same_key_in_two_channels_is_two_things(void **state)
{
    (void)state;
    start(OUTBOX_CONFLATE, 100, 1 << 20);
    struct rig_client *client = follower("a:x", RIG_PLAIN, 0);

    client->room = -1;
    rig_subscribe(client, "a:y", RIG_PLAIN, "");
    client->room = 0;
    assert_int_equal(rig_publish_keyed(&rig, 0, "a:x", "x1", 7), 0);
    rig_run(&rig);
    assert_int_equal(rig_publish_keyed(&rig, 0, "a:y", "y1", 7), 0);
    rig_run(&rig);
    rig_writable(client, -1);
    assert_string_equal(rig_sent(client), "x1;y1;");
    rig_fini(&rig);
}

static void a_burst_beyond_the_bound_of_its_own_namespace_is_slow_not_without_victim(void **state)
{
    (void)state;
    start(OUTBOX_CONFLATE, 2, 1 << 20);
    struct rig_client *client = follower("a:x", RIG_TOLD, 0);

    publish_together("a:x", five);
    rig_writable(client, -1);
    assert_string_equal(rig_sent(client), "!a:x 1-3 slow;4=m4;5=m5;");
    rig_fini(&rig);
}

/* Thousands of keys, replaced over and over: the queue must not grow with what was dropped. */
static void conflation_of_many_keys_stays_small(void **state)
{
    (void)state;
    enum { KEYS = 500, ROUNDS = 40 };
    start(OUTBOX_CONFLATE, 100000, 1 << 30);
    struct rig_client *client = follower("a:x", RIG_PLAIN, 0);
    char payload[16], want[KEYS * 16] = "";

    for (int round = 0; round < ROUNDS; round++) {
        for (uint32_t key = 1; key <= KEYS; key++) {
            snprintf(payload, sizeof(payload), "%u.%d", key, round);
            assert_int_equal(rig_publish_keyed(&rig, 0, "a:x", payload, key), 0);
            if (key % 7 == 0) {
                rig_run(&rig);
            }
        }
    }
    rig_run(&rig);
    assert_int_equal(rig_books(client).queued, KEYS);
    assert_true(client->sub.outbox->cap <= 4 * KEYS);
    for (uint32_t key = 1, at = 0; key <= KEYS; key++) {
        at += (uint32_t)snprintf(want + at, sizeof(want) - at, "%u.%d;", key, ROUNDS - 1);
    }
    rig_writable(client, -1);
    assert_string_equal(rig_sent(client), want);
    rig_fini(&rig);
}

/* ---- namespaces ---- */

static void only_its_own_namespace_pays_for_an_arriving_message(void **state)
{
    (void)state;
    start(OUTBOX_DROP_OLDEST, 3, 1 << 20);
    struct rig_client *client = follower("a:x", RIG_TOLD, -1);
    static const char *const as[] = {"a1", "a2", NULL};
    static const char *const bs[] = {"b1", "b2", "b3", NULL};

    rig_subscribe(client, "b:x", RIG_TOLD, "");
    client->room = 0;
    publish_each("a:x", as);
    publish_each("b:x", bs);
    rig_writable(client, -1);
    assert_string_equal(rig_sent(client), "1=a1;2=a2;!b:x 1-2 slow;3=b3;");
    rig_fini(&rig);
}

static void without_a_victim_the_arriving_message_itself_is_dropped(void **state)
{
    (void)state;
    start(OUTBOX_DROP_OLDEST, 2, 1 << 20);
    struct rig_client *client = follower("a:x", RIG_TOLD, -1);
    static const char *const as[] = {"a1", "a2", NULL};
    static const char *const bs[] = {"b1", "b2", NULL};

    rig_subscribe(client, "b:x", RIG_TOLD, "");
    client->room = 0;
    publish_each("a:x", as);
    publish_each("b:x", bs);
    assert_int_equal(rig_books(client).dropped[DROP_NO_VICTIM], 2);
    rig_writable(client, -1);
    assert_string_equal(rig_sent(client), "1=a1;2=a2;!b:x 1-2 no_victim;");
    rig_fini(&rig);
}

/* ---- gaps ---- */

static void there_is_one_gap_a_channel_however_they_alternate(void **state)
{
    (void)state;
    start(OUTBOX_DROP_OLDEST, 2, 1 << 20);
    struct rig_client *client = follower("a:x", RIG_TOLD, -1);

    rig_subscribe(client, "a:y", RIG_TOLD, "");
    client->room = 0;
    for (int i = 0; i < 50; i++) {
        assert_int_equal(rig_publish(&rig, 0, "a:x", "x"), 0);
        rig_run(&rig);
        assert_int_equal(rig_publish(&rig, 0, "a:y", "y"), 0);
        rig_run(&rig);
    }
    assert_true(client->sub.outbox->cap <= 16);
    rig_writable(client, -1);
    assert_string_equal(rig_sent(client), "!a:x 1-49 slow;!a:y 1-49 slow;50=x;50=y;");
    rig_fini(&rig);
}

/* A message of another namespace parts two gaps, and then goes itself. */
static void a_client_that_never_reads_does_not_collect_gaps(void **state)
{
    (void)state;
    start(OUTBOX_DROP_OLDEST, 3, 1 << 20);
    rig.settings.ns[2].policy = OUTBOX_DROP_NEWEST;
    struct rig_client *client = follower("a:x", RIG_TOLD, -1);

    rig_subscribe(client, "b:x", RIG_TOLD, "");
    client->room = 0;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(rig_publish(&rig, 0, "a:x", "a"), 0);
        rig_run(&rig);
        assert_int_equal(rig_publish(&rig, 0, "b:x", "b"), 0);
        rig_run(&rig);
    }
    assert_true(client->sub.outbox->cap <= 32);
    rig_fini(&rig);
}

static void a_client_of_a_framing_without_notices_is_only_counted(void **state)
{
    (void)state;
    start(OUTBOX_DROP_OLDEST, 2, 1 << 20);
    struct rig_client *client = follower("a:x", RIG_PLAIN, 0);

    publish_each("a:x", five);
    rig_writable(client, -1);
    assert_string_equal(rig_sent(client), "m4;m5;");
    assert_int_equal(rig_books(client).dropped[DROP_SLOW], 3);
    rig_fini(&rig);
}

/* ---- control bytes ---- */

static void control_bytes_keep_their_place_among_messages(void **state)
{
    (void)state;
    start(OUTBOX_DROP_OLDEST, 2, 1 << 20);
    struct rig_client *client = follower("a:x", RIG_TOLD, 3);
    struct shard *shard = rig.shards[0].shard;
    static const char *const first[] = {"m1", "m2", NULL};
    static const char *const then[] = {"m3", NULL};

    publish_each("a:x", first);
    assert_int_equal(shard_control(shard, &client->sub, "<pong>", 6), 0);
    publish_each("a:x", then);
    rig_writable(client, -1);
    assert_string_equal(rig_sent(client), "1=m1;!a:x 2-2 slow;<pong>3=m3;");
    rig_fini(&rig);
}

static void control_bytes_have_a_bound_of_their_own(void **state)
{
    (void)state;
    enum { PIECE = 4096 };
    start(OUTBOX_DROP_OLDEST, 2, 10);
    struct rig_client *client = follower("a:x", RIG_TOLD, 0);
    struct shard *shard = rig.shards[0].shard;
    static char piece[PIECE];
    int count = 0;

    memset(piece, 'c', sizeof(piece));
    while (shard_control(shard, &client->sub, piece, PIECE) == 0) {
        count += 1;
        assert_true(count <= OUTBOX_CONTROL_BYTES_MAX / PIECE);
    }
    assert_int_equal(count, OUTBOX_CONTROL_BYTES_MAX / PIECE);
    assert_int_equal(shard_control(shard, &client->sub, piece, 1), -ENOBUFS);
    rig_writable(client, -1);
    assert_int_equal(client->sent.len, OUTBOX_CONTROL_BYTES_MAX);
    assert_null(client->sub.outbox);
    rig_fini(&rig);
}

static void one_large_reply_does_not_lift_the_bound_on_control_bytes(void **state)
{
    (void)state;
    enum { LARGE = 2 * OUTBOX_CONTROL_BYTES_MAX };
    start(OUTBOX_DROP_OLDEST, 2, 10);
    struct rig_client *client = follower("a:x", RIG_TOLD, 0);
    struct shard *shard = rig.shards[0].shard;
    char *large = mem_zalloc(LARGE);

    assert_int_equal(shard_control(shard, &client->sub, large, LARGE), 0);
    assert_int_equal(shard_control(shard, &client->sub, large, LARGE), -ENOBUFS);
    for (unsigned i = 0; i < OUTBOX_CONTROL_BYTES_MAX / 4096; i++) {
        assert_int_equal(shard_control(shard, &client->sub, large, 4096), 0);
    }
    assert_int_equal(shard_control(shard, &client->sub, "x", 1), -ENOBUFS);
    rig_writable(client, LARGE);
    assert_int_equal(client->sub.outbox->large_bytes, 0);
    assert_int_equal(client->sub.outbox->control_bytes, OUTBOX_CONTROL_BYTES_MAX);
    assert_int_equal(shard_control(shard, &client->sub, "x", 1), -ENOBUFS);
    assert_int_equal(shard_control(shard, &client->sub, large, LARGE), 0);
    rig_writable(client, -1);
    assert_int_equal(client->sent.len, 2 * LARGE + OUTBOX_CONTROL_BYTES_MAX);
    mem_free(large);
    rig_fini(&rig);
}

static void a_connection_that_fails_is_closed_and_the_books_say_so(void **state)
{
    (void)state;
    start(OUTBOX_DROP_OLDEST, 100, 1 << 20);
    struct rig_client *client = follower("a:x", RIG_TOLD, 3);

    publish_each("a:x", five);
    client->error = -ECONNRESET;
    rig_writable(client, 0);
    assert_true(client->closed);
    assert_int_equal(rig.shards[0].shard->stats.books.dropped[DROP_CLOSED], 5);
    rig_fini(&rig);
}

/* ---- by chance ---- */

enum { CHANNELS = 4, KEYS = 5 };

struct reader {
    uint64_t next[CHANNELS]; /* The first offset that is neither received nor told missing. */
    uint32_t received;
};

/* Reads what a client was sent: offsets only grow, and what is skipped was told or conflated. */
static void read_all(struct reader *reader, const char *text, bool conflates)
{
    unsigned channel, n = 0;
    unsigned long long from, to;
    int used = 0;

    for (; *text; text += used) {
        used = 0;
        if (sscanf(text, "!%*c:%u %llu-%llu %*[a-z_];%n", &channel, &from, &to, &used) == 3 &&
            used) {
            assert_true(from <= to && channel < CHANNELS);
            assert_true(conflates ? from >= reader->next[channel] : from == reader->next[channel]);
            reader->next[channel] = to + 1;
        } else {
            used = 0;
            assert_int_equal(sscanf(text, "%llu=%u.%u;%n", &from, &channel, &n, &used), 3);
            assert_int_not_equal(used, 0);
            assert_true(conflates ? from >= reader->next[channel] : from == reader->next[channel]);
            reader->next[channel] = from + 1;
            reader->received += 1;
        }
    }
}

/* Random traffic on four channels of two namespaces, a socket that opens and closes at random: the
 * client can tell exactly what it missed, and the books agree with what it got. */
static void one_random_run(uint64_t seed)
{
    static const char *const names[CHANNELS] = {"a:0", "a:1", "b:2", "b:3"};
    struct rng rng;
    struct reader reader = {.next = {1, 1, 1, 1}};
    uint64_t published[CHANNELS] = {0};
    bool conflates = false;

    rng_init(&rng, seed);
    start(OUTBOX_DROP_OLDEST, 0, 0);
    for (int ns = 1; ns <= 2; ns++) {
        rig.settings.ns[ns].policy = (uint8_t)rng_below(&rng, 3);
        rig.settings.ns[ns].outbox_messages = 1 + (uint32_t)rng_below(&rng, 12);
        rig.settings.ns[ns].outbox_bytes = 20 + (uint32_t)rng_below(&rng, 100);
        conflates = conflates || rig.settings.ns[ns].policy == OUTBOX_CONFLATE;
    }
    struct rig_client *client = rig_client(&rig, 0);
    for (int i = 0; i < CHANNELS; i++) {
        rig_subscribe(client, names[i], RIG_TOLD, "");
    }
    client->room = 0;
    for (int step = 0; step < 300; step++) {
        uint32_t what = (uint32_t)rng_below(&rng, 10);
        if (what < 6) {
            uint32_t channel = (uint32_t)rng_below(&rng, CHANNELS);
            char payload[32];
            snprintf(payload, sizeof(payload), "%u.%u", channel, (unsigned)step);
            published[channel] += 1;
            assert_int_equal(rig_publish_keyed(
                                 &rig, 0, names[channel], payload, (uint32_t)rng_below(&rng, KEYS)),
                0);
        } else if (what < 8) {
            rig_run(&rig);
        } else {
            rig_writable(client, (long)rng_below(&rng, 40));
        }
    }
    rig_run(&rig);
    rig_writable(client, -1);
    read_all(&reader, rig_sent(client), conflates);
    for (int i = 0; i < CHANNELS && !conflates; i++) {
        assert_int_equal(reader.next[i], published[i] + 1);
    }
    struct books books = rig_books(client);
    assert_int_equal(books.delivered, reader.received);
    assert_int_equal(books.queued + books.pending, 0);
    rig_fini(&rig);
}

static void whatever_happens_a_client_can_tell_what_it_missed(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 1000; seed++) {
        one_random_run(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drop_oldest_keeps_the_newest_within_the_message_bound),
        cmocka_unit_test(drop_oldest_keeps_the_newest_within_the_byte_bound),
        cmocka_unit_test(a_message_larger_than_the_byte_bound_is_dropped_and_told),
        cmocka_unit_test(a_partly_written_message_is_finished_whatever_the_policy_drops),
        cmocka_unit_test(a_span_cut_anywhere_goes_on_where_it_stopped),
        cmocka_unit_test(what_follows_a_partly_flushed_message_can_still_be_dropped),
        cmocka_unit_test(drop_newest_keeps_what_waits_and_drops_what_comes),
        cmocka_unit_test(drop_newest_takes_what_fits_of_a_batch),
        cmocka_unit_test(disconnect_ends_a_client_at_the_bound_and_not_before),
        cmocka_unit_test(one_that_is_ended_hears_last_words_behind_what_had_begun),
        cmocka_unit_test(conflation_keeps_the_newest_of_each_key_in_order_of_offset),
        cmocka_unit_test(a_partly_written_message_is_not_conflated),
        cmocka_unit_test(the_same_key_in_two_channels_is_two_things),
        cmocka_unit_test(a_burst_beyond_the_bound_of_its_own_namespace_is_slow_not_without_victim),
        cmocka_unit_test(conflation_of_many_keys_stays_small),
        cmocka_unit_test(only_its_own_namespace_pays_for_an_arriving_message),
        cmocka_unit_test(without_a_victim_the_arriving_message_itself_is_dropped),
        cmocka_unit_test(there_is_one_gap_a_channel_however_they_alternate),
        cmocka_unit_test(a_client_that_never_reads_does_not_collect_gaps),
        cmocka_unit_test(a_client_of_a_framing_without_notices_is_only_counted),
        cmocka_unit_test(control_bytes_keep_their_place_among_messages),
        cmocka_unit_test(control_bytes_have_a_bound_of_their_own),
        cmocka_unit_test(one_large_reply_does_not_lift_the_bound_on_control_bytes),
        cmocka_unit_test(a_connection_that_fails_is_closed_and_the_books_say_so),
        cmocka_unit_test(whatever_happens_a_client_can_tell_what_it_missed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
