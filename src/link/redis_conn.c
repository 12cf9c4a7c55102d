#include "link/redis_conn.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "rt/loop.h"
#include "rt/resolve.h"
#include "rt/sock.h"

enum {
    READ_TURN_MAX = 16 * 1024 * 1024, /* Then others have their turn. */
    OUT_KEPT = 256 * 1024,            /* An empty send buffer keeps so much. */
    GENERATION_BITS = 54,
};

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
    conn->id = (conn->id + 2) & ((1ull << GENERATION_BITS) - 1); /* Late events miss it. */
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

/* One address did not work: the next one, or give up with the last reason. */
static void address_failed(struct redis_conn *conn, int err)
{
    const char *why = conn->stream.fd >= 0 ? stream_error(&conn->stream) : "";

    snprintf(conn->last_error, sizeof(conn->last_error), "cannot connect to %s: %s",
        conn->addresses[conn->address_index], why[0] ? why : strerror(-err));
    close_stream(conn);
    conn->address_index += 1;
    if (conn->address_index == conn->address_count) {
        redis_conn_fail(conn, conn->last_error);
    } else {
        try_address(conn);
    }
}

static void watch(struct redis_conn *conn)
{
    bool sending = conn->state == REDIS_CONN_CONNECTING || conn->stream.want_write ||
                   (conn->state >= REDIS_CONN_GREETING && conn->out_sent < conn->out.len);
    uint32_t how = LOOP_WATCH_IN | (sending ? (uint32_t)LOOP_WATCH_OUT : 0);

    if (how == conn->watched) {
        return;
    }
    int r = loop_rewatch(conn->loop, conn->stream.fd, conn->socket_kind, conn->id, how);
    if (r != 0) {
        redis_conn_fail(conn, strerror(-r));
        return;
    }
    conn->watched = how;
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

static void secure(struct redis_conn *conn)
{
    int r = stream_handshake(&conn->stream);

    conn->state = REDIS_CONN_SECURING;
    if (r == 0) {
        greet(conn);
    } else if (r == -EAGAIN) {
        watch(conn);
    } else {
        address_failed(conn, r);
    }
}

static void connected(struct redis_conn *conn)
{
    int r = sock_connect_result(conn->stream.fd);

    if (r == 0) {
        secure(conn);
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
        [REDIS_CONN_GREETING] = "connected, but no answer to the greeting (a hung server, or a "
                                "port that speaks TLS)",
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

static void greeted(struct redis_conn *conn, struct span reply)
{
    char why[REDIS_SENTENCE_MAX];

    int r = redis_greeting_read(&conn->greeting, reply, why, sizeof(why));
    if (r < 0) {
        redis_conn_fail(conn, why);
    } else if (r == 1) {
        timer_stop(&conn->timeout);
        conn->state = REDIS_CONN_READY;
        conn->events->on_ready(conn->events->ctx, conn);
    }
}

/* Hands every new reply on. False: closed meanwhile. */
static bool take_replies(struct redis_conn *conn)
{
    uint64_t id = conn->id;
    struct span reply;
    int r;

    while ((r = redis_inbox_new(conn->inbox, &reply)) == 1) {
        if (conn->state == REDIS_CONN_GREETING) {
            greeted(conn, reply);
        } else if (!conn->events->on_reply(conn->events->ctx, conn, reply)) {
            return false;
        }
        if (conn->id != id) {
            return false;
        }
    }
    if (r < 0) {
        redis_conn_fail(conn, r == -E2BIG ? "the peer sends lists beyond every limit"
                                          : "the peer does not speak the Redis protocol");
        return false;
    }
    return true;
}

static void read_failed(struct redis_conn *conn, long err)
{
    char why[REDIS_SENTENCE_MAX];
    const char *tls_error = stream_error(&conn->stream);
    const char *text = tls_error[0] ? tls_error
                       : err == 0   ? "Redis closed the connection"
                                    : strerror((int)-err);
    bool greeting = conn->state == REDIS_CONN_GREETING;

    snprintf(why, sizeof(why), "%s%s%s", text, greeting ? " during the greeting" : "",
        greeting && !conn->target->tls ? " (does that port speak TLS?)" : "");
    redis_conn_fail(conn, why);
}

void redis_conn_read(struct redis_conn *conn)
{
    size_t total = 0;

    conn->more = false;
    while (total < READ_TURN_MAX) {
        uint8_t *room = NULL;
        size_t len = 0;
        if (redis_inbox_room(conn->inbox, &room, &len) != 0) {
            redis_conn_fail(conn, "no memory for what Redis sends");
            return;
        }
        long n = stream_recv(&conn->stream, room, len);
        if (n == -EAGAIN) {
            watch(conn);
            return;
        }
        if (n <= 0) {
            read_failed(conn, n);
            return;
        }
        redis_inbox_filled(conn->inbox, (size_t)n);
        total += (size_t)n;
        if (!take_replies(conn)) {
            return;
        }
        if ((size_t)n < len) {
            watch(conn); /* The socket is empty. */
            return;
        }
    }
    conn->more = true;
}

void redis_conn_flush(struct redis_conn *conn)
{
    if (conn->state < REDIS_CONN_GREETING) {
        return;
    }
    while (conn->out_sent < conn->out.len) {
        long n = stream_send(
            &conn->stream, conn->out.data + conn->out_sent, conn->out.len - conn->out_sent);
        if (n == -EAGAIN) {
            break;
        }
        if (n < 0) {
            read_failed(conn, n);
            return;
        }
        conn->out_sent += (size_t)n;
    }
    if (conn->out_sent == conn->out.len) {
        conn->out.len = conn->out_sent = 0;
        if (conn->out.cap > OUT_KEPT) {
            bytes_fini(&conn->out);
        }
    } else if (conn->out_sent > conn->out.len / 2) {
        bytes_consume(&conn->out, conn->out_sent);
        conn->out_sent = 0;
    }
    watch(conn);
}

void redis_conn_event(struct redis_conn *conn, uint32_t events)
{
    uint64_t id = conn->id;

    switch (conn->state) {
    case REDIS_CONN_CLOSED:
    case REDIS_CONN_RESOLVING:
        return;
    case REDIS_CONN_CONNECTING:
        connected(conn);
        return;
    case REDIS_CONN_SECURING:
        secure(conn);
        return;
    case REDIS_CONN_GREETING:
    case REDIS_CONN_READY:
        redis_conn_read(conn);
        if (conn->id == id && (events & LOOP_OUT || conn->stream.want_write)) {
            redis_conn_flush(conn);
        }
        return;
    }
}
