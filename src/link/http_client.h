/* HTTP client: flow's port for outgoing requests, over libcurl on our own loop.
 *
 * Requests to one host wait for each other, and hosts take turns, so that a slow server delays
 * nobody but those who ask it. A request's time runs from begin(), its waiting included. What
 * waits costs a small struct; connections, headers and bodies are bounded below.
 *
 * Never followed, asked for or used: redirects, compressed answers, cookies, the environment's
 * proxies, HTTP/2. What curl may do by itself: send a request again when the server closed a
 * connection that it had kept and no byte of an answer had come.
 *
 * A request that cannot be made (its URL, a header) is answered within begin(); all others later,
 * from within loop_poll(), never from within somebody else's begin() or cancel().
 *
 * Runs on the loop's thread; names are resolved by short-lived threads of curl's.
 */
#ifndef LINK_HTTP_CLIENT_H
#define LINK_HTTP_CLIENT_H

#include <stdint.h>

#include "base/attr.h"
#include "flow/ports.h"

struct loop;
struct http_client;

enum {
    HTTP_CLIENT_URL_MAX = 16384,   /* Bytes. */
    HTTP_CLIENT_HEADERS_MAX = 200, /* Either way; of an answer, with interim ones and trailers. */
    HTTP_CLIENT_HEADER_BYTES_MAX = 65536,  /* The same, in bytes. */
    HTTP_CLIENT_TIMEOUT_MS_MAX = 86400000, /* More, and 0, is this: nothing waits for ever. */
};

/* Which addresses may be connected to (rt/egress.h); looked at when the socket is opened. */
enum http_private {
    HTTP_PRIVATE_REFUSE,   /* Public ones only. */
    HTTP_PRIVATE_NETWORKS, /* This machine and private networks, too; no metadata, link-local, … */
    HTTP_PRIVATE_ALLOW,    /* Any. For where we name the address ourselves. */
};

struct http_client_options {
    uint32_t connections_max; /* Under way, and kept open, at most. */
    uint32_t connections_per_host_max;
    enum http_private allow_private;
    const char *ca_file; /* PEM; NULL: the system's. Must outlive the client. */
};

struct http_client_stats {
    uint64_t requests, answers, failures, timeouts,
        cancelled;            /* Of requests that came to an end, but for the first. */
    uint64_t refused_private; /* Failures because of allow_private. */
    uint32_t active, waiting;
};

/* Once a process, before threads start; whoever calls it has SIGPIPE ignored (rt/thread.h), as
 * writes of TLS may raise it. Returns 0, or -EIO. */
MUST_USE int http_client_global_init(void);

/* Gives a client. kind: the loop kind of its sockets; nobody else may handle it. Returns 0, -EINVAL
 * (a bound is 0) or -ENOMEM. */
MUST_USE int http_client_create(struct loop *loop, uint8_t kind,
    const struct http_client_options *options, struct http_client **ret_client);

/* Requests under way are answered with -ECANCELED. Not from within done(). NULL is fine. Before its
 * loop. */
void http_client_destroy(struct http_client *client);

struct flow_http_client http_client_port(struct http_client *client);

void http_client_stats(const struct http_client *client, struct http_client_stats *ret_stats);

#endif
