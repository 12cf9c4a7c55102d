/* HTTP client: one keep-alive connection, one request under way.
 *
 * The connection is made when the first request wants it, and anew after the server closed it.
 * Runs on the hub's loop.
 */
#ifndef ROLE_CLIENT_HTTP_H
#define ROLE_CLIENT_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "role/client_conn.h"
#include "role/client_url.h"

struct http_response_reader;

enum { CLIENT_HTTP_BODY_MAX = 64 * 1024 };

/* Exactly one of them follows each request; the next request may be sent from inside. */
struct client_http_events {
    /* body: at most CLIENT_HTTP_BODY_MAX bytes of it; borrowed until return. */
    void (*response)(void *ctx, int status, struct span body);
    /* No answer came; why is a sentence without a full stop. The request may or may not have been
     * carried out. */
    void (*failed)(void *ctx, const char *why);
};

struct client_http {
    struct client_conn conn;
    const struct client_http_events *events;
    void *ctx;
    const struct client_url *url;
    struct http_response_reader *reader;
    struct bytes request; /* Kept until answered: it may have to be sent on a new connection. */
    struct bytes body;
    bool busy;
    bool fresh; /* Nothing has been answered on this connection yet. */
};

/* Shares hub, url, events and ctx. Returns 0 or -ENOMEM. */
MUST_USE int client_http_init(struct client_http *http, struct client_hub *hub,
    const struct client_url *url, const struct client_http_events *events, void *ctx);
void client_http_fini(struct client_http *http);

/* Sends a POST of head lines (each with its "\r\n"; without Host and Content-Length) and a body;
 * must not be busy. Returns 0 or negative errno: nothing will follow. */
MUST_USE int client_http_post(struct client_http *http, const char *target, const char *head_lines,
    const void *body, size_t body_len);

static inline bool client_http_busy(const struct client_http *http)
{
    return http->busy;
}

/* The text of an error answer: the "message" of {"error":{…}}, else the body's start, else the
 * status' name. Written to out, one line, control bytes replaced. */
void client_error_sentence(int status, struct span body, char *out, size_t cap);

#endif
