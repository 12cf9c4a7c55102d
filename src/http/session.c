#include "http/session.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "proto/http1_write.h"
#include "rt/loop.h"

enum {
    POOL_MAX = 64,
    HELD_MAX = 64 * 1024, /* Pipelined behind an unanswered request: read no more past this. */
};

struct http_session {
    struct http_server *server;
    struct http_session *next_free;
    struct http_reader *reader; /* NULL: given back until the reply, see http_await(). */
    struct http_exchange x;
    struct timer timer;
    struct bytes held; /* Came while a reply was outstanding. */
    struct bytes raw;  /* The request that has begun and is not complete: it may have to move. */
    bool raw_lost;     /* There was no memory for that. */
    bool restoring;    /* It is being read again after a move: what was said is not said again. */
    const struct route *route;
    bool busy;           /* An exchange is not answered yet. */
    bool waits;          /* The peer has not taken the last reply. */
    bool deferred_input; /* Inside http_session_input(): do not recurse from a reply. */
    bool last;           /* Close after the current reply. */
    bool ended;          /* The peer sends no more: close after the last of its requests. */
    bool closed;
    bool taken;
    bool in_body;
    bool awaits; /* The handler said that its answer takes a while. */
};

struct http_server {
    struct loop *loop;
    struct http_options options;
    struct http_ports ports;
    struct http_stats stats;
    struct http_session *pool;
    uint32_t pool_count;
    struct http_reader *readers[POOL_MAX]; /* Of sessions that await their reply. */
    uint32_t reader_count;
    struct bytes out; /* Scratch for one reply. */
};

int http_server_create(struct loop *loop, const struct http_options *options,
    const struct http_ports *ports, struct http_server **ret_server)
{
    struct http_server *server = mem_zalloc(sizeof(*server));

    server->loop = loop;
    server->options = *options;
    server->ports = *ports;
    *ret_server = server;
    return 0;
}

static void session_free(struct http_session *session)
{
    http_reader_destroy(session->reader);
    bytes_fini(&session->held);
    bytes_fini(&session->raw);
    mem_free(session);
}

static void pool_free(struct http_server *server)
{
    while (server->pool) {
        struct http_session *session = server->pool;
        server->pool = session->next_free;
        session_free(session);
    }
    server->pool_count = 0;
    while (server->reader_count) {
        http_reader_destroy(server->readers[--server->reader_count]);
    }
}

void http_server_destroy(struct http_server *server)
{
    if (!server) {
        return;
    }
    CHECK(server->stats.sessions == 0);
    pool_free(server);
    bytes_fini(&server->out);
    mem_free(server);
}

const struct http_stats *http_server_stats(const struct http_server *server)
{
    return &server->stats;
}

/* Pooled readers keep the limits they were made with, so the pool goes. */
void http_server_reload(struct http_server *server, const struct http_options *options)
{
    server->options = *options;
    pool_free(server);
}

/* ---- readers ---- */

/* A reader is most of a session, and of no use until there is a reply. */
static void give_reader(struct http_session *session)
{
    struct http_server *server = session->server;

    session->x.request = NULL;
    if (server->reader_count < POOL_MAX) {
        http_reader_reset(session->reader);
        server->readers[server->reader_count++] = session->reader;
    } else {
        http_reader_destroy(session->reader);
    }
    session->reader = NULL;
}

/* Ready for the next request. False: there is no memory. */
static bool renew_reader(struct http_session *session)
{
    struct http_server *server = session->server;

    if (session->reader) {
        http_reader_reset(session->reader);
    } else if (server->reader_count) {
        session->reader = server->readers[--server->reader_count];
    } else if (http_reader_create(&server->options.limits, &session->reader) != 0) {
        session->reader = NULL;
        return false;
    }
    return true;
}

/* ---- life ---- */

static void timed_out(struct timer *timer, void *ctx)
{
    struct http_session *session = ctx;

    (void)timer;
    if (session->busy) {
        return; /* The application's delay, not the client's. */
    }
    session->server->stats.timeouts += 1;
    session->last = true;
    session->x.request = NULL;
    session->busy = true;
    http_reply_error(&session->x, 408, "timeout",
        session->in_body ? "the request's body did not come in time"
                         : "the request's head did not come in time");
}

