#include "role/client_conn.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "rt/loop.h"
#include "rt/resolve.h"
#include "rt/sock.h"

enum { READ_BYTES = 64 * 1024, SLOT_BITS = 16 };
_Static_assert(CLIENT_HUB_CONNS_MAX <= 1 << SLOT_BITS, "a slot fits its bits");

static void conn_event(void *ctx, uint64_t id, uint32_t events);

void client_hub_init(struct client_hub *hub, struct loop *loop, bool insecure)
{
    *hub = (struct client_hub){.loop = loop, .insecure = insecure};
    loop_handle(loop, CLIENT_KIND_CONN, conn_event, hub);
}

void client_hub_fini(struct client_hub *hub)
{
    tls_destroy(hub->tls);
    hub->tls = NULL;
}

void client_conn_init(struct client_conn *conn, struct client_hub *hub,
    const struct client_conn_events *events, void *ctx)
{
    *conn = (struct client_conn){.hub = hub, .events = events, .ctx = ctx, .stream.fd = -1};
}

void client_conn_close(struct client_conn *conn)
{
    if (conn->state == CLIENT_IDLE) {
        return;
    }
    timer_stop(&conn->timer);
    resolve_cancel(conn->resolve);
    conn->resolve = NULL;
    if (conn->stream.fd >= 0) {
        loop_unwatch(conn->hub->loop, conn->stream.fd);
        stream_close(&conn->stream);
    }
    conn->stream = (struct stream){.fd = -1};
    conn->hub->conns[conn->slot] = NULL;
    conn->id = 0;
    conn->state = CLIENT_IDLE;
    conn->out.len = conn->out_at = conn->in.len = 0;
}

void client_conn_fini(struct client_conn *conn)
{
    client_conn_close(conn);
    bytes_fini(&conn->out);
    bytes_fini(&conn->in);
}

static void fail(struct client_conn *conn, int err, const char *doing)
{
    char why[CLIENT_WHY_MAX];

    if (conn->starting) {
        conn->start_error = err ? err : -EIO;
        return;
    }
    if (err) {
        snprintf(why, sizeof why, "%s: %s", doing, strerror(-err));
    } else {
        snprintf(why, sizeof why, "%s", doing);
    }
    client_conn_close(conn);
    conn->events->closed(conn->ctx, why);
}

static void timed_out(struct timer *timer, void *ctx)
{
    fail(ctx, 0, "connecting took too long");
}

/* Watches for writing only while something waits to be written. */
static int watch(struct client_conn *conn, bool out)
{
    if (conn->watching_out == out) {
        return 0;
    }
    conn->watching_out = out;
    return loop_rewatch(conn->hub->loop, conn->stream.fd, CLIENT_KIND_CONN, conn->id,
        LOOP_WATCH_IN | (out ? LOOP_WATCH_OUT : 0));
}

/* A failure is left to the loop: a broken socket reports itself there. */
static void flush(struct client_conn *conn)
{
    bool more = false;

    while (conn->out_at < conn->out.len) {
        long sent =
            stream_send(&conn->stream, conn->out.data + conn->out_at, conn->out.len - conn->out_at);
        if (sent <= 0) {
            more = sent == -EAGAIN;
            break;
        }
        conn->out_at += (size_t)sent;
    }
    if (conn->out_at == conn->out.len) {
        conn->out.len = conn->out_at = 0;
    }
    if (watch(conn, more)) {
        sock_shutdown_write(conn->stream.fd);
    }
}

static void come_up(struct client_conn *conn)
{
    timer_stop(&conn->timer);
    conn->state = CLIENT_UP;
    uint64_t id = conn->id;
    conn->events->opened(conn->ctx);
    if (conn->id == id) {
        flush(conn);
    }
}

static void shake_hands(struct client_conn *conn)
{
    int err = stream_handshake(&conn->stream);

    if (err == -EAGAIN) {
        err = watch(conn, conn->stream.want_write);
        if (err) {
            fail(conn, err, "watching the socket");
        }
        return;
    }
    if (err) {
        char why[CLIENT_WHY_MAX];
        snprintf(why, sizeof why, "TLS: %s", stream_error(&conn->stream));
        fail(conn, 0, why);
        return;
    }
    come_up(conn);
}

static void connected(struct client_conn *conn)
{
    int err = sock_connect_result(conn->stream.fd);
    struct client_hub *hub = conn->hub;

    if (!err && conn->tls && !hub->tls) {
        char why[CLIENT_WHY_MAX];
        const struct tls_options options = {.insecure = hub->insecure};
        if (tls_client_create(&options, &hub->tls, why, sizeof why)) {
            fail(conn, 0, why);
            return;
        }
    }
    if (!err && conn->tls) {
        int fd = conn->stream.fd;
        err = stream_open(&conn->stream, fd, hub->tls, conn->host);
    }
    if (err) {
        fail(conn, err, "connecting");
        return;
    }
    err = watch(conn, false);
    if (err) {
        fail(conn, err, "watching the socket");
        return;
    }
    conn->state = CLIENT_TLS;
    shake_hands(conn);
}

