#include "link/redis_conn.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "rt/loop.h"
#include "rt/resolve.h"
#include "rt/sock.h"

enum { ID_BITS = 54 };

static void try_address(struct redis_conn *conn);

void redis_conn_init(struct redis_conn *conn, struct loop *loop, uint8_t socket_kind,
    uint8_t resolve_kind, uint8_t slot, const struct redis_target *target,
    const struct redis_conn_events *events, struct redis_inbox *inbox)
{
    *conn = (struct redis_conn){
        .loop = loop,
        .target = target,
        .events = events,
        .socket_kind = socket_kind,
        .resolve_kind = resolve_kind,
        .id = slot,
        .stream = {.fd = -1},
        .inbox = inbox,
    };
}

void redis_conn_fini(struct redis_conn *conn)
{
    redis_conn_close(conn);
    bytes_fini(&conn->out);
}

/* Everything that belongs to one socket. */
static void close_stream(struct redis_conn *conn)
{
    if (conn->stream.fd >= 0) {
        loop_unwatch(conn->loop, conn->stream.fd);
        stream_close(&conn->stream);
    }
    /* Late events miss it. */
    conn->id = (conn->id + (1u << REDIS_CONN_SLOT_BITS)) & ((1ull << ID_BITS) - 1);
    conn->watched = 0;
    conn->more = false;
    conn->out.len = 0;
    conn->out_sent = 0;
    redis_inbox_cut(conn->inbox);
}

void redis_conn_close(struct redis_conn *conn)
{
    resolve_cancel(conn->resolve);
    conn->resolve = NULL;
    timer_stop(&conn->timeout);
    close_stream(conn);
    conn->state = REDIS_CONN_CLOSED;
}

void redis_conn_fail(struct redis_conn *conn, const char *sentence)
{
    char copy[REDIS_SENTENCE_MAX]; /* The sentence may be of the stream that is closed now. */

    snprintf(copy, sizeof(copy), "%s", sentence);
    redis_conn_close(conn);
    conn->events->on_failed(conn->events->ctx, conn, copy);
}

/* One address did not work: the next one, or give up with the most telling reason. Whoever answered
 * and was refused by us says more than an address where nobody listens. */
static void address_failed(struct redis_conn *conn, int err)
{
    const char *why = conn->stream.fd >= 0 ? stream_error(&conn->stream) : "";

    if (conn->address_index == 0 || why[0]) {
        snprintf(conn->last_error, sizeof(conn->last_error), "cannot connect to %s: %s",
            conn->addresses[conn->address_index], why[0] ? why : strerror(-err));
    }
    close_stream(conn);
    conn->address_index += 1;
    if (conn->address_index == conn->address_count) {
        redis_conn_fail(conn, conn->last_error);
    } else {
        try_address(conn);
    }
}

static void greet(struct redis_conn *conn)
{
    conn->state = REDIS_CONN_GREETING;
    if (redis_greeting_write(&conn->greeting, &conn->target->credentials, &conn->out) != 0) {
        redis_conn_fail(conn, "no memory for the greeting");
        return;
    }
    redis_conn_flush(conn);
}

void redis_conn_secure(struct redis_conn *conn)
{
    int r = stream_handshake(&conn->stream);

    conn->state = REDIS_CONN_SECURING;
    if (r == 0) {
        greet(conn);
    } else if (r == -EAGAIN) {
        redis_conn_watch(conn);
    } else {
        address_failed(conn, r);
    }
}

void redis_conn_connected(struct redis_conn *conn)
{
    int r = sock_connect_result(conn->stream.fd);

    if (r == 0) {
        redis_conn_secure(conn);
    } else if (r != -EAGAIN) {
        address_failed(conn, r);
    }
}

static void try_address(struct redis_conn *conn)
{
    int fd = -1;

    conn->state = REDIS_CONN_CONNECTING;
    int r = sock_connect(conn->addresses[conn->address_index], NULL, &fd);
    if (r == 0) {
        r = stream_open(&conn->stream, fd, conn->target->tls, conn->target->server_name);
    }
    if (r == 0) {
        conn->watched = LOOP_WATCH_IN | LOOP_WATCH_OUT;
        r = loop_watch(conn->loop, fd, conn->socket_kind, conn->id, conn->watched);
    }
    if (r != 0) {
        address_failed(conn, r);
    }
}

static void resolved(void *ctx, const char *const *addresses, size_t count, const char *why)
{
    struct redis_conn *conn = ctx;

    conn->resolve = NULL;
    conn->address_index = 0;
    conn->address_count = count < REDIS_ADDRESSES_MAX ? count : (size_t)REDIS_ADDRESSES_MAX;
    if (count == 0) {
        redis_conn_fail(conn, why);
        return;
    }
    for (size_t i = 0; i < conn->address_count; i++) {
        snprintf(conn->addresses[i], sizeof(conn->addresses[i]), "%s", addresses[i]);
    }
    try_address(conn);
}

/* What we were waiting for, since that is where to look. */
static void timed_out(struct timer *timer, void *ctx)
{
    static const char *const waited_for[] = {
        [REDIS_CONN_RESOLVING] = "no answer to the name look-up",
        [REDIS_CONN_CONNECTING] = "no answer to the connection",
        [REDIS_CONN_SECURING] = "no answer to the TLS handshake (does that port speak TLS?)",
        [REDIS_CONN_GREETING] =
            "connected, but no answer to the greeting (a hung server, or a TLS port)",
    };
    struct redis_conn *conn = ctx;
    char why[REDIS_SENTENCE_MAX];

    (void)timer;
    snprintf(why, sizeof(why), "%s: %s within %u ms", conn->target->address,
        waited_for[conn->state], conn->target->timeout_ms);
    redis_conn_fail(conn, why);
}

void redis_conn_open(struct redis_conn *conn)
{
    CHECK(conn->state == REDIS_CONN_CLOSED);
    conn->state = REDIS_CONN_RESOLVING;
    timer_start(conn->loop, &conn->timeout, conn->target->timeout_ms, timed_out, conn);

    struct resolve *resolve = NULL;
    int r = resolve_start(
        conn->loop, conn->resolve_kind, conn->target->address, resolved, conn, &resolve);
    if (r != 0) {
        char why[REDIS_SENTENCE_MAX];
        snprintf(why, sizeof(why), "%s: %s", conn->target->address, strerror(-r));
        redis_conn_fail(conn, why);
    } else if (resolve) {
        conn->resolve = resolve;
    }
}
