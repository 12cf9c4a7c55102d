#include "role/broker.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/table.h"
#include "base/utf8.h"
#include "conn/publish.h"
#include "core/name.h"
#include "core/once.h"
#include "role/broker_pages.h"
#include "role/gateway.h"
#include "role/gateway_options.h"

/* A publication Redis has not answered yet. Others with the same idempotency key hang on it and are
 * answered as it is: until then nobody knows whether the first one happened. */
struct waiting {
    uint64_t hash; /* First: this is a struct table_item. The key's first half. */
    uint64_t rest;
    uint64_t reply_id;
    uint32_t same; /* Slot of the next one with this key; SLAB_NONE ends the list. */
    uint16_t shard;
};

struct broker {
    struct gateway *gateway;
    struct gateway_shard *gs; /* Shard 0. */
    struct redis_link *link;
    struct slab waiting;
    struct broker_pages pages;
    struct table keys; /* struct waiting that have a key, the first of each. */
    struct once once;  /* Those that happened. */
    uint64_t lost;     /* Came from Redis and could not be taken in. */
    bool was_up;
    bool exact;
};

static const struct cursor no_cursor = {0};

/* ---- answers to publishers ---- */

struct answer_call {
    struct mail_call call;
    struct publish_result result;
};

static void hear_answer(struct shard *shard, struct mail_call *call)
{
    conn_published(gateway_of_shard(shard)->server, &((struct answer_call *)call)->result);
    mem_free(call);
}

static void answer_with(struct broker *broker, uint16_t shard, struct publish_result result)
{
    if (!result.reply_id) {
        return;
    }
    struct answer_call *letter = mem_zalloc(sizeof(*letter));
    letter->result = result;
    gateway_call(broker->gs, shard, hear_answer, &letter->call);
}

static void answer(
    struct broker *broker, uint16_t shard, uint64_t reply_id, int err, bool duplicate)
{
    answer_with(broker, shard,
        (struct publish_result){.reply_id = reply_id, .duplicate = duplicate, .err = err});
}

static bool same_key(const struct table_item *item, const void *key)
{
    return ((const struct waiting *)item)->rest == ((const uint64_t *)key)[1];
}

static bool has_key(const struct waiting *waiting)
{
    return waiting->hash | waiting->rest;
}

static void on_published(void *ctx, uint64_t id, int err, int64_t receivers, const char *why)
{
    struct broker *broker = ctx;
    uint32_t slot = (uint32_t)(id - 1);
    struct waiting *first = slab_at(&broker->waiting, slot);
    const uint64_t key[2] = {first->hash, first->rest};

    (void)receivers;
    if (has_key(first)) {
        table_remove(&broker->keys, (struct table_item *)first);
    }
    if (err) {
        LOG(LOG_DEBUG, "redis.publish_failed", LOG_S("error", why));
    } else {
        once_add(&broker->once, key, 0, broker->gs->server->shard->now_ns, no_cursor);
    }
    for (bool duplicate = false; slot != SLAB_NONE; duplicate = true) {
        struct waiting waiting = *(struct waiting *)slab_at(&broker->waiting, slot);
        slab_free(&broker->waiting, slot);
        answer(broker, waiting.shard, waiting.reply_id, err, duplicate && !err);
        slot = waiting.same;
    }
}

/* Room to remember whom to answer; SLAB_NONE without memory. */
static uint32_t wait_for_answer(
    struct broker *broker, uint16_t from, const struct publish_order *order)
{
    uint32_t slot = slab_alloc(&broker->waiting);

    if (slot != SLAB_NONE) {
        *(struct waiting *)slab_at(&broker->waiting, slot) = (struct waiting){
            .hash = order->once[0],
            .rest = order->once[1],
            .reply_id = order->reply_id,
            .same = SLAB_NONE,
            .shard = from,
        };
    }
    return slot;
}