static void arm(struct http_session *session, uint64_t delay_ms)
{
    if (delay_ms) {
        timer_start(session->server->loop, &session->timer, delay_ms, timed_out, session);
    }
}

struct http_session *http_session_begin(struct http_server *server, uint64_t peer)
{
    struct http_session *session = server->pool;

    if (session) {
        server->pool = session->next_free;
        server->pool_count -= 1;
    } else {
        session = mem_try_zalloc(sizeof(*session));
        if (!session) {
            return NULL;
        }
    }
    session->server = server;
    if (!renew_reader(session)) {
        mem_free(session);
        return NULL;
    }
    session->next_free = NULL;
    session->route = NULL;
    session->busy = session->waits = session->last = session->ended = false;
    session->closed = session->taken = session->in_body = false;
    session->raw_lost = session->restoring = session->awaits = false;
    session->x =
        (struct http_exchange){.session = session, .peer = peer, .app = server->options.app};
    server->stats.sessions += 1;
    arm(session, server->options.head_timeout_ms);
    return session;
}

void http_session_end(struct http_session *session)
{
    if (!session) {
        return;
    }
    struct http_server *server = session->server;
    CHECK(!session->deferred_input);
    timer_stop(&session->timer);
    server->stats.sessions -= 1;
    if (server->pool_count == POOL_MAX || !session->reader) {
        session_free(session);
        return;
    }
    http_reader_reset(session->reader);
    bytes_fini(&session->held);
    bytes_fini(&session->raw);
    session->next_free = server->pool;
    server->pool = session;
    server->pool_count += 1;
}

bool http_session_busy(const struct http_session *session)
{
    return session->busy;
}

bool http_session_idle(const struct http_session *session)
{
    return !session->busy && !session->waits && !session->closed && !session->held.len &&
           !http_reader_busy(session->reader);
}

void http_session_last(struct http_session *session)
{
    session->last = true;
}

struct http_exchange *http_session_exchange(struct http_session *session)
{
    return session->busy && !session->closed ? &session->x : NULL;
}

bool http_session_taken(const struct http_session *session, struct span *ret_held)
{
    *ret_held = span_of(session->held.data, session->held.len);
    return session->taken;
}

/* ---- requests ---- */

static void refuse(struct http_session *session, int status, const char *code, const char *message)
{
    session->server->stats.refused += 1;
    session->last = true;
    session->busy = true;
    http_reply_error(&session->x, status, code, message);
}

/* Finds the handler once the head is known; false: answered already. */
static bool find_route(struct http_session *session)
{
    const struct http_request *request = http_reader_request(session->reader);
    struct route_match found =
        route_find(session->server->options.routes, request->method, request->path);

    session->x.request = request;
    session->x.head_only = request->method == HTTP_METHOD_HEAD;
    memcpy(session->x.params, found.params, sizeof(found.params));
    session->route = found.route;
    session->busy = true;
    if (found.route) {
        session->busy = false;
        return true;
    }
    bool body = request->chunked || request->content_length;
    session->last = session->last || body; /* We will not read it. */
    if (!found.methods) {
        http_reply_error(&session->x, 404, "not_found", "there is nothing at this path");
        return false;
    }
    char allow[64];
    size_t len = route_allow(found.methods, allow, sizeof(allow));
    struct http_header header = {span_str("Allow"), span_of(allow, len)};
    static const char text[] =
        "{\"error\":{\"code\":\"method\",\"message\":\"this path does not serve "
        "that method; see Allow\"}}\n";
    http_reply_with(&session->x, 405, "application/json", &header, 1, text, sizeof(text) - 1);
    return false;
}

static void serve(struct http_session *session)
{
    session->server->stats.requests += 1;
    session->x.request = http_reader_request(session->reader);
    session->last = session->last || !session->x.request->keep_alive;
    if (!session->route && !find_route(session)) {
        return;
    }
    timer_stop(&session->timer);
    session->busy = true;
    session->route->handler(&session->x);
    if (session->awaits && session->busy) {
        give_reader(session);
    }
}

