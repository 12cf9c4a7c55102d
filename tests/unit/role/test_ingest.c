/* Two shards on one thread, with Redis as the broker: what shard 1's clients publish is mailed to
 * shard 0, within a bound. */
#include "role/ingest.h"

#include <errno.h>

#include "base/mem.h"
#include "role/gateway.h"
#include "rt/loop.h"
#include "tests/support/unit.h"

enum { SHARDS = 2, OVERLOAD = 64 * 1024, PAYLOAD = 1000 };

struct house {
    struct gateway gateway;
    struct snapshot snapshot;
    struct config config;
    struct core_settings settings;
};

static void port_post(void *ctx, uint16_t shard, struct mail *mail)
{
    gateway_post(ctx, shard, mail);
}

static int set_up(void **state)
{
    struct house *h = mem_zalloc_aligned(sizeof(*h));

    h->settings.shard_count = SHARDS;
    h->settings.ns_count = 1;
    h->settings.overload_bytes = OVERLOAD;
    h->config.broker = CONFIG_BROKER_REDIS;
    h->gateway.shard_count = SHARDS;
    h->snapshot.settings = &h->settings;
    h->snapshot.config = &h->config;
    h->snapshot.options.loop_kind_client = KIND_CLIENT;
    h->snapshot.options.loop_kind_listener = KIND_LISTENER;
    for (uint16_t i = 0; i < SHARDS; i++) {
        struct gateway_shard *gs = &h->gateway.shards[i];
        const struct conn_ports ports = {.ctx = gs, .publish = ingest_publish, .post = port_post};
        gs->gateway = &h->gateway;
        gs->index = i;
        gs->snapshot = &h->snapshot;
        gs->broker_up = true;
        assert_int_equal(loop_create(&gs->loop), 0);
        const struct conn_setup setup = {
            .loop = gs->loop,
            .shard_index = i,
            .settings = &h->settings,
            .options = &h->snapshot.options,
            .ports = &ports,
            .gauge = &h->gateway.connections,
        };
        assert_int_equal(conn_server_create(&setup, &gs->server), 0);
    }
    *state = h;
    return 0;
}

/* Brings what `from` wrote to `to`. */
static void bring(struct house *h, uint16_t from, uint16_t to)
{
    struct mail *mail = h->gateway.shards[from].out[to].first;

    h->gateway.shards[from].out[to] = (struct mail_chain){0};
    while (mail) {
        struct mail *next = mail->next;
        shard_receive(h->gateway.shards[to].server->shard, mail);
        mail = next;
    }
}

static int tear_down(void **state)
{
    struct house *h = *state;

    bring(h, 1, 0);
    bring(h, 0, 1);
    for (uint16_t i = 0; i < SHARDS; i++) {
        conn_server_destroy(h->gateway.shards[i].server);
        loop_destroy(h->gateway.shards[i].loop);
    }
    mem_free(h);
    return 0;
}

static int publish(struct house *h, uint16_t shard)
{
    static const uint8_t payload[PAYLOAD];
    const struct publish_order order = {
        .name = span_str("room:r"), .payload = span_of(payload, PAYLOAD), .from = span_str("me")};

    return ingest_publish(&h->gateway.shards[shard], &order);
}

static uint32_t publish_until_refused(struct house *h)
{
    uint32_t count = 0;
    int err;

    while ((err = publish(h, 1)) == 0) {
        assert_true(++count <= OVERLOAD / PAYLOAD + 1);
    }
    assert_int_equal(err, -EBUSY);
    return count;
}

static void what_is_mailed_to_the_broker_s_shard_is_bounded(void **state)
{
    struct house *h = *state;
    const struct gateway_shard *gs = &h->gateway.shards[1];

    uint32_t count = publish_until_refused(h);
    assert_true(count >= OVERLOAD / (2 * PAYLOAD));
    assert_int_equal(gs->server->shard->stats.refused, 1);
    assert_true(gs->orders_in_flight > OVERLOAD && gs->orders_in_flight < OVERLOAD + 2 * PAYLOAD);
    bring(h, 1, 0);
    assert_int_equal(publish(h, 1), -EBUSY); /* Taken in is not back yet. */
    bring(h, 0, 1);
    assert_int_equal(gs->orders_in_flight, 0);
    assert_int_equal(publish_until_refused(h), count);
}

static void what_shard_0_could_not_publish_is_counted_where_it_came_from(void **state)
{
    struct house *h = *state;

    for (int i = 0; i < 3; i++) {
        assert_int_equal(publish(h, 1), 0);
    }
    bring(h, 1, 0); /* There is no broker there, as in the last turns of a process. */
    bring(h, 0, 1);
    assert_int_equal(h->gateway.shards[1].server->stats.publish_dropped, 3);
    assert_int_equal(h->gateway.shards[0].server->stats.publish_dropped, 0);
}

static void while_redis_is_away_nothing_is_mailed(void **state)
{
    struct house *h = *state;

    h->gateway.shards[1].broker_up = false;
    assert_int_equal(publish(h, 1), -ENOTCONN);
    assert_null(h->gateway.shards[1].out[0].first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            what_is_mailed_to_the_broker_s_shard_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            what_shard_0_could_not_publish_is_counted_where_it_came_from, set_up, tear_down),
        cmocka_unit_test_setup_teardown(while_redis_is_away_nothing_is_mailed, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
