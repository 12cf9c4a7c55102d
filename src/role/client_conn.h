/* Client connection: a name becomes an address, a socket, perhaps TLS, then bytes both ways.
 *
 * A hub is one loop's worth of client connections; a connection lives inside its owner's struct
 * and belongs to one hub. What is sent is buffered without a bound: look at client_conn_queued()
 * before producing more. Runs on the loop's thread.
 */
#ifndef ROLE_CLIENT_CONN_H
#define ROLE_CLIENT_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "rt/stream.h"
#include "rt/timer.h"

struct loop;
struct resolve;
struct client_conn;

enum { CLIENT_HUB_CONNS_MAX = 1024, CLIENT_WHY_MAX = 200, CLIENT_CONNECT_MS_MAX = 10000 };

/* Loop kinds that a hub takes for itself. */
enum { CLIENT_KIND_CONN = 1, CLIENT_KIND_RESOLVE = 2, CLIENT_KIND_OWNER = 3 };

struct client_hub {
    struct loop *loop;
    struct tls *tls; /* Made when the first connection wants it. */
    bool insecure;   /* Do not verify certificates. */
    uint32_t generation;
    struct client_conn *conns[CLIENT_HUB_CONNS_MAX];
};

/* Shares the loop. */
void client_hub_init(struct client_hub *hub, struct loop *loop, bool insecure);
void client_hub_fini(struct client_hub *hub);

/* What a connection tells its owner. From `closed` on the connection is idle and may be opened
 * again; inside `bytes` it may be closed by the owner, who then returns anything. */
struct client_conn_events {
    void (*opened)(void *ctx);
    /* Bytes that have come and were not consumed yet; returns how many are consumed now. */
    size_t (*bytes)(void *ctx, const uint8_t *data, size_t len);
    /* The connection failed or the peer ended it; why is a sentence without a full stop. Not called
     * after client_conn_close(). */
    void (*closed)(void *ctx, const char *why);
};

struct client_conn {
    struct client_hub *hub;
    const struct client_conn_events *events;
    void *ctx;
    struct resolve *resolve;
    struct stream stream; /* fd -1: idle. */
    enum { CLIENT_IDLE, CLIENT_RESOLVING, CLIENT_CONNECTING, CLIENT_TLS, CLIENT_UP } state;
    uint32_t slot;
    uint64_t id;
    bool tls;
    bool watching_out;
    bool starting;      /* Inside client_conn_open(). */
    int start_error;    /* What went wrong there. */
    struct timer timer; /* Until connected. */
    char host[256];
    struct bytes out;
    size_t out_at; /* Bytes of out already with the kernel. */
    struct bytes in;
};

/* A connection that is idle. Shares hub, events and ctx. */
void client_conn_init(struct client_conn *conn, struct client_hub *hub,
    const struct client_conn_events *events, void *ctx);

/* Begins to connect; `opened` or `closed` follows, never from inside this call. Returns 0 or
 * negative errno. host: the name TLS verifies. */
MUST_USE int client_conn_open(
    struct client_conn *conn, const char *address, bool tls, const char *host);

/* Closes at once, without a call of `closed`; fine when idle. */
void client_conn_close(struct client_conn *conn);

/* close, and frees the buffers. */
void client_conn_fini(struct client_conn *conn);

/* Queues bytes and sends what the kernel takes. A failure shows up as `closed` later. */
void client_conn_send(struct client_conn *conn, const void *data, size_t len);

/* Bytes that the kernel has not taken. */
static inline size_t client_conn_queued(const struct client_conn *conn)
{
    return conn->out.len - conn->out_at;
}

#endif
