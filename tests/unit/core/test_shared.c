/* A history that the broker keeps: holes are filled before anything further is shown, pages are spliced to
 * what comes, and what is gone is said. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "core/home.h"
#include "tests/support/core_rig.h"
#include "tests/support/unit.h"

static struct rig rig;
static const char channel[] = "user:a";

/* What the broker has: events first..last of an epoch, each its offset as text. */
static struct {
    uint64_t epoch, first, last;
    struct mail_chain asked;
    uint32_t reads, renewals;
    int err;
} broker;

static struct shard *shard(void)
{
    return rig.shards[0].shard;
}

static int port_read(void *ctx, struct store_read *letter)
{
    (void)ctx;
    broker.reads += 1;
    mail_chain_add(&broker.asked, &letter->letter.mail);
    return 0;
}

static void port_renew(void *ctx, struct span name, struct cursor last)
{
    (void)ctx;
    assert_int_equal(name.len, strlen(channel));
    broker.renewals += 1;
    if (last.epoch == broker.epoch) {
        broker.epoch += 1;
        broker.last = last.offset > broker.last ? last.offset : broker.last;
        broker.first = 0;
    }
}

static const struct shared_ports ports = {NULL, port_read, port_renew, false};
static const struct shared_ports by_interest = {NULL, port_read, port_renew, true};

static struct publish_order order_of(uint64_t epoch, uint64_t offset, char text[24])
{
    snprintf(text, 24, "%llu", (unsigned long long)offset);
    return (struct publish_order){.name = span_str(channel),
        .payload = span_str(text),
        .flags = PUBLICATION_UTF8 | PUBLICATION_NUMBERED,
        .numbered = {epoch, offset}};
}

static void fill(struct store_read *letter)
{
    char text[24];
    uint64_t from = letter->from == STORE_FROM_BEGIN ? 1 : letter->after + 1;
    uint32_t most = letter->count_max < 3 ? letter->count_max : 3; /* Small pages: more of them. */

    letter->letter.err = broker.err;
    if (broker.err) {
        return;
    }
    letter->bounds =
        (struct history_bounds){.epoch = broker.epoch, .first = broker.first, .last = broker.last};
    from = from > broker.first ? from : broker.first;
    for (; broker.first && from <= broker.last; from++) {
        if (letter->count == most) {
            letter->more = true;
            break;
        }
        struct publish_order order = order_of(broker.epoch, from, text);
        letter->pubs = mem_realloc(letter->pubs, (letter->count + 1) * sizeof(*letter->pubs));
        letter->pubs[letter->count++] = publication_create(&order, letter->hash, rig.now_ns);
    }
}

/* Answers what was asked until now, not what follows from it. */
static void answer(void)
{
    struct mail *mail = broker.asked.first;

    broker.asked = (struct mail_chain){0};
    while (mail) {
        struct mail *next = mail->next;
        fill((struct store_read *)mail);
        shard_receive(shard(), mail);
        mail = next;
    }
    rig_run(&rig);
}

static void answer_all(void)
{
    while (broker.asked.first) {
        answer();
    }
}

/* The broker has it, and we hear of it. */
static void hear(uint64_t offset)
{
    char text[24];

    broker.last = offset > broker.last ? offset : broker.last;
    broker.first = broker.first ? broker.first : 1;
    assert_int_equal(rig_order(&rig, 0, order_of(broker.epoch, offset, text)), 0);
    rig_run(&rig);
}

static void miss(uint64_t offset)
{
    broker.last = offset;
}

static void start(uint64_t last)
{
    memset(&broker, 0, sizeof(broker));
    broker.epoch = 50;
    broker.last = last;
    broker.first = last ? 1 : 0;
    rig_init(&rig, 1);
    rig.settings.ns[0].shared = true;
    rig_start(&rig);
    shared_open(shard(), &ports);
}

static void finish(void)
{
    answer_all();
    rig_fini(&rig);
}

static struct rig_client *listen(const char *since)
{
    struct rig_client *client = rig_client(&rig, 0);

    assert_int_equal(rig_ask(client, channel, RIG_TOLD, since), 0);
    rig_run(&rig);
    answer_all();
    return client;
}

static void a_stranger_is_answered_from_the_broker(void **state)
{
    (void)state;
    start(7);
    struct rig_client *client = listen("1e:2"); /* 50 in base 36 is 1e. */
    assert_int_equal(client->state, SUBSCRIBE_REPLAYED);
    assert_string_equal(rig_sent(client), "3=3;4=4;5=5;6=6;7=7;");
    rig_forget(client);
    hear(8);
    assert_string_equal(rig_sent(client), "8=8;");
    assert_int_equal(client->restarts, 0);
    finish();
}

static void what_a_page_brought_is_not_shown_again(void **state)
{
    (void)state;
    start(5);
    struct rig_client *client = rig_client(&rig, 0);
    assert_int_equal(rig_ask(client, channel, RIG_TOLD, "begin"), 0);
    rig_run(&rig);
    hear(6); /* While the page is on its way, and then what the page has, too. */
    answer_all();
    assert_string_equal(rig_sent(client), "1=1;2=2;3=3;4=4;5=5;6=6;");
    hear(7);
    assert_string_equal(rig_sent(client), "1=1;2=2;3=3;4=4;5=5;6=6;7=7;");
    finish();
}