static int publish_and_wait(struct broker *broker, uint16_t from, const struct publish_order *order)
{
    uint32_t slot = wait_for_answer(broker, from, order);

    if (slot == SLAB_NONE) {
        return -ENOMEM;
    }
    struct waiting *waiting = slab_at(&broker->waiting, slot);
    struct waiting *first = has_key(waiting) ? (struct waiting *)table_find(&broker->keys,
                                                   waiting->hash, same_key, order->once)
                                             : NULL;
    if (first) {
        waiting->same = first->same;
        first->same = slot;
        return 0;
    }
    int err = has_key(waiting) ? table_add(&broker->keys, (struct table_item *)waiting) : 0;
    if (err) {
        slab_free(&broker->waiting, slot);
        return err;
    }
    err = redis_link_publish(
        broker->link, order->name, order->from, order->payload, (uint64_t)slot + 1);
    if (err) {
        if (has_key(waiting)) {
            table_remove(&broker->keys, (struct table_item *)waiting);
        }
        slab_free(&broker->waiting, slot);
    }
    return err;
}

/* ---- shared history ---- */

static const struct ns_settings *namespace_of(const struct broker *broker, struct span channel)
{
    const struct core_settings *settings = broker->gs->snapshot->settings;

    return &settings->ns[settings_ns(settings, name_namespace(channel))];
}

static void on_appended(
    void *ctx, uint64_t id, int err, struct redis_cursor cursor, bool duplicate, const char *why)
{
    struct broker *broker = ctx;
    uint32_t slot = (uint32_t)(id - 1);
    struct waiting waiting = *(struct waiting *)slab_at(&broker->waiting, slot);

    if (err) {
        LOG(LOG_DEBUG, "redis.publish_failed", LOG_S("error", why));
    }
    slab_free(&broker->waiting, slot);
    answer_with(broker, waiting.shard,
        (struct publish_result){.reply_id = waiting.reply_id,
            .cursor = {cursor.epoch, cursor.offset},
            .has_cursor = !err,
            .duplicate = duplicate,
            .err = err});
}

/* The script knows the keys of all gateways. */
static int append(struct broker *broker, uint16_t from, const struct publish_order *order)
{
    const struct ns_settings *ns = namespace_of(broker, order->name);
    char digits[REDIS_ONCE_DIGITS + 1];
    const struct redis_append append = {.channel = order->name,
        .from = order->from,
        .payload = order->payload,
        .once =
            order->once_text.len ? redis_once_digits(order->once_text, digits) : order->once_text,
        .messages = ns->history_messages,
        .bytes = ns->history_bytes,
        .age_ms = ns->history_age_ms};
    uint32_t slot = SLAB_NONE;

    if (order->reply_id) {
        slot = wait_for_answer(broker, from, order);
        if (slot == SLAB_NONE) {
            return -ENOMEM;
        }
    }
    int err = redis_link_append(broker->link, &append, slot == SLAB_NONE ? 0 : (uint64_t)slot + 1);
    if (err && slot != SLAB_NONE) {
        slab_free(&broker->waiting, slot);
    }
    return err;
}

int broker_publish(struct broker *broker, uint16_t from, const struct publish_order *order)
{
    if (namespace_of(broker, order->name)->shared) {
        return append(broker, from, order);
    }
    if (once_find(&broker->once, order->once, broker->gs->server->shard->now_ns)) {
        answer(broker, from, order->reply_id, 0, true);
        return 0;
    }
    if (order->reply_id || order->once[0] || order->once[1]) {
        return publish_and_wait(broker, from, order);
    }
    return redis_link_publish(broker->link, order->name, order->from, order->payload, 0);
}

/* ---- what Redis says ---- */

static bool take_in(struct broker *broker, struct publish_order order)
{
    struct shard *shard = broker->gs->server->shard;
    struct span channel = order.name, payload = order.payload;

    if (shard_busy(shard, channel)) {
        return false;
    }
    LOG(LOG_DEBUG, "broadcast", LOG_N("channel", channel.data, channel.len),
        LOG_U("bytes", payload.len));
    if (shard_publish(shard, &order) != 0) {
        broker->lost += 1; /* No memory: trying the same message for ever would block the rest. */
    }
    return true;
}

static bool on_message(void *ctx, struct span channel, struct span payload)
{
    struct broker *broker = ctx;

    return take_in(broker, broker_order(broker->gs, channel, payload));
}

