/* A connection's bytes: when to watch, read and send. redis_conn.c makes and ends it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "link/redis_conn.h"
#include "rt/loop.h"

enum {
    READ_TURN_MAX = 16 * 1024 * 1024, /* Then others have their turn. */
    OUT_KEPT = 256 * 1024,            /* An empty send buffer keeps so much. */
};

void redis_conn_watch(struct redis_conn *conn)
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

/* Messages must not be dropped for having been read faster than this turn could hand them over. */
static bool read_enough(const struct redis_conn *conn, size_t total)
{
    const struct redis_inbox *inbox = conn->inbox;
    bool half_full = inbox->whole - inbox->head > inbox->bytes_max / 2;

    return total >= READ_TURN_MAX || (half_full && !conn->backlogged);
}

void redis_conn_read(struct redis_conn *conn)
{
    size_t total = 0;

    conn->more = false;
    while (!read_enough(conn, total)) {
        uint8_t *room = NULL;
        size_t len = 0;
        if (redis_inbox_room(conn->inbox, &room, &len) != 0) {
            redis_conn_fail(conn, "no memory for what Redis sends");
            return;
        }
        long n = stream_recv(&conn->stream, room, len);
        if (n == -EAGAIN) {
            redis_conn_watch(conn);
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
            redis_conn_watch(conn); /* The socket is empty. */
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
    redis_conn_watch(conn);
}

void redis_conn_event(struct redis_conn *conn, uint32_t events)
{
    uint64_t id = conn->id;

    switch (conn->state) {
    case REDIS_CONN_CLOSED:
    case REDIS_CONN_RESOLVING:
        return;
    case REDIS_CONN_CONNECTING:
        redis_conn_connected(conn);
        return;
    case REDIS_CONN_SECURING:
        redis_conn_secure(conn);
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
