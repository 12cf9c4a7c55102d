/* Conn: one connection to Redis, from the name look-up to the end of the greeting, and its bytes
 * both ways afterwards.
 *
 *   CLOSED -> RESOLVING -> CONNECTING -> SECURING (TLS) -> GREETING -> READY
 *
 * The greeting is AUTH, SELECT, CLIENT SETNAME and INFO, sent at once; HELLO is not used, since
 * the codec speaks RESP2 only. Whatever fails, fails once: the connection closes itself and tells
 * one sentence. Inside link only; runs on the loop's thread.
 */
#ifndef LINK_REDIS_CONN_H
#define LINK_REDIS_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "link/redis_greeting.h"
#include "link/redis_inbox.h"
#include "link/redis_target.h"
#include "rt/stream.h"
#include "rt/timer.h"

struct loop;
struct resolve;
struct redis_conn;

enum { REDIS_SENTENCE_MAX = 600, REDIS_ADDRESSES_MAX = 8, REDIS_ADDRESS_MAX = 320 };

/* A connection's id: its slot among those of one socket kind in the lowest bits. */
enum { REDIS_CONN_SLOT_BITS = 8 };

static inline uint8_t redis_conn_slot(uint64_t id)
{
    return (uint8_t)(id & ((1u << REDIS_CONN_SLOT_BITS) - 1));
}

struct redis_conn_events {
    void *ctx;
    void (*on_ready)(void *ctx, struct redis_conn *conn);
    /* A reply after the greeting is whole. It stays in the inbox. False: the connection was closed
     * meanwhile. */
    bool (*on_reply)(void *ctx, struct redis_conn *conn, struct span reply);
    /* It is closed. */
    void (*on_failed)(void *ctx, struct redis_conn *conn, const char *sentence);
};

enum redis_conn_state {
    REDIS_CONN_CLOSED,
    REDIS_CONN_RESOLVING,
    REDIS_CONN_CONNECTING,
    REDIS_CONN_SECURING,
    REDIS_CONN_GREETING,
    REDIS_CONN_READY,
};

struct redis_conn {
    struct loop *loop;
    const struct redis_target *target;
    const struct redis_conn_events *events;
    uint8_t socket_kind, resolve_kind;
    uint64_t id; /* What the loop tells: the slot in the lowest bits, above it a generation. */
    enum redis_conn_state state;
    struct stream stream;
    uint32_t watched; /* How the loop watches it now. */
    bool more;        /* The last read stopped before the socket was empty. */
    bool backlogged;  /* Nobody takes from the inbox now: read on up to its bound and beyond. */
    struct redis_inbox *inbox;
    struct bytes out;
    size_t out_sent;
    struct timer timeout;
    struct resolve *resolve;
    size_t address_count, address_index;
    char addresses[REDIS_ADDRESSES_MAX][REDIS_ADDRESS_MAX];
    char last_error[REDIS_SENTENCE_MAX]; /* The most telling one of the addresses tried. */
    struct redis_greeting greeting;
};

/* slot: another for each conn of a socket kind. inbox and the rest are borrowed for the life of conn. */
void redis_conn_init(struct redis_conn *conn, struct loop *loop, uint8_t socket_kind,
    uint8_t resolve_kind, uint8_t slot, const struct redis_target *target,
    const struct redis_conn_events *events, struct redis_inbox *inbox);
void redis_conn_fini(struct redis_conn *conn);

/* Begins; on_failed may come before it returns. Must be CLOSED. */
void redis_conn_open(struct redis_conn *conn);

/* Silently. Fine when CLOSED. */
void redis_conn_close(struct redis_conn *conn);

/* Closes it and tells why. */
void redis_conn_fail(struct redis_conn *conn, const char *sentence);

/* The loop's event for conn->id. */
void redis_conn_event(struct redis_conn *conn, uint32_t events);

/* Reads until the socket is empty, calling on_reply. Stops earlier (conn->more) when a lot was
 * read, or when the inbox is half full and it is only our turn to empty it. */
void redis_conn_read(struct redis_conn *conn);

/* Between redis_conn.c and redis_conn_io.c: a step of the way, after the loop told of the socket.
 */
void redis_conn_connected(struct redis_conn *conn);
void redis_conn_secure(struct redis_conn *conn);

/* Tells the loop what we wait for. */
void redis_conn_watch(struct redis_conn *conn);

/* Sends what is in conn->out, as far as the socket takes it. */
void redis_conn_flush(struct redis_conn *conn);

#endif
