#include "role/ingest.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "conn/publish.h"
#include "role/broker.h"
#include "role/gateway.h"
#include "role/gateway_options.h"

/* An order on its way to shard 0, with what it borrowed, and back again. */
struct order_call {
    struct mail_call call;
    struct publish_order order;
    uint64_t size; /* Of all this, while it counts as being on its way. */
    int err;       /* Shard 0 did not take it; otherwise the broker answers. */
    uint8_t bytes[];
};

struct interest_call {
    struct mail_call call;
    bool wanted;
    uint16_t name_len;
    uint8_t name[];
};

/* Back from shard 0, which has room for as much again. */
static void hear_back(struct shard *shard, struct mail_call *call)
{
    struct order_call *letter = (struct order_call *)call;
    struct gateway_shard *gs = gateway_of_shard(shard);

    gs->orders_in_flight -= letter->size;
    if (letter->err && letter->order.reply_id) {
        const struct publish_result result = {
            .reply_id = letter->order.reply_id, .err = letter->err};
        conn_published(gs->server, &result);
    } else if (letter->err) {
        gs->server->stats.publish_dropped += 1;
    }
    mem_free(letter);
}

static void hear_order(struct shard *shard, struct mail_call *call)
{
    struct order_call *letter = (struct order_call *)call;
    struct gateway_shard *gs = gateway_of_shard(shard);
    uint16_t from = letter->call.mail.from;

    letter->err =
        gs->gateway->broker ? broker_publish(gs->gateway->broker, from, &letter->order) : -ENOTCONN;
    gateway_call(gs, from, hear_back, &letter->call);
}

static struct span copy(uint8_t **at, struct span from)
{
    struct span to = span_of(*at, from.len);

    if (from.len) {
        memcpy(*at, from.data, from.len);
    }
    *at += from.len;
    return to;
}

static int mail_order(struct gateway_shard *gs, const struct publish_order *order)
{
    struct order_call *letter;
    size_t size = sizeof(*letter) + order->name.len + order->payload.len + order->from.len +
                  order->once_text.len;

    if (gs->orders_in_flight > gs->snapshot->settings->overload_bytes) {
        gs->server->shard->stats.refused += 1;
        return -EBUSY;
    }
    letter = mem_try_alloc(size);
    if (!letter) {
        return -ENOMEM;
    }
    uint8_t *at = letter->bytes;
    letter->order = *order;
    letter->size = size;
    gs->orders_in_flight += size;
    letter->order.name = copy(&at, order->name);
    letter->order.payload = copy(&at, order->payload);
    letter->order.from = copy(&at, order->from);
    letter->order.once_text = copy(&at, order->once_text);
    gateway_call(gs, 0, hear_order, &letter->call);
    return 0;
}

int ingest_publish(void *ctx, const struct publish_order *order)
{
    struct gateway_shard *gs = ctx;
    const struct snapshot *now = gs->snapshot;

    if (now->config->broker == CONFIG_BROKER_EMBEDDED) {
        LOG(LOG_DEBUG, "broadcast", LOG_N("channel", order->name.data, order->name.len),
            LOG_U("bytes", order->payload.len));
        struct publish_order keyed = *order;
        keyed.key = gateway_conflation_key(now->config, now->settings, order->name, order->payload);
        return shard_publish(gs->server->shard, &keyed);
    }
    if (order->flags & PUBLICATION_ACK_STORED) {
        return -ENOTSUP; /* Redis says when it has an event, and not when anybody has stored it. */
    }
    if (!gs->broker_up) {
        return -ENOTCONN;
    }
    if (gs->index == 0) {
        return broker_publish(gs->gateway->broker, 0, order);
    }
    return mail_order(gs, order);
}

static void hear_interest(struct shard *shard, struct mail_call *call)
{
    struct interest_call *letter = (struct interest_call *)call;
    struct gateway_shard *gs = gateway_of_shard(shard);

    if (gs->gateway->broker) {
        broker_interest(gs->gateway->broker, letter->call.mail.from,
            span_of(letter->name, letter->name_len), letter->wanted);
    }
    mem_free(letter);
}

/* Without a broker nobody is made to wait: /ready says what is wrong, and the channel is asked for
 * all the same. */
bool ingest_interest(void *ctx, struct span name, bool wanted)
{
    struct gateway_shard *gs = ctx;
    struct interest_call *letter = mem_alloc(sizeof(*letter) + name.len);

    *letter = (struct interest_call){.wanted = wanted, .name_len = (uint16_t)name.len};
    memcpy(letter->name, name.data, name.len);
    gateway_call(gs, 0, hear_interest, &letter->call);
    return !gs->broker_up;
}

/* ---- shared history ---- */

struct read_call {
    struct mail_call call;
    struct store_read *letter;
};

struct renew_call {
    struct mail_call call;
    struct cursor last;
    uint16_t name_len;
    uint8_t name[];
};

/* The broker goes before the shards do: then nobody waits for the letter. */
static void hear_read(struct shard *shard, struct mail_call *call)
{
    struct read_call *read = (struct read_call *)call;
    struct gateway_shard *gs = gateway_of_shard(shard);

    if (gs->gateway->broker) {
        broker_read(gs->gateway->broker, read->call.mail.from, read->letter);
    } else {
        read->letter->letter.err = -ENOTCONN;
        gateway_post(gs, read->call.mail.from, &read->letter->letter.mail);
    }
    mem_free(read);
}

static int port_read(void *ctx, struct store_read *letter)
{
    struct read_call *read = mem_try_zalloc(sizeof(*read));

    if (!read) {
        return -EBUSY;
    }
    read->letter = letter;
    gateway_call(ctx, 0, hear_read, &read->call);
    return 0;
}

static void hear_renew(struct shard *shard, struct mail_call *call)
{
    struct renew_call *renew = (struct renew_call *)call;
    struct gateway_shard *gs = gateway_of_shard(shard);

    if (gs->gateway->broker) {
        broker_renew(gs->gateway->broker, span_of(renew->name, renew->name_len), renew->last);
    }
    mem_free(renew);
}

static void port_renew(void *ctx, struct span name, struct cursor last)
{
    struct renew_call *renew = mem_alloc(sizeof(*renew) + name.len);

    *renew = (struct renew_call){.last = last, .name_len = (uint16_t)name.len};
    memcpy(renew->name, name.data, name.len);
    gateway_call(ctx, 0, hear_renew, &renew->call);
}

struct shared_ports ingest_shared_ports(struct gateway_shard *gs)
{
    bool by_interest = gs->snapshot->config->redis.mode != CONFIG_REDIS_PATTERN;

    return (struct shared_ports){gs, port_read, port_renew, by_interest};
}