static void after_a_jump_the_hole_comes_first(void **state)
{
    (void)state;
    start(1);
    struct rig_client *client = listen("");
    miss(2);
    miss(3);
    miss(4);
    miss(5);
    hear(6);
    hear(7);
    assert_string_equal(rig_sent(client), "");
    answer_all();
    assert_string_equal(rig_sent(client), "2=2;3=3;4=4;5=5;6=6;7=7;");
    hear(8);
    assert_string_equal(rig_sent(client), "2=2;3=3;4=4;5=5;6=6;7=7;8=8;");
    assert_int_equal(client->restarts, 0);
    finish();
}

static void more_than_may_be_held_back_is_fetched(void **state)
{
    (void)state;
    start(1);
    struct rig_client *client = listen("");
    miss(2);
    for (uint64_t offset = 3; offset < 3 + SHARED_HELD_MAX + 50; offset++) {
        hear(offset);
    }
    answer_all();
    struct books books = rig_books(client);
    assert_int_equal(books.delivered, SHARED_HELD_MAX + 51);
    assert_null(strchr(rig_sent(client), '!'));
    finish();
}

static void after_a_lost_link_nothing_is_missing(void **state)
{
    (void)state;
    start(0);
    struct rig_client *client = listen("");
    hear(1);
    miss(2);
    miss(3);
    home_new_epoch(shard(), span_of(NULL, 0));
    hear(4);
    answer_all();
    assert_string_equal(rig_sent(client), "1=1;2=2;3=3;4=4;");
    assert_int_equal(client->restarts, 0);
    finish();
}

static void a_broker_that_is_away_is_asked_again(void **state)
{
    (void)state;
    start(3);
    broker.err = -ENOTCONN;
    struct rig_client *client = rig_client(&rig, 0);
    assert_int_equal(rig_ask(client, channel, RIG_TOLD, "1e:1"), 0);
    rig_run(&rig);
    answer();
    assert_int_equal(client->answers, 0);
    broker.err = 0;
    home_tick(shard());
    answer_all();
    assert_string_equal(rig_sent(client), "2=2;3=3;");
    /* And one that stays away ends the waiting. */
    broker.err = -ENOTCONN;
    struct rig_client *other = rig_client(&rig, 0);
    assert_int_equal(rig_ask(other, channel, RIG_TOLD, "begin"), 0);
    rig_run(&rig);
    answer();
    rig.now_ns += 6000000000ull;
    rig_turn(&rig);
    home_tick(shard());
    rig_run(&rig);
    assert_int_equal(other->state, SUBSCRIBE_RESET);
    broker.err = 0;
    finish();
}

static void what_is_not_kept_is_a_gap(void **state)
{
    (void)state;
    start(0);
    struct rig_client *client = listen("");
    hear(1);
    broker.first = 5;
    hear(6);
    answer_all();
    assert_string_equal(rig_sent(client), "1=1;!user:a 2-4 overload;5=5;6=6;");
    finish();
}

static void cursors_before_the_oldest_are_reset(void **state)
{
    (void)state;
    start(9);
    broker.first = 5;
    assert_int_equal(listen("1e:3")->state, SUBSCRIBE_RESET);
    struct rig_client *at_the_edge = listen("1e:4");
    assert_int_equal(at_the_edge->state, SUBSCRIBE_REPLAYED);
    assert_string_equal(rig_sent(at_the_edge), "5=5;6=6;7=7;8=8;9=9;");
    assert_int_equal(listen("1e:9")->state, SUBSCRIBE_LIVE);
    assert_int_equal(listen("1e:10")->state, SUBSCRIBE_RESET);
    assert_int_equal(listen("1d:9")->state, SUBSCRIBE_RESET);
    finish();
}

static void a_cursor_ahead_of_us_waits_for_us(void **state)
{
    (void)state;
    start(1);
    struct rig_client *here = listen("");
    miss(2);
    miss(3); /* Another gateway has shown it already. */
    struct rig_client *client = rig_client(&rig, 0);
    assert_int_equal(rig_ask(client, channel, RIG_TOLD, "1e:3"), 0);
    rig_run(&rig);
    answer_all();
    home_tick(shard());
    answer_all();
    assert_int_equal(client->state, SUBSCRIBE_LIVE);
    hear(2);
    hear(3);
    hear(4);
    assert_string_equal(rig_sent(client), "4=4;");
    assert_string_equal(rig_sent(here), "2=2;3=3;4=4;");
    finish();
}

