#include "conn/server.h"

#include "base/mem.h"
#include "conn/commands.h"
#include "conn/poll.h"
#include "conn/positions.h"
#include "conn/publish.h"
#include "conn/report.h"
#include "conn/sse.h"
#include "conn/ws.h"
#include "core/channel.h"
#include "core/name.h"
#include "rt/loop.h"
#include "rt/sock.h"

enum { DEFLATE_WINDOW_BITS = 12, DEFLATE_LEVEL = 1 };

/* ---- the core's ports ---- */

static int port_encode(void *ctx, uint8_t framing, const struct publication *pub, struct bytes *out)
{
    return framing_encode(&((struct conn_server *)ctx)->framing, framing, pub, out);
}

static int port_encode_event(
    void *ctx, uint8_t framing, const struct publication *pub, struct bytes *out)
{
    (void)ctx;
    (void)framing;
    return framing_encode_event(pub, out);
}

static int port_encode_events(void *ctx, uint8_t framing, struct span events, struct bytes *out)
{
    return framing_encode_events(&((struct conn_server *)ctx)->framing, framing, events, out);
}

static int port_encode_gap(void *ctx, const struct gap *gap, struct bytes *out)
{
    return framing_encode_gap(&((struct conn_server *)ctx)->framing, gap, out);
}

static bool port_wants_gaps(void *ctx, uint8_t framing)
{
    (void)ctx;
    return framing_wants_gaps(framing);
}

static void port_subscribed(void *ctx, struct subscriber *sub, const struct mail_subscribe *answer)
{
    struct conn_server *server = ctx;

    if (!sub && runs_answered(server, answer)) {
        return;
    }
    commands_subscribed(server, answer, sub);
    if (!sub) {
        return;
    }
    struct client *client = client_of(sub);
    if (client->protocol == CLIENT_SSE) {
        sse_subscribed(server, client, answer);
    } else if (client->protocol == CLIENT_POLL) {
        poll_subscribed(server, client, answer);
    } else {
        ws_subscribed(server, client, answer);
    }
}

static void port_restarted(
    void *ctx, struct subscriber *sub, uint8_t framing, struct span channel, struct cursor cursor)
{
    struct client *client = client_of(sub);

    (void)framing;
    if (client->protocol == CLIENT_SSE) {
        sse_restarted(ctx, client, channel, cursor);
    } else if (client->protocol == CLIENT_POLL) {
        poll_restarted(ctx, client, channel, cursor);
    } else {
        ws_restarted(ctx, client, channel, cursor);
    }
}

/* Only streams of several channels and polls are watched. */
static void port_queued(
    void *ctx, struct subscriber *sub, const struct channel *channel, uint64_t offset)
{
    const struct client *client = client_of(sub);

    (void)ctx;
    positions_reach(client->protocol == CLIENT_POLL ? poll_positions(client) : client->positions,
        channel->hash, offset);
}

static void port_flushing(void *ctx, struct subscriber *sub)
{
    if (client_of(sub)->protocol == CLIENT_SSE) {
        sse_flush(ctx, client_of(sub), false);
    }
}

static void port_published(void *ctx, const struct publish_result *result)
{
    conn_published(ctx, result);
}

static void port_slow(void *ctx, struct subscriber *sub, bool dropping)
{
    struct conn_server *server = ctx;

    server->stats.slow_began += dropping;
    server->stats.slow_ended += !dropping;
    if (client_of(sub)->protocol == CLIENT_POLL) {
        return; /* It loses nothing: see poll.h. */
    }
    if (dropping || client_of(sub)->state == CLIENT_OPEN) {
        report_slow(server, client_of(sub), dropping); /* One that was cut has not recovered. */
    }
}

