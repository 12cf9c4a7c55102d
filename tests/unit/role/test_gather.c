/* Three shards on one thread, turned by hand: what a turn of the gateway does, without its waiting. */
#include "role/gather.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "role/gateway.h"
#include "rt/loop.h"
#include "rt/mailbox.h"
#include "rt/sock.h"
#include "tests/support/unit.h"

enum { SHARDS = 3, STEPS = 4 };

struct count_part {
    struct gather_part part;
    uint32_t steps;
    uint32_t found;
    char *extra;
};

struct house {
    struct gateway gateway;
    struct snapshot snapshot;
    struct core_settings settings;
    int listener, client;
    uint32_t fills[SHARDS];
    uint32_t answers, finis;
};

static struct house *house; /* For handlers, which get no context of ours. */

/* Shard 1 takes several turns. */
static bool count_fill(struct gateway_shard *gs, struct gather_part *base)
{
    struct count_part *part = (struct count_part *)base;

    house->fills[gs->index] += 1;
    part->steps += 1;
    if (gs->index == 1 && part->steps < STEPS) {
        return false;
    }
    part->found = 100u + gs->index;
    part->extra = mem_strdup("freed by part_fini");
    return true;
}

static void count_answer(struct gateway_shard *gs, struct http_exchange *x, struct gather *gather)
{
    char text[64];
    int len = 0;

    house->answers += 1;
    for (uint16_t i = 0; i < gs->gateway->shard_count; i++) {
        const struct count_part *part = (const struct count_part *)gather_part(gather, i);
        len += snprintf(text + len, sizeof(text) - (size_t)len, "%u,", part ? part->found : 0);
    }
    http_reply(x, 200, "text/plain", text, (size_t)len);
}

static void count_fini(struct gather_part *base)
{
    house->finis += 1;
    mem_free(((struct count_part *)base)->extra);
}

static const struct gather_question question = {
    .part_size = sizeof(struct count_part),
    .weight = 16,
    .fill = count_fill,
    .answer = count_answer,
    .part_fini = count_fini,
};

static void ask(struct http_exchange *x, uint64_t shards)
{
    struct gather *gather = gather_create(x, &question, shards);
    if (gather) {
        gather_send(gather);
    }
}

static void ask_all(struct http_exchange *x)
{
    ask(x, GATHER_ALL);
}

static void ask_one(struct http_exchange *x)
{
    ask(x, 1u << 2);
}

static void ask_nobody(struct http_exchange *x)
{
    ask(x, 0);
}

static const struct route routes[] = {
    {"/all", ROUTE_GET, ask_all},
    {"/one", ROUTE_GET, ask_one},
    {"/nobody", ROUTE_GET, ask_nobody},
    {0},
};

static void port_post(void *ctx, uint16_t shard, struct mail *mail)
{
    gateway_post(ctx, shard, mail);
}

static void open_shard(struct house *h, uint16_t index)
{
    struct gateway_shard *gs = &h->gateway.shards[index];
    const struct conn_ports ports = {.ctx = gs, .post = port_post};

    gs->gateway = &h->gateway;
    gs->index = index;
    gs->snapshot = &h->snapshot;
    assert_int_equal(mailbox_create(&gs->mailbox), 0);
    assert_int_equal(loop_create(&gs->loop), 0);
    const struct conn_setup setup = {
        .loop = gs->loop,
        .shard_index = index,
        .settings = &h->settings,
        .options = &h->snapshot.options,
        .ports = &ports,
        .routes = routes,
        .gauge = &h->gateway.connections,
    };
    assert_int_equal(conn_server_create(&setup, &gs->server), 0);
}