/* Others may publish so in any namespace; where history is ours their numbers mean nothing. */
static bool on_numbered(
    void *ctx, struct span channel, struct span payload, struct redis_cursor cursor)
{
    struct broker *broker = ctx;
    struct publish_order order = broker_order(broker->gs, channel, payload);

    if (namespace_of(broker, channel)->shared) {
        order.flags |= PUBLICATION_NUMBERED;
        order.numbered = (struct cursor){cursor.epoch, cursor.offset};
    }
    return take_in(broker, order);
}

static void on_page(void *ctx, uint64_t id, int err, const struct redis_page *page, const char *why)
{
    (void)why; /* The link has logged it. */
    broker_pages_heard(&((struct broker *)ctx)->pages, id, err, page);
}

void broker_read(struct broker *broker, uint16_t from, struct store_read *letter)
{
    broker_pages_ask(&broker->pages, broker->link, from, letter);
}

void broker_renew(struct broker *broker, struct span name, struct cursor last)
{
    redis_link_renew(broker->link, name, (struct redis_cursor){last.epoch, last.offset});
}

/* Something about one channel, or all of them, for homes to hear. */
struct channel_call {
    struct mail_call call;
    uint16_t name_len; /* 0: all channels. */
    uint8_t name[];
};

static void hear_opened(struct shard *shard, struct mail_call *call)
{
    struct channel_call *letter = (struct channel_call *)call;

    home_opened(shard, span_of(letter->name, letter->name_len));
    mem_free(letter);
}

static void hear_lost(struct shard *shard, struct mail_call *call)
{
    struct channel_call *letter = (struct channel_call *)call;

    home_new_epoch(shard, span_of(letter->name, letter->name_len));
    mem_free(letter);
}

static void tell_home(struct broker *broker, uint16_t home,
    void (*fn)(struct shard *shard, struct mail_call *call), struct span name)
{
    struct channel_call *letter = mem_alloc(sizeof(*letter) + name.len);

    *letter = (struct channel_call){.name_len = (uint16_t)name.len};
    if (name.len) {
        memcpy(letter->name, name.data, name.len);
    }
    gateway_call(broker->gs, home, fn, &letter->call);
}

static void on_live(void *ctx, struct span channel)
{
    struct broker *broker = ctx;
    struct shard *shard = broker->gs->server->shard;

    tell_home(broker, shard_home_of(shard, shard_hash(shard, channel)), hear_opened, channel);
}

void broker_interest(struct broker *broker, uint16_t home, struct span name, bool wanted)
{
    if (!wanted) {
        redis_link_unwant(broker->link, name);
    } else if (redis_link_want(broker->link, name, namespace_of(broker, name)->shared) != 0) {
        tell_home(broker, home, hear_opened, name); /* It is live already, or never will be. */
    }
}

/* Whatever was published while the link was down is lost to us: cursors from before must not be
 * answered as if nothing had happened. */
static void on_state(void *ctx, enum redis_state state, const char *sentence)
{
    struct broker *broker = ctx;
    struct gateway *gateway = broker->gateway;

    gateway_announce_broker(gateway, state == REDIS_UP, sentence);
    if (state == REDIS_REFUSED) {
        gateway_abort(gateway, 1);
        return;
    }
    for (uint16_t i = 0; i < gateway->shard_count; i++) {
        if (state == REDIS_UP && broker->was_up) {
            tell_home(broker, i, hear_lost, span_of(NULL, 0));
        }
        if (state == REDIS_DOWN && broker->exact) {
            tell_home(broker, i, hear_opened, span_of(NULL, 0));
        }
    }
    broker->was_up = broker->was_up || state == REDIS_UP;
}

/* The link has logged and counted them. The channel's history has a hole that no offset shows, so
 * it begins anew. */
static void on_dropped(void *ctx, struct span channel, uint64_t count)
{
    struct broker *broker = ctx;
    struct shard *shard = broker->gs->server->shard;

    (void)count;
    tell_home(broker, shard_home_of(shard, shard_hash(shard, channel)), hear_lost, channel);
}

/* ---- making and unmaking ---- */

static bool any_shared(const struct core_settings *settings)
{
    for (uint32_t i = 0; i < settings->ns_count; i++) {
        if (settings->ns[i].shared) {
            return true;
        }
    }
    return false;
}

struct redis_options broker_redis_options(const struct config_redis *redis)
{
    struct redis_options options = redis_options_default();