/* The policy ends it, and it is told so. False: that is not possible. */
static bool last_words(struct conn_server *server, struct client *client)
{
    if (client->protocol == CLIENT_POLL) {
        shard_reprieve(server->shard, &client->sub);
        poll_overrun(server, client);
        return true;
    }
    if (client->protocol == CLIENT_HTTP) {
        return false;
    }
    server->stats.cut_policy += 1;
    report_cut_slow(server, client);
    shard_reprieve(server->shard, &client->sub);
    if (client->protocol == CLIENT_SSE) {
        sse_overrun(server, client);
    } else if (client->protocol == CLIENT_WS) {
        ws_close(
            server, client, WS_CODE_POLICY, "too slow: what waited for this connection is lost");
    }
    return client->state != CLIENT_OPEN && !(client->sub.flags & SUB_DOOMED);
}

static void port_doomed(void *ctx, struct subscriber *sub)
{
    struct conn_server *server = ctx;
    struct client *client = client_of(sub);

    if ((sub->flags & SUB_DOOMED_SLOW) && client->state == CLIENT_OPEN &&
        last_words(server, client)) {
        return;
    }
    client_close(server, client);
}

/* An outbox ran empty: whoever waited for that goes on. */
static void port_flushed(void *ctx, struct subscriber *sub)
{
    struct client *client = client_of(sub);

    if (client->state == CLIENT_FINISH) {
        client_linger(ctx, client);
    } else if (client->protocol == CLIENT_SSE) {
        sse_flush(ctx, client, true);
    } else if (client->protocol == CLIENT_POLL) {
        poll_flushed(ctx, client);
    } else if (client->session && http_session_waits(client->session)) {
        client_read_again(ctx, client);
    }
}

/* Each channel has one home, so that what homes count adds up to distinct users and rooms. */
static void count_channel(struct conn_stats *stats, struct span name, bool wanted)
{
    struct span ns = name_namespace(name);
    uint32_t one = wanted ? 1 : UINT32_MAX;

    stats->channels += one;
    if (span_equal(ns, span_str("user"))) {
        stats->user_channels += one;
    } else if (span_equal(ns, span_str("room"))) {
        stats->room_channels += one;
    }
}

static bool port_interest(void *ctx, struct span name, bool wanted)
{
    struct conn_server *server = ctx;

    count_channel(&server->stats, name, wanted);
    return !server->ports.interest || server->ports.interest(server->ports.ctx, name, wanted);
}

static void woken(struct timer *timer, void *ctx)
{
    struct conn_server *server = ctx;

    (void)timer;
    server->shard->bundles.wake_ns = 0;
}

static void port_wake(void *ctx, uint64_t ms)
{
    struct conn_server *server = ctx;
    timer_start(server->loop, &server->wake_timer, ms, woken, server);
}

static void port_post(void *ctx, uint16_t shard, struct mail *mail)
{
    struct conn_server *server = ctx;
    server->ports.post(server->ports.ctx, shard, mail);
}

static void port_post_now(void *ctx, uint16_t shard)
{
    struct conn_server *server = ctx;
    if (server->ports.post_now) {
        server->ports.post_now(server->ports.ctx, shard);
    }
}

/* ---- http's ports ---- */

static bool http_port_write(void *ctx, uint64_t peer, const void *data, size_t len)
{
    struct client *client = conn_client_find(ctx, peer);
    return client && client_write(ctx, client, data, len);
}

static void http_port_finish(void *ctx, uint64_t peer)
{
    struct client *client = conn_client_find(ctx, peer);
    if (client) {
        client_finish(ctx, client);
    }
}

static void http_port_resume(void *ctx, uint64_t peer)
{
    struct client *client = conn_client_find(ctx, peer);
    if (client) {
        client_read_again(ctx, client);
    }
}

static bool http_port_waits(void *ctx, uint64_t peer)
{
    const struct client *client = conn_client_find(ctx, peer);
    return client && client->sub.outbox;
}

/* ---- making and unmaking ---- */

static struct http_options http_options_of(
    const struct conn_options *options, const struct route *routes, void *app)
{
    return (struct http_options){
        .limits = options->http_limits,
        .head_timeout_ms = options->head_timeout_ms,
        .body_timeout_ms = options->body_timeout_ms,
        .routes = routes,
        .app = app,
    };
}

