/* Orders of one request: its payload is copied for each channel, so a large one for many channels goes out
 * in portions. What other requests hold up is asked for again for a while, since otherwise some of the
 * channels would have the event and some not. */
#include "conn/publish_own.h"

#include <errno.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "conn/publish.h"
#include "conn/server.h"
#include "rt/loop.h"

enum {
    PORTIONS = 4, /* Of a portion each request may have under way, this many fill the bound. */
    BUSY_MAX_MS = 2000,
    PAUSE_MIN_MS = 10,
};

void publish_init(struct conn_server *server)
{
    slab_init(&server->publishes, sizeof(struct publish_request *));
}

void publish_fini(struct conn_server *server)
{
    const struct publish_result shut = {.err = -ESHUTDOWN};

    while (server->publishing) {
        struct publish_request *request = server->publishing;
        if (request->done) {
            request->done(request->done_ctx, &shut);
        }
        publish_request_free(request);
    }
    slab_fini(&server->publishes);
}

struct publish_request *publish_request_new(uint64_t peer)
{
    struct publish_request *request = mem_try_zalloc(sizeof(*request));

    if (request) {
        request->peer = peer;
        request->items = &request->one;
        request->cap = 1;
    }
    return request;
}

void publish_request_free(struct publish_request *request)
{
    if (request->link) {
        *request->link = request->next;
        if (request->next) {
            request->next->link = request->link;
        }
    }
    if (request->kept) {
        request->server->publish_kept_bytes -= request->copies.len;
    }
    timer_stop(&request->pause);
    bytes_fini(&request->names);
    bytes_fini(&request->id);
    bytes_fini(&request->copies);
    if (request->items != &request->one) {
        mem_free(request->items);
    }
    mem_free(request);
}

/* ---- what waits ---- */

static uint64_t bound(const struct conn_server *server)
{
    return server->shard->settings->overload_bytes;
}

/* What an order makes somebody allocate, bytes. */
static uint64_t cost(const struct publish_request *request, const struct publish_item *item)
{
    return sizeof(struct publication) + item->len + request->payload.len;
}

static uint64_t cost_of_all(const struct publish_request *request)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < request->count; i++) {
        sum += cost(request, &request->items[i]);
    }
    return sum;
}

/* One copy for all channels that wait. Of all requests together it has the bound of what is under way. */
static int keep(struct publish_request *request)
{
    struct conn_server *server = request->server;
    struct bytes *copies = &request->copies;
    size_t payload_len = request->payload.len, key_len = request->key.len;

    if (server->publish_kept_bytes > bound(server)) {
        return -EBUSY;
    }
    int err = bytes_append(copies, request->payload.data, payload_len);
    err = err ? err : bytes_append(copies, request->key.data, key_len);
    if (err) {
        return -ENOMEM;
    }
    request->payload = span_of(copies->data, payload_len);
    request->key = span_of(copies->data + payload_len, key_len);
    request->kept = true;
    server->publish_kept_bytes += copies->len;
    return 0;
}

static void due(struct publish_request *request)
{
    struct conn_server *server = request->server;

    if (!request->due) {
        request->due = true;
        request->due_next = server->publishes_due;
        server->publishes_due = request;
        loop_wake(server->loop); /* This turn's conn_server_turn() may be over. */
    }
}

static void paused(struct timer *timer, void *ctx)
{
    (void)timer;
    due(ctx);
}

/* What went out whole is answered at once: its payload is not here any more. */
static bool asks_again(const struct publish_request *request)
{
    return request->kept && loop_now_ms(request->server->loop) - request->begun_ms < BUSY_MAX_MS;
}

static void pause_for_busy(struct publish_request *request)
{
    if (!timer_armed(&request->pause)) {
        request->pause_ms = request->pause_ms ? request->pause_ms * 2 : PAUSE_MIN_MS;
        timer_start(request->server->loop, &request->pause, request->pause_ms, paused, request);
    }
}

static void hear(struct publish_request *request, uint32_t i, const struct publish_result *result)
{
    struct publish_item *item = &request->items[i];

    request->under_way -= cost(request, item);
    item->result = *result;
    if (result->err == -EBUSY && asks_again(request)) {
        item->waiting = true;
        request->waiting += 1;
        pause_for_busy(request);
        return;
    }
    if (!result->err) {
        request->pause_ms = 0;
    }
    request->remaining -= 1;
}