static void offsets_that_go_back_begin_an_epoch(void **state)
{
    (void)state;
    start(0);
    struct rig_client *client = listen("");
    for (uint64_t offset = 1; offset <= 5; offset++) {
        hear(offset);
    }
    broker.last = 3;
    hear(4);
    assert_int_equal(broker.renewals, 1);
    answer_all();
    assert_int_equal(client->restarts, 1);
    assert_string_equal(rig_sent(client), "1=1;2=2;3=3;4=4;5=5;5=4;");
    hear(6);
    assert_string_equal(rig_sent(client), "1=1;2=2;3=3;4=4;5=5;5=4;6=6;");
    assert_int_equal(listen("1e:5")->state, SUBSCRIBE_RESET);
    finish();
}

static void what_has_no_number_moves_nobody(void **state)
{
    (void)state;
    start(0);
    struct rig_client *client = listen("");
    hear(1);
    assert_int_equal(rig_publish(&rig, 0, channel, "plain"), 0);
    rig_run(&rig);
    hear(2);
    assert_string_equal(rig_sent(client), "1=1;1=plain;2=2;");
    struct rig_client *again = listen("1e:0");
    assert_string_equal(rig_sent(again), "1=1;2=2;");
    finish();
}

/* ---- a broker that feeds only channels with interest ---- */

static void start_by_interest(uint64_t last)
{
    start(last);
    rig.closed_channels = true;
    shared_open(shard(), &by_interest);
}

static void open_channel(void)
{
    home_opened(shard(), span_str(channel));
    rig_run(&rig);
}

/* The history after a cursor, as text. */
static const char *look(const char *since)
{
    uint64_t id;

    assert_int_equal(
        shard_history(shard(), span_str(channel), since_parse(span_str(since)), 100, 4096, &id), 0);
    rig_run(&rig);
    answer_all();
    assert_int_equal(bytes_append_byte(&rig.history, 0), 0);
    return (const char *)rig.history.data;
}

static void live_is_told_when_the_channel_is_fed_and_from_where_the_broker_stands(void **state)
{
    (void)state;
    start_by_interest(3);
    struct rig_client *client = rig_client(&rig, 0);
    assert_int_equal(rig_ask(client, channel, RIG_TOLD, ""), 0);
    rig_run(&rig);
    assert_int_equal(broker.reads, 0); /* What came before it is fed would be missed. */
    /* Somebody looks at the history meanwhile: that is no place to begin at. */
    assert_string_equal(look("begin"), "1=1;2=2;3=3;");
    miss(4);
    open_channel();
    assert_int_equal(client->answers, 0);
    answer_all();
    assert_int_equal(client->state, SUBSCRIBE_LIVE);
    assert_int_equal(client->cursor.offset, 4);
    hear(5);
    assert_string_equal(rig_sent(client), "5=5;");
    finish();
}

static void a_channel_fed_again_is_asked_for_what_it_missed(void **state)
{
    (void)state;
    start_by_interest(1);
    struct rig_client *client = rig_client(&rig, 0);
    assert_int_equal(rig_ask(client, channel, RIG_TOLD, ""), 0);
    rig_run(&rig);
    open_channel();
    answer_all();
    hear(2);
    miss(3);
    miss(4);
    open_channel(); /* After a loss; nothing is published that would show the hole. */
    answer_all();
    assert_string_equal(rig_sent(client), "2=2;3=3;4=4;");
    assert_int_equal(client->restarts, 0);
    finish();
}

static void what_nobody_listens_to_is_answered_by_the_broker_alone(void **state)
{
    (void)state;
    start_by_interest(1);
    struct rig_client *client = rig_client(&rig, 0);
    assert_int_equal(rig_ask(client, channel, RIG_TOLD, ""), 0);
    rig_run(&rig);
    open_channel();
    answer_all();
    hear(2);
    rig_close(client);
    rig_run(&rig);
    miss(3);
    assert_string_equal(look("1e:1"), "2=2;3=3;");
    miss(4);
    assert_string_equal(look("1e:2"), "3=3;4=4;");
    assert_string_equal(look("1e:4"), "");
    assert_int_equal(rig.history_state, SUBSCRIBE_LIVE);
    assert_string_equal(look("1e:5"), "");
    assert_int_equal(rig.history_state, SUBSCRIBE_RESET);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stranger_is_answered_from_the_broker),
        cmocka_unit_test(what_a_page_brought_is_not_shown_again),
        cmocka_unit_test(after_a_jump_the_hole_comes_first),
        cmocka_unit_test(more_than_may_be_held_back_is_fetched),
        cmocka_unit_test(after_a_lost_link_nothing_is_missing),
        cmocka_unit_test(a_broker_that_is_away_is_asked_again),
        cmocka_unit_test(what_is_not_kept_is_a_gap),
        cmocka_unit_test(cursors_before_the_oldest_are_reset),
        cmocka_unit_test(a_cursor_ahead_of_us_waits_for_us),
        cmocka_unit_test(offsets_that_go_back_begin_an_epoch),
        cmocka_unit_test(what_has_no_number_moves_nobody),
        cmocka_unit_test(live_is_told_when_the_channel_is_fed_and_from_where_the_broker_stands),
        cmocka_unit_test(a_channel_fed_again_is_asked_for_what_it_missed),
        cmocka_unit_test(what_nobody_listens_to_is_answered_by_the_broker_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