/* Hands new bytes to the owner until he takes no more. */
static void deliver(struct client_conn *conn)
{
    uint64_t id = conn->id;
    size_t used = conn->events->bytes(conn->ctx, conn->in.data, conn->in.len);

    if (conn->id == id) {
        bytes_consume(&conn->in, used);
    }
}

static void receive(struct client_conn *conn)
{
    uint64_t id = conn->id;

    for (;;) {
        if (bytes_reserve(&conn->in, READ_BYTES)) {
            fail(conn, -ENOMEM, "reading");
            return;
        }
        long got = stream_recv(&conn->stream, conn->in.data + conn->in.len, READ_BYTES);
        if (got == -EAGAIN) {
            return;
        }
        if (got <= 0) {
            fail(conn, (int)got, got ? "reading" : "the server closed the connection");
            return;
        }
        conn->in.len += (size_t)got;
        deliver(conn);
        /* A plain socket tells again; TLS may hold decrypted bytes that no event announces. */
        if (conn->id != id || !conn->tls) {
            return;
        }
    }
}

static void conn_event(void *ctx, uint64_t id, uint32_t events)
{
    struct client_hub *hub = ctx;
    struct client_conn *conn = hub->conns[id & ((1u << SLOT_BITS) - 1)];

    if (!conn || conn->id != id) {
        return;
    }
    if (conn->state == CLIENT_CONNECTING) {
        connected(conn);
    } else if (conn->state == CLIENT_TLS) {
        shake_hands(conn);
    } else {
        if (events & LOOP_OUT) {
            flush(conn);
        }
        if (events & (LOOP_IN | LOOP_HUP)) {
            receive(conn);
        }
    }
}

static void resolved(void *ctx, const char *const *addresses, size_t count, const char *why)
{
    struct client_conn *conn = ctx;
    int err = 0, fd = -1;

    conn->resolve = NULL;
    if (count == 0) {
        fail(conn, 0, why);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        err = sock_connect(addresses[i], NULL, &fd);
        if (!err) {
            break;
        }
    }
    if (!err) {
        conn->stream.fd = fd;
        conn->state = CLIENT_CONNECTING;
        conn->watching_out = true;
        err = loop_watch(
            conn->hub->loop, fd, CLIENT_KIND_CONN, conn->id, LOOP_WATCH_IN | LOOP_WATCH_OUT);
    }
    if (err) {
        fail(conn, err, "connecting");
    }
}

int client_conn_open(struct client_conn *conn, const char *address, bool tls, const char *host)
{
    struct client_hub *hub = conn->hub;
    uint32_t slot = 0;

    CHECK(conn->state == CLIENT_IDLE);
    while (slot < CLIENT_HUB_CONNS_MAX && hub->conns[slot]) {
        slot++;
    }
    if (slot == CLIENT_HUB_CONNS_MAX) {
        return -EMFILE;
    }
    conn->slot = slot;
    conn->id = (uint64_t)(++hub->generation) << SLOT_BITS | slot;
    hub->conns[slot] = conn;
    conn->state = CLIENT_RESOLVING;
    conn->tls = tls;
    conn->start_error = 0;
    snprintf(conn->host, sizeof conn->host, "%s", host);
    timer_start(hub->loop, &conn->timer, CLIENT_CONNECT_MS_MAX, timed_out, conn);

    struct resolve *resolve = NULL;
    conn->starting = true;
    int err = resolve_start(hub->loop, CLIENT_KIND_RESOLVE, address, resolved, conn, &resolve);
    conn->starting = false;
    err = err ? err : conn->start_error;
    if (err) {
        client_conn_close(conn);
        return err;
    }
    /* A numeric address was answered inside the call, and its handle is gone. */
    conn->resolve = conn->state == CLIENT_RESOLVING ? resolve : NULL;
    return 0;
}

void client_conn_send(struct client_conn *conn, const void *data, size_t len)
{
    if (conn->state == CLIENT_UP && client_conn_queued(conn) == 0) {
        long sent = stream_send(&conn->stream, data, len);
        if (sent == (long)len) {
            return;
        }
        if (sent > 0) {
            data = (const uint8_t *)data + sent;
            len -= (size_t)sent;
        }
    }
    if (conn->state == CLIENT_IDLE) {
        return;
    }
    CHECK(bytes_append(&conn->out, data, len) == 0);
    if (conn->state == CLIENT_UP) {
        flush(conn);
    }
}
