/* Peers and callers for the tests of the HTTP client: a server that says what its path tells it
 * to, in threads of its own, and requests that remember what came of them.
 */
#ifndef TESTS_UNIT_LINK_HTTP_FIXTURE_H
#define TESTS_UNIT_LINK_HTTP_FIXTURE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "flow/ports.h"
#include "link/http_client.h"
#include "rt/loop.h"

enum { HTTP_KIND = 3 };

/* One request as it came, and the socket to answer on. */
struct peer_request {
    int fd;
    struct http_peer *peer;
    char method[32], target[2048];
    char head[16384]; /* All of it, with a NUL. */
    struct bytes body;
    uint32_t turn; /* Of this connection, from 0. */
};

/* Answers; true keeps the connection. Runs in the connection's thread. */
typedef bool peer_fn(struct peer_request *request, void *ctx);

struct http_peer {
    int listen_fd;
    uint16_t port;
    peer_fn *fn;
    void *ctx;
    pthread_t thread;
    pthread_t threads[600];
    int fds[600];
    uint32_t thread_count;
    _Atomic uint32_t connections, requests, open, open_max, stopping;
};

/* Listens on 127.0.0.1 (or ::1). */
void peer_start(struct http_peer *peer, bool v6, peer_fn *fn, void *ctx);
void peer_stop(struct http_peer *peer);
void peer_say(int fd, const char *text);
bool peer_send(int fd, const void *data, size_t len); /* False: the other side is gone. */
/* Waits until the other side is gone, or the peer is being stopped. */
void peer_hold(struct peer_request *request);

/* What is asked, and a copy of what came. */
struct asked {
    struct flow_http http;
    struct flow_http_client *port;
    struct flow_http_header headers[4];
    char url[600];
    uint32_t done_count;
    int status;
    struct bytes body, head; /* head: "name: value\n" of each. */
    char why[256];
    int err;
    void (*then)(struct asked *asked); /* Called within done(). */
    struct asked *other;
};

struct rig {
    struct loop *loop;
    struct http_client *client;
    struct flow_http_client port;
};

void rig_start(struct rig *rig, const struct http_client_options *options); /* NULL: 20, 20, all. */
void rig_stop(struct rig *rig);

/* A GET with 5 s and 1 MB; change asked->http before begin(). */
void ask_init(struct rig *rig, struct asked *asked, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void ask_begin(struct asked *asked);
void ask_fini(struct asked *asked);
/* Runs the loop until all have their answer, or fails after 20 s. */
void rig_until(struct rig *rig, struct asked *asked, uint32_t count);
/* Runs the loop until the number is at least so much, or fails after 20 s. */
void rig_until_count(struct rig *rig, const _Atomic uint32_t *number, uint32_t least);
/* Init, begin and until of one GET. */
void ask(struct rig *rig, struct asked *asked, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The answer's body is this, its status 200. */
void said(const struct asked *asked, const char *body);
/* It failed so, and the sentence is this but for the URL in front. */
void failed(const struct asked *asked, int err, const char *finding);

#endif