static int set_up(void **state)
{
    struct house *h = mem_zalloc_aligned(sizeof(*h));
    const struct sock_listen_options listen = {.backlog = 8};
    char address[32];

    house = h;
    h->settings.shard_count = SHARDS;
    h->settings.ns_count = 1;
    h->gateway.shard_count = SHARDS;
    h->snapshot.settings = &h->settings;
    h->snapshot.options = (struct conn_options){
        .connections_max = 10,
        .subscriptions_max = 10,
        .head_timeout_ms = 10000,
        .body_timeout_ms = 10000,
        .keepalive_timeout_ms = 10000,
        .http_limits = http_limits_default(),
        .loop_kind_client = KIND_CLIENT,
        .loop_kind_listener = KIND_LISTENER,
    };
    for (uint16_t i = 0; i < SHARDS; i++) {
        open_shard(h, i);
    }
    assert_int_equal(sock_listen("127.0.0.1:0", &listen, &h->listener, NULL), 0);
    assert_int_equal(conn_server_listen(h->gateway.shards[0].server, h->listener, false), 0);
    snprintf(address, sizeof(address), "127.0.0.1:%u", sock_local_port(h->listener));
    assert_int_equal(sock_connect(address, NULL, &h->client), 0);
    *state = h;
    return 0;
}

static void turn(struct house *h, uint16_t index)
{
    struct gateway_shard *gs = &h->gateway.shards[index];
    struct mail *mail;

    loop_poll(gs->loop, 0);
    shard_begin_turn(gs->server->shard, loop_now_ns(gs->loop));
    conn_server_turn(gs->server);
    while ((mail = mailbox_take(gs->mailbox))) {
        shard_receive(gs->server->shard, mail);
    }
    shard_drain(gs->server->shard);
    shard_sweep(gs->server->shard);
    for (; gs->out_bits; gs->out_bits &= gs->out_bits - 1) {
        int to = __builtin_ctzll(gs->out_bits);
        mailbox_post(h->gateway.shards[to].mailbox, &gs->out[to]);
    }
}

static void turns(struct house *h, int count)
{
    for (int i = 0; i < count; i++) {
        for (uint16_t shard = 0; shard < SHARDS; shard++) {
            turn(h, shard);
        }
    }
}

static int tear_down(void **state)
{
    struct house *h = *state;

    turns(h, 2 * STEPS);
    sock_close(h->client);
    turns(h, 2);
    for (uint16_t i = 0; i < SHARDS; i++) {
        conn_server_destroy(h->gateway.shards[i].server);
        loop_destroy(h->gateway.shards[i].loop);
        mailbox_destroy(h->gateway.shards[i].mailbox);
    }
    mem_free(h);
    return 0;
}

static void say(struct house *h, const char *text)
{
    long sent = -1;

    for (int i = 0; i < 1000 && sent < 0; i++) {
        turns(h, 1); /* The connection is accepted meanwhile. */
        sent = sock_send(h->client, text, strlen(text));
    }
    assert_int_equal(sent, strlen(text));
}

/* Turns until the client has heard this. */
static void hear(struct house *h, const char *wanted)
{
    char text[4096] = "";
    size_t len = 0;

    for (int i = 0; i < 1000 && !strstr(text, wanted); i++) {
        turns(h, 1);
        long got = sock_recv(h->client, text + len, sizeof(text) - 1 - len);
        len += got > 0 ? (size_t)got : 0;
        text[len] = 0;
    }
    if (!strstr(text, wanted)) {
        fail_msg("heard %s", text);
    }
}

static void all_parts_make_one_answer(void **state)
{
    struct house *h = *state;

    say(h, "GET /all HTTP/1.1\r\nHost: x\r\n\r\n");
    hear(h, "\r\n\r\n100,101,102,");
    assert_int_equal(h->answers, 1);
    assert_int_equal(h->finis, SHARDS);
    assert_int_equal(h->fills[0], 1);
    assert_int_equal(h->fills[1], STEPS);
    assert_int_equal(h->gateway.shards[0].gather_weight, 0);
}

