/* Client: one connection, 128 bytes while it is idle.
 *
 * The core's subscriber comes first; what is here is the second half of the second line. Whatever
 * only some connections need (a request being read, an unfinished frame, a name, commands under
 * way) hangs off a pointer that is NULL most of the time.
 */
#ifndef CONN_CLIENT_H
#define CONN_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/subscriber.h"

struct http_session;
struct poll;
struct positions;
struct ws_extra;

enum client_protocol {
    CLIENT_HTTP,
    CLIENT_WS,
    CLIENT_SSE,
    CLIENT_POLL, /* HTTP, while a poll waits for its answer. */
    CLIENT_PROTOCOLS
};

enum client_state {
    CLIENT_OPEN,
    CLIENT_REFUSED, /* Over the connection limit: told 503 as soon as it says something. */
    CLIENT_CLOSING, /* We sent a close frame and wait for the peer's. */
    CLIENT_FINISH,  /* Close for writing as soon as all is sent. */
    CLIENT_LINGER,  /* Closed for writing; what still comes is read and forgotten, 1 s at most. */
};

enum client_kind {
    CLIENT_PLAIN,
    CLIENT_USER,
    CLIENT_ROOM,
    CLIENT_CHANNELS,
    CLIENT_V1,
    CLIENT_KINDS
};

enum {                  /* client.flags */
    CLIENT_DEFLATE = 1, /* permessage-deflate was agreed. */
    CLIENT_AGAIN = 2,   /* On the list of those with more to read. */
    CLIENT_COUNTED = 4, /* In the process's gauge of connections. */
    CLIENT_SPOKE = 16,  /* Sent at least one byte. */
    CLIENT_QUIET = 32,  /* Looked at each second: it may have been silent for too long soon. */
    CLIENT_EARLY = 8,   /* partial holds whole frames: they came before the 101 was out, or … */
    CLIENT_ASKS =
        64, /* … a history is asked for, and what comes behind waits for its answer, or … */
    CLIENT_HELD = 128, /* … for room for more answers. See conn/pace.h. */
};

/* Bytes of a frame that is not whole yet. */
struct partial {
    uint32_t len, cap;
    uint8_t data[];
};

struct client {
    struct subscriber sub;
    uint8_t protocol; /* enum client_protocol */
    uint8_t state;    /* enum client_state */
    uint8_t kind;     /* enum client_kind */
    uint8_t flags;
    uint32_t opened_tick;
    struct http_session *session;    /* While a request is being read or answered. */
    union {                          /* By protocol. */
        struct ws_extra *extra;      /* HTTP and WebSocket. */
        struct positions *positions; /* SSE; NULL: every event names its own. */
        struct poll *poll;
    };
    struct partial *partial;
};

_Static_assert(sizeof(struct client) == 128, "two cache lines a connection");

/* How it listens to events, as the listing of connections calls it; NULL: not at all. */
static inline const char *client_transport(const struct client *client)
{
    static const char *const names[CLIENT_PROTOCOLS] = {
        [CLIENT_WS] = "ws", [CLIENT_SSE] = "sse", [CLIENT_POLL] = "poll"};
    return names[client->protocol];
}

static inline struct client *client_of(struct subscriber *sub)
{
    return (struct client *)sub;
}

#endif