/* The head is there, the body is not. */
static void serve_head(struct http_session *session)
{
    session->in_body = true;
    arm(session, session->server->options.body_timeout_ms);
    if (!find_route(session)) {
        session->server->stats.requests += 1;
        return;
    }
    if (http_reader_request(session->reader)->expect_continue && !session->restoring) {
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        if (!session->server->ports.write(
                session->server->ports.ctx, session->x.peer, go_on, sizeof(go_on) - 1)) {
            session->closed = true;
        }
    }
}

static const char *code_of(int status)
{
    switch (status) {
    case 413:
    case 414:
    case 431:
        return "too_large";
    case 417:
        return "expectation";
    case 501:
        return "not_implemented";
    case 503:
        return "no_memory";
    case 505:
        return "version";
    default:
        return "bad_request";
    }
}

/* An unfinished request is kept as it came, so that it can move to another process. Most come whole
 * and are never kept. */
static void keep_raw(struct http_session *session, const uint8_t *data, size_t len)
{
    if (session->busy || session->closed || !http_reader_busy(session->reader)) {
        bytes_fini(&session->raw);
        session->raw_lost = false;
    } else if (bytes_append(&session->raw, data, len) != 0) {
        session->raw_lost = true;
    }
}

/* Reads requests until the input is used up or a reply is outstanding. Returns bytes used. */
static size_t read_requests(struct http_session *session, const uint8_t *data, size_t len)
{
    size_t total = 0, begun = 0, used;

    while (!session->busy && !session->waits && !session->closed && total < len) {
        int got = http_reader_feed(session->reader, data + total, len - total, &used);
        if (got < 0) {
            refuse(session, http_reader_status(session->reader),
                code_of(http_reader_status(session->reader)), http_reader_reason(session->reader));
            return len;
        }
        total += used;
        if (got == HTTP_READER_HEAD) {
            serve_head(session);
        } else if (got == HTTP_READER_REQUEST) {
            bytes_fini(&session->raw);
            begun = total;
            serve(session);
        }
    }
    keep_raw(session, data + begun, total - begun);
    return total;
}

enum http_input http_session_input(
    struct http_session *session, const uint8_t *data, size_t len, size_t *ret_used)
{
    *ret_used = len;
    if (session->closed) {
        return HTTP_INPUT_CLOSED;
    }
    session->deferred_input = true;
    size_t used = session->held.len ? 0 : read_requests(session, data, len);
    session->deferred_input = false;
    if (session->closed) {
        return HTTP_INPUT_CLOSED;
    }
    if (session->taken && session->held.len == 0) {
        *ret_used = used;
        return HTTP_INPUT_TAKEN;
    }
    if (used < len && bytes_append(&session->held, data + used, len - used) != 0) {
        if (session
                ->busy) { /* The answer that is outstanding is not about these: it is the last. */
            session->last = true;
            return HTTP_INPUT_MORE;
        }
        refuse(session, 503, "no_memory", "no memory for the request");
        return HTTP_INPUT_CLOSED;
    }
    if (session->busy || session->waits) {
        return http_session_full(session) ? HTTP_INPUT_BUSY : HTTP_INPUT_MORE;
    }
    return http_reader_busy(session->reader) ? HTTP_INPUT_MORE : HTTP_INPUT_IDLE;
}

/* After a reply that came late: what was pipelined behind it. */
static void read_held(struct http_session *session)
{
    struct bytes held = session->held;

    session->held = (struct bytes){0};
    session->deferred_input = true;
    size_t used = read_requests(session, held.data, held.len);
    session->deferred_input = false;
    if (!session->closed && used < held.len) {
        bytes_consume(&held, used);
        session->held = held;
        return;
    }
    bytes_fini(&held);
}

/* The last reply is written: the connection has done its work. */
static void close_session(struct http_session *session)
{
    session->closed = true;
    timer_stop(&session->timer);
    session->server->ports.finish(session->server->ports.ctx, session->x.peer);
}

/* Between requests, with nothing outstanding: what was pipelined comes next. */
static void go_on(struct http_session *session)
{
    arm(session, session->server->options.head_timeout_ms);
    if (session->held.len) {
        read_held(session);
    }
    if (session->ended && !session->closed && !session->busy && !session->waits) {
        close_session(session);
    }
}

void http_session_continue(struct http_session *session)
{
    if (session->waits && !session->closed) {
        session->waits = false;
        go_on(session);
    }
}

