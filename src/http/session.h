/* Sessions: one connection while it speaks HTTP/1.1.
 *
 * A session reads requests, finds their handler and writes replies, one at a time: what a client
 * pipelines waits until the reply before it is out. It exists from the first byte (or accept) until
 * the connection is idle between requests, is upgraded, or closes; sessions and their readers are
 * pooled, and one whose answer takes a while does without its reader (http_await()). A handler answers at once, or keeps the exchange and answers later: the exchange lives
 * until it is answered or its connection is gone, whichever comes first, and http_exchange_find()
 * tells which.
 *
 * Knows no socket: bytes come in through http_session_input() and go out through ports.
 */
#ifndef HTTP_SESSION_H
#define HTTP_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "base/pack.h"
#include "http/route.h"
#include "proto/http1.h"
#include "rt/timer.h"

struct http_server;
struct http_session;
struct loop;

struct http_exchange {
    struct http_session *session;
    uint64_t peer;                        /* The connection, as its owner named it. */
    void *app;                            /* http_options.app */
    const struct http_request *request;   /* Only inside the handler's call: copy what is kept. */
    struct span params[ROUTE_PARAMS_MAX]; /* Raw path segments. */
    bool head_only;                       /* HEAD: no body goes out. */
};

struct http_ports {
    void *ctx;
    /* Writes bytes to the connection, or queues them. False: it is beyond help and is going to be
     * closed by its owner; say no more to it. */
    bool (*write)(void *ctx, uint64_t peer, const void *data, size_t len);
    /* The last reply is written: close once it is out. */
    void (*finish)(void *ctx, uint64_t peer);
    /* Reading may go on: the reply that held it up is written. */
    void (*resume)(void *ctx, uint64_t peer);
    /* Does something that was written still wait for the peer to take it? Then what is pipelined
     * behind waits, too, until http_session_continue(). */
    bool (*waits)(void *ctx, uint64_t peer);
};

struct http_options {
    struct http_limits limits;
    uint64_t head_timeout_ms;
    uint64_t body_timeout_ms;
    const struct route *routes;
    void *app;
};

struct http_stats {
    uint64_t requests;
    uint64_t replies[6]; /* By class: [2] counts 2xx. */
    uint64_t timeouts;
    uint64_t refused;  /* Malformed or over a limit. */
    uint32_t sessions; /* Now. */
};

/* Gives a server for one thread. options->routes and app are shared. */
MUST_USE int http_server_create(struct loop *loop, const struct http_options *options,
    const struct http_ports *ports, struct http_server **ret_server);

/* All sessions must be ended. */
void http_server_destroy(struct http_server *server);
const struct http_stats *http_server_stats(const struct http_server *server);

/* New limits and times for requests to come. */
void http_server_reload(struct http_server *server, const struct http_options *options);

/* Begins a session; NULL without memory. The head timeout runs from now. */
struct http_session *http_session_begin(struct http_server *server, uint64_t peer);

enum http_input {
    HTTP_INPUT_MORE,   /* All taken; in the middle of something. */
    HTTP_INPUT_IDLE,   /* All taken; between requests: the session may end. */
    HTTP_INPUT_BUSY,   /* All taken; a reply is outstanding and enough is waiting: read no more. */
    HTTP_INPUT_TAKEN,  /* The handler took the connection over: *ret_used bytes were HTTP. */
    HTTP_INPUT_CLOSED, /* The session is over: finish was called. Ignore what comes. */
};

/* Takes bytes. Handlers are called from here. */
enum http_input http_session_input(
    struct http_session *session, const uint8_t *data, size_t len, size_t *ret_used);

/* Ends the session: an exchange that is not answered is forgotten. NULL is fine. */
void http_session_end(struct http_session *session);

/* All that was written is out: takes up what was pipelined behind it. Harmless at any time when
 * nothing waits. */
void http_session_continue(struct http_session *session);

/* As much as may be has come behind what is not answered, or not taken: read no more. */
bool http_session_full(const struct http_session *session);

/* The peer sends no more. True: requests of its are still to be answered, then the session is over
 * by itself. */
bool http_session_ended(struct http_session *session);

/* Was that said? */
bool http_session_at_end(const struct http_session *session);

/* Does it wait for the peer to take a reply? */
bool http_session_waits(const struct http_session *session);

/* Is a reply outstanding? */
bool http_session_busy(const struct http_session *session);

/* Between requests, with nothing half read: it may end. */
bool http_session_idle(const struct http_session *session);

/* No further request is taken on this connection after the current one (draining). */
void http_session_last(struct http_session *session);

/* Can it move to another process now? Not while a request is being answered. */
bool http_session_movable(const struct http_session *session);

/* Appends what a session in another process needs to go on: the bytes of an unfinished request and
 * the time left for it. */
void http_session_export(const struct http_session *session, struct pack *out);

/* Gives a session that goes on from there; NULL without memory or when the input is bad. */
struct http_session *http_session_import(
    struct http_server *server, uint64_t peer, struct unpack *in);

/* ---- for handlers ---- */

/* Answers. body may be NULL with len 0; content_type NULL: none. len HTTP_NO_LENGTH: none is told, for
 * the HEAD of what has no end. */
void http_reply(
    struct http_exchange *x, int status, const char *content_type, const void *body, size_t len);

/* The same with more header fields. */
void http_reply_with(struct http_exchange *x, int status, const char *content_type,
    const struct http_header *headers, size_t header_count, const void *body, size_t len);

/* Answers {"error":{"code":…,"message":…}}. */
void http_reply_error(struct http_exchange *x, int status, const char *code, const char *message);

/* The answer may take long: what reading needs is given back meanwhile, so that a session which waits is
 * small. */
void http_await(struct http_exchange *x);

/* The connection is not HTTP any more: the caller will write the 101 itself, and end the session once
 * its input call returns (HTTP_INPUT_TAKEN, or resume when the request was pipelined). */
void http_take_over(struct http_exchange *x);

/* Did a handler take the connection over? Then *ret_held are the bytes that were pipelined behind it;
 * borrowed until the session ends. */
bool http_session_taken(const struct http_session *session, struct span *ret_held);

/* The exchange this session still owes an answer to, or NULL. */
struct http_exchange *http_session_exchange(struct http_session *session);

/* A decoded query parameter: the first of that name. Appends to out. Returns 1, 0 when absent, or
 * -EBADMSG. */
MUST_USE int http_query(const struct http_exchange *x, const char *name, struct bytes *out);

#endif