int conn_server_create(const struct conn_setup *setup, struct conn_server **ret_server)
{
    struct conn_server *server = mem_zalloc_aligned(sizeof(*server));
    const struct core_ports ports = {
        .ctx = server,
        .encode = port_encode,
        .encode_event = port_encode_event,
        .encode_events = port_encode_events,
        .encode_gap = port_encode_gap,
        .wants_gaps = port_wants_gaps,
        .deliver = conn_deliver,
        .write = conn_write,
        .subscribed = port_subscribed,
        .restarted = port_restarted,
        .wake = port_wake,
        .published = port_published,
        .slow = port_slow,
        .doomed = port_doomed,
        .queued = port_queued,
        .flushing = port_flushing,
        .flushed = port_flushed,
        .interest = port_interest,
        .post = port_post,
        .post_now = port_post_now,
    };
    const struct http_ports http_ports = {
        server, http_port_write, http_port_finish, http_port_resume, http_port_waits};
    struct http_options http = http_options_of(setup->options, setup->routes, server);

    slab_init(&server->clients, sizeof(struct client));
    server->loop = setup->loop;
    server->options = *setup->options;
    server->ports = *setup->ports;
    server->gauge = setup->gauge;
    server->routes = setup->routes;
    server->spare.fd = -1;
    rng_init(&server->rng, setup->seed);
    server->input = mem_alloc(CONN_INPUT_BYTES);
    server->cork = mem_alloc(CONN_CORK_BYTES);
    server->framing.deflate_min_bytes = setup->options->compression_min_bytes;
    publish_init(server);
    int err =
        shard_create(setup->shard_index, setup->settings, &ports, &server->clients, &server->shard);
    err = err ? err : http_server_create(setup->loop, &http, &http_ports, &server->http);
    if (!err && setup->options->compression) {
        err = ws_deflater_create(DEFLATE_LEVEL, DEFLATE_WINDOW_BITS, &server->framing.deflater);
        err = err ? err : ws_inflater_create(&server->inflater);
    }
    if (err) {
        conn_server_destroy(server);
        return err;
    }
    fds_spare_hold(&server->spare);
    loop_handle(setup->loop, setup->options->loop_kind_client, conn_client_event, server);
    loop_handle(setup->loop, setup->options->loop_kind_listener, conn_listener_event, server);
    *ret_server = server;
    return 0;
}

void conn_server_reload(struct conn_server *server, const struct conn_options *options)
{
    bool compression = server->options.compression;
    struct http_options http = http_options_of(options, server->routes, server);

    http_server_reload(server->http, &http);
    server->options = *options;
    server->options.compression = compression;
    server->framing.deflate_min_bytes = options->compression_min_bytes;
}

void conn_server_destroy(struct conn_server *server)
{
    struct client *client;
    uint32_t slot = 0;

    if (!server) {
        return;
    }
    while ((client = conn_client_next(server, &slot))) {
        client_close(server, client);
    }
    for (uint32_t i = 0; i < server->listener_count; i++) {
        sock_close(server->listeners[i]);
    }
    timer_stop(&server->wake_timer);
    if (server->shard) {
        shard_drain(server->shard);
        while (shard_sweep(server->shard)) {
        }
        shard_drain(server->shard);
    }
    commands_fini(server);
    runs_fini(server);
    publish_fini(server);
    shard_destroy(server->shard);
    http_server_destroy(server->http);
    framing_context_fini(&server->framing);
    ws_deflater_destroy(server->framing.deflater);
    ws_inflater_destroy(server->inflater);
    fds_spare_release(&server->spare);
    slab_fini(&server->clients);
    bytes_fini(&server->text);
    mem_free(server->generations);
    mem_free(server->again);
    mem_free(server->closing.ring);
    mem_free(server->greeting.ring);
    mem_free(server->quiet.ring);
    mem_free(server->input);
    mem_free(server->cork);
    mem_free(server);
}