bool http_session_ended(struct http_session *session)
{
    session->ended = session->busy || session->waits;
    return session->ended;
}

bool http_session_at_end(const struct http_session *session)
{
    return session->ended;
}

bool http_session_full(const struct http_session *session)
{
    return (session->busy || session->waits) && session->held.len >= HELD_MAX;
}

bool http_session_waits(const struct http_session *session)
{
    return session->waits;
}

/* ---- moving ---- */

bool http_session_movable(const struct http_session *session)
{
    return !session->busy && !session->closed && !session->taken && !session->ended &&
           !session->held.len && !session->raw_lost;
}

void http_session_export(const struct http_session *session, struct pack *out)
{
    uint64_t now = loop_now_ms(session->server->loop);
    bool armed = timer_armed(&session->timer);

    pack_u8(out, session->last);
    pack_u64(out, armed ? 1 + (session->timer.due_ms > now ? session->timer.due_ms - now : 0) : 0);
    pack_span(out, span_of(session->raw.data, session->raw.len));
}

struct http_session *http_session_import(
    struct http_server *server, uint64_t peer, struct unpack *in)
{
    bool last = unpack_u8(in);
    uint64_t left_ms = unpack_u64(in);
    struct span raw = unpack_span(in);
    struct http_session *session = in->failed ? NULL : http_session_begin(server, peer);
    size_t used;

    if (!session) {
        return NULL;
    }
    session->restoring = true;
    enum http_input got = http_session_input(session, raw.data, raw.len, &used);
    session->restoring = false;
    session->last = last;
    timer_stop(&session->timer);
    arm(session, left_ms);
    if (got != HTTP_INPUT_MORE && got != HTTP_INPUT_IDLE) {
        http_session_end(session);
        unpack_fail(in);
        return NULL;
    }
    return session;
}

/* ---- replies ---- */

static void after_reply(struct http_session *session)
{
    struct http_server *server = session->server;

    session->busy = false;
    session->in_body = false;
    session->route = NULL;
    session->awaits = false;
    session->x.request = NULL;
    session->last = !renew_reader(session) || session->last;
    if (session->last) {
        close_session(session);
        return;
    }
    session->waits = server->ports.waits(server->ports.ctx, session->x.peer);
    if (session->waits) {
        timer_stop(&session->timer);
        return;
    }
    if (session->deferred_input) {
        arm(session, server->options.head_timeout_ms);
    } else {
        go_on(session);
        if (!session->closed && !session->waits && (!session->busy || session->taken)) {
            server->ports.resume(server->ports.ctx, session->x.peer);
        }
    }
}

void http_reply_with(struct http_exchange *x, int status, const char *content_type,
    const struct http_header *headers, size_t header_count, const void *body, size_t len)
{
    struct http_session *session = x->session;
    struct http_server *server = session->server;
    struct http_header all[16];
    size_t count = 0;

    CHECK(session->busy && header_count + 3 <= COUNT_OF(all));
    if (content_type) {
        all[count++] = (struct http_header){span_str("Content-Type"), span_str(content_type)};
    }
    for (size_t i = 0; i < header_count; i++) {
        all[count++] = headers[i];
    }
    if (session->last) {
        all[count++] = (struct http_header){span_str("Connection"), span_str("close")};
    }
    server->out.len = 0;
    /* 204 has no length by definition; that of a 304 would speak of the body left out. */
    uint64_t length = status == 204 || status == 304 ? HTTP_NO_LENGTH : len;
    int err = http_reply_head(&server->out, status, all, count, length);
    if (!err && !x->head_only && len) {
        err = bytes_append(&server->out, body, len);
    }
    server->stats.replies[status / 100 < 6 ? status / 100 : 5] += 1;
    if (err ||
        !server->ports.write(server->ports.ctx, x->peer, server->out.data, server->out.len)) {
        session->last = true;
    }
    x->head_only = false;
    after_reply(session);
}

void http_take_over(struct http_exchange *x)
{
    struct http_session *session = x->session;

    CHECK(session->busy);
    session->taken = true;
    timer_stop(&session->timer);
}

void http_await(struct http_exchange *x)
{
    x->session->awaits = true;
}