static void finish(struct publish_request *request)
{
    struct conn_server *server = request->server;

    if (request->remaining == 0) {
        slab_free(&server->publishes, request->slot);
        publish_answer(server, request);
        publish_request_free(request);
    }
}

/* ---- orders ---- */

/* Channel and key together: the same key may be used on another channel. */
static void hash_once(
    const struct conn_server *server, struct span key, struct span channel, uint64_t out[2])
{
    struct hash_key first = server->shard->settings->hash_key;
    struct hash_key second = {~first.k0, first.k1};

    if (key.len) {
        uint64_t channel_hash = hash_bytes(&first, channel.data, channel.len);
        out[0] = hash_bytes(&first, key.data, key.len) ^ channel_hash;
        out[1] = hash_bytes(&second, key.data, key.len) + channel_hash;
    }
}

static void send_one(struct publish_request *request, uint32_t i)
{
    struct conn_server *server = request->server;
    struct publish_item *item = &request->items[i];
    struct publish_order order = {
        .name = span_of(request->names.data + item->start, item->len),
        .payload = request->payload,
        .flags =
            request->flags | (i == 0 ? PUBLICATION_INDEX : 0), /* One event, whoever hears it. */
        .reply_id = (uint64_t)(request->slot + 1) << 8 | i,
        .once_text = request->key,
    };

    hash_once(server, request->key, order.name, order.once);
    item->waiting = false;
    request->waiting -= 1;
    request->under_way += cost(request, item);
    int err = server->ports.publish(server->ports.ctx, &order);
    if (err) {
        const struct publish_result result = {.err = err};
        hear(request, i, &result);
    }
}

/* Whatever is larger than a portion goes out by itself. */
static bool has_room(const struct publish_request *request, const struct publish_item *item)
{
    return request->under_way == 0 ||
           request->under_way + cost(request, item) <= bound(request->server) / PORTIONS;
}

static void send_portion(struct publish_request *request)
{
    request->remaining += 1;
    for (uint32_t i = 0; i < request->count && request->waiting; i++) {
        struct publish_item *item = &request->items[i];
        if (item->waiting && !has_room(request, item)) {
            break;
        }
        if (item->waiting) {
            send_one(request, i);
        }
    }
    request->remaining -= 1;
    finish(request);
}

static void give_up(struct publish_request *request, int err)
{
    for (uint32_t i = 0; i < request->count; i++) {
        request->items[i].result.err = err;
    }
    publish_answer(request->server, request);
    publish_request_free(request);
}

void publish_send(struct conn_server *server, struct publish_request *request, struct span payload,
    struct span key)
{
    request->server = server;
    request->payload = payload;
    request->key = key;
    request->begun_ms = loop_now_ms(server->loop);
    bool portions = request->count > 1 && cost_of_all(request) > bound(server) / PORTIONS;
    int err = portions ? keep(request) : 0;
    request->slot = err ? SLAB_NONE : slab_alloc(&server->publishes);
    if (request->slot == SLAB_NONE) {
        give_up(request, err ? err : -ENOMEM);
        return;
    }
    *(struct publish_request **)slab_at(&server->publishes, request->slot) = request;
    request->next = server->publishing;
    request->link = &server->publishing;
    if (request->next) {
        request->next->link = &request->next;
    }
    server->publishing = request;
    request->flags |= PUBLICATION_MAY_REFUSE;
    request->flags |= utf8_valid(payload.data, payload.len) ? PUBLICATION_UTF8 : 0;
    request->remaining = request->waiting = request->count;
    for (uint32_t i = 0; i < request->count; i++) {
        request->items[i].waiting = true;
    }
    send_portion(request);
}

void conn_published(struct conn_server *server, const struct publish_result *result)
{
    uint32_t slot = (uint32_t)(result->reply_id >> 8) - 1;
    struct publish_request *request = *(struct publish_request **)slab_at(&server->publishes, slot);

    hear(request, result->reply_id & 0xff, result);
    if (request->waiting && !timer_armed(&request->pause)) {
        due(request);
    }
    finish(request);
}

void publish_turn(struct conn_server *server)
{
    struct publish_request *request = server->publishes_due;

    server->publishes_due = NULL;
    while (request) { /* None goes before its turn: something of it waits. */
        struct publish_request *next = request->due_next;
        request->due = false;
        send_portion(request);
        request = next;
    }
}