/* Steps that ran in one turn would hold up that shard's clients. */
static void a_long_question_takes_one_step_a_turn(void **state)
{
    struct house *h = *state;

    say(h, "GET /all HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int i = 0; i < 1000 && h->answers == 0; i++) {
        uint32_t before = h->fills[1];
        turns(h, 1);
        assert_true(h->fills[1] <= before + 1);
    }
    assert_int_equal(h->answers, 1);
}

static void only_the_shards_of_the_set_are_asked(void **state)
{
    struct house *h = *state;

    say(h, "GET /one HTTP/1.1\r\nHost: x\r\n\r\n");
    hear(h, "\r\n\r\n0,0,102,");
    assert_int_equal(h->fills[0] + h->fills[1], 0);
    assert_int_equal(h->finis, 1);
}

static void nobody_asked_is_answered_too(void **state)
{
    struct house *h = *state;

    say(h, "GET /nobody HTTP/1.1\r\nHost: x\r\n\r\n");
    hear(h, "\r\n\r\n0,0,0,");
}

static void pipelined_questions_are_answered_in_order(void **state)
{
    struct house *h = *state;

    say(h, "GET /all HTTP/1.1\r\nHost: x\r\n\r\nGET /one HTTP/1.1\r\nHost: x\r\n\r\n");
    hear(h, "0,0,102,");
    assert_int_equal(h->answers, 2);
}

/* The asker hangs up while shard 1 still counts: nothing is answered, nothing is left. */
static void an_asker_that_left_is_not_answered(void **state)
{
    struct house *h = *state;

    say(h, "GET /all HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int i = 0; i < 1000 && h->fills[1] == 0; i++) {
        turns(h, 1);
    }
    assert_int_equal(h->fills[1], 1);
    struct client *client;
    uint32_t slot = 0;
    client = conn_client_next(h->gateway.shards[0].server, &slot);
    assert_non_null(client);
    client_close(h->gateway.shards[0].server, client);
    turns(h, 2 * STEPS);
    assert_int_equal(h->fills[1], STEPS);
    assert_int_equal(h->answers, 0);
    assert_int_equal(h->finis, SHARDS);
    assert_int_equal(h->gateway.shards[0].gather_weight, 0);
}

static void too_much_at_once_is_503(void **state)
{
    struct house *h = *state;
    struct gateway_shard *gs = &h->gateway.shards[0];

    gs->gather_weight = GATHER_WEIGHT_MAX - question.weight + 1;
    say(h, "GET /all HTTP/1.1\r\nHost: x\r\n\r\n");
    hear(h, "HTTP/1.1 503 ");
    assert_int_equal(h->fills[0], 0);
    gs->gather_weight = GATHER_WEIGHT_MAX - question.weight;
    say(h, "GET /all HTTP/1.1\r\nHost: x\r\n\r\n");
    hear(h, "100,101,102,");
}

/* There is none for the 503 either: the connection ends. */
static void without_memory_nothing_is_asked_and_nothing_leaks(void **state)
{
    struct house *h = *state;

    say(h, "GET /all HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int i = 0; i < 1000 && h->fills[1] == 0; i++) {
        turns(h, 1);
    }
    uint32_t slot = 0;
    struct client *client = conn_client_next(h->gateway.shards[0].server, &slot);
    struct http_exchange *x = http_session_exchange(client->session);
    assert_non_null(x);
    mem_fail_after(2); /* The gather and one part. */
    assert_null(gather_create(x, &question, GATHER_ALL));
    mem_fail_after(-1);
    turns(h, 2 * STEPS);
    assert_int_equal(h->answers, 0);
    assert_int_equal(h->gateway.shards[0].gather_weight, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_parts_make_one_answer),
        TEST(a_long_question_takes_one_step_a_turn),
        TEST(only_the_shards_of_the_set_are_asked),
        TEST(nobody_asked_is_answered_too),
        TEST(pipelined_questions_are_answered_in_order),
        TEST(an_asker_that_left_is_not_answered),
        TEST(too_much_at_once_is_503),
        TEST(without_memory_nothing_is_asked_and_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