    options.host = redis->host;
    options.port = (uint16_t)redis->port;
    options.unix_path = redis->unix_path;
    options.username = redis->username;
    options.password = redis->password;
    options.db = redis->db;
    options.use_tls = redis->tls;
    options.tls = (struct tls_options){
        .ca_file = redis->tls_ca,
        .cert_file = redis->tls_cert,
        .key_file = redis->tls_key,
        .insecure = redis->tls_insecure,
    };
    options.tls_server_name = redis->tls_server_name;
    options.mode = redis->mode == CONFIG_REDIS_EXACT     ? REDIS_MODE_EXACT
                   : redis->mode == CONFIG_REDIS_SHARDED ? REDIS_MODE_SHARDED
                                                         : REDIS_MODE_PATTERN;
    options.canary_interval_ms = (uint32_t)redis->canary_interval_ms;
    options.reconnect_min_ms = (uint32_t)redis->reconnect_min_ms;
    options.reconnect_max_ms = (uint32_t)redis->reconnect_max_ms;
    options.buffer_bytes = redis->buffer_bytes;
    return options;
}

static struct redis_options options_of(const struct config_redis *redis, struct redis_mapping *rows)
{
    struct redis_options options = broker_redis_options(redis);

    for (uint32_t i = 0; i < redis->mappings.count; i++) {
        const struct config_mapping *from = &redis->mappings.items[i];
        if (from->origin) { /* The built-in ones are the link's own. */
            rows[options.mapping_count++] = (struct redis_mapping){
                .pattern = from->pattern, .channel = from->channel, .kind = REDIS_MAP_RAW};
        }
    }
    options.mappings = rows;
    return options;
}

int broker_create(struct gateway *gateway, struct broker **ret_broker, char *why, size_t why_cap)
{
    const struct config_redis *redis = &gateway->snapshot->config->redis;
    struct redis_mapping *rows = mem_zalloc(redis->mappings.count * sizeof(*rows));
    struct redis_options options = options_of(redis, rows);
    struct broker *broker = mem_zalloc(sizeof(*broker));
    const struct redis_events events = {
        .ctx = broker,
        .on_message = on_message,
        .on_state = on_state,
        .on_live = on_live,
        .on_published = on_published,
        .on_dropped = on_dropped,
        .on_numbered = on_numbered,
        .on_appended = on_appended,
        .on_page = on_page,
    };

    options.history = any_shared(gateway->snapshot->settings);

    broker->gateway = gateway;
    broker->gs = &gateway->shards[0];
    broker->exact = redis->mode != CONFIG_REDIS_PATTERN;
    slab_init(&broker->waiting, sizeof(struct waiting));
    broker_pages_init(&broker->pages, broker->gs);
    int err = redis_link_create(
        broker->gs->loop, KIND_REDIS, KIND_RESOLVE, &options, &events, &broker->link, why, why_cap);
    mem_free(rows);
    if (err) {
        broker_destroy(broker);
        return err;
    }
    redis_link_start(broker->link);
    *ret_broker = broker;
    return 0;
}

void broker_destroy(struct broker *broker)
{
    if (broker) {
        redis_link_destroy(broker->link);
        table_fini(&broker->keys);
        slab_fini(&broker->waiting);
        broker_pages_fini(&broker->pages);
        once_fini(&broker->once);
        mem_free(broker);
    }
}

bool broker_turn(struct broker *broker)
{
    return redis_link_turn(broker->link);
}

void broker_stats(const struct broker *broker, struct redis_stats *ret_stats)
{
    redis_link_stats(broker->link, ret_stats);
}

const char *broker_describe(const struct config *config)
{
    static char text[256];
    const struct config_redis *redis = &config->redis;

    if (config->broker == CONFIG_BROKER_EMBEDDED) {
        return "Redis publishers are not heard; set REDIS_HOST or --redis-host to listen to them";
    }
    if (redis->unix_path) {
        snprintf(text, sizeof(text), "unix:%s", redis->unix_path);
    } else {
        snprintf(text, sizeof(text), "%s://%s:%u/%u", redis->tls ? "rediss" : "redis", redis->host,
            redis->port, redis->db);
    }
    return text;
}
