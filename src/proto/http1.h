/* HTTP/1 requests: bytes in, one request at a time out (RFC 9112).
 *
 * A reader lives only while a request is being read; an idle connection has none. Pool it: after
 * http_reader_reset() it serves any connection. A request that arrives whole in one buffer is read
 * without a copy; otherwise the reader gathers it, so the caller need not keep partial input.
 *
 *     while ((got = http_reader_feed(r, data, len, &used)) > 0) {
 *         data += used, len -= used;
 *         if (got == HTTP_READER_HEAD) { ... refuse early, or answer 100 Continue ... }
 *         if (got == HTTP_READER_REQUEST) { ... answer; http_reader_reset(r); ... }
 *     }
 *
 * Refused, because a proxy in front may read it differently: both lengths or repeated ones, codings
 * other than exactly "chunked", folded lines, bare CR or LF, white space before a colon, control
 * bytes, no Host or several in HTTP/1.1, fragments in targets. After a refusal the connection is
 * answered and closed.
 */
#ifndef PROTO_HTTP1_H
#define PROTO_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "proto/http1_head.h" /* IWYU pragma: export (struct http_header, look-ups) */

struct http_limits {
    size_t head_bytes_max;     /* Start line and fields: 431 above. */
    uint32_t header_count_max; /* 431 above. */
    size_t target_bytes_max;   /* 414 above. */
    size_t body_bytes_max;     /* 413 above. */
};

/* 16 KiB, 100 fields, 8 KiB, 1 MiB. */
struct http_limits http_limits_default(void);

enum http_method {
    HTTP_METHOD_OTHER, /* Well-formed, but nothing here serves it: 405 or 501. */
    HTTP_METHOD_GET,
    HTTP_METHOD_HEAD,
    HTTP_METHOD_POST,
    HTTP_METHOD_PUT,
    HTTP_METHOD_PATCH,
    HTTP_METHOD_DELETE,
    HTTP_METHOD_OPTIONS,
};

/* A request as seen through its reader. Spans live until the next feed, reset or destroy, and as
 * long as the buffer that was fed. */
struct http_request {
    enum http_method method;
    uint8_t minor;           /* HTTP/1.0 or HTTP/1.1. */
    bool keep_alive;         /* The connection may serve another request after this one. */
    bool upgrade;            /* Upgrade is there and Connection names it. */
    bool expect_continue;    /* The body waits for a 100. */
    bool chunked;            /* content_length is unknown until the body is complete. */
    uint64_t content_length; /* Bytes of body announced; 0 without a length. */
    struct span method_name;
    struct span target; /* As sent. */
    struct span path;   /* Of the target, whatever its form: begins with '/', or is "*". Raw. */
    struct span query;  /* Behind the '?', raw. */
    struct span host;   /* From an absolute target, else Host; may be empty. */
    size_t header_count;
    const struct http_header *headers; /* In the order sent, repeats included. */
    struct span body;                  /* Empty until the request is complete. */
};

enum {
    HTTP_READER_MORE = 0,    /* All bytes are used; more are needed. */
    HTTP_READER_REQUEST = 1, /* The request is complete. */
    HTTP_READER_HEAD = 2,    /* The head is complete, the body is not; told at most once. */
};

struct http_reader;

/* Gives a new reader. Returns 0, -EINVAL when a head limit is 0 or above 1 GiB, or -ENOMEM. */
MUST_USE int http_reader_create(const struct http_limits *limits, struct http_reader **ret_reader);

/* NULL is fine. */
void http_reader_destroy(struct http_reader *r);

/* Makes ready for the next request, of this connection or another. Gathering buffers above 16 KiB
 * are given back, so that a pool does not keep what one large body needed. */
void http_reader_reset(struct http_reader *r);

/* Reads on. Returns HTTP_READER_*, -EBADMSG for a violation, or -ENOMEM. *ret_used bytes belong to
 * this request (set whenever 0 or more is returned); what follows a request, or the head of an
 * upgrade, is untouched. After HTTP_READER_REQUEST or an error, reset before feeding on. */
MUST_USE int http_reader_feed(
    struct http_reader *r, const uint8_t *data, size_t len, size_t *ret_used);

/* The request; meaningful once HTTP_READER_HEAD or HTTP_READER_REQUEST was returned. */
const struct http_request *http_reader_request(const struct http_reader *r);

/* After an error: the status to answer with (400, 413, 414, 417, 431, 501, 503, 505) and one
 * sentence that says what was wrong; it lives for ever. */
int http_reader_status(const struct http_reader *r);
const char *http_reader_reason(const struct http_reader *r);

/* Has part of a request been read? An idle connection's reader says false and can go to the pool.
 */
bool http_reader_busy(const struct http_reader *r);

/* The first value of a field, {NULL, 0} when absent; name in any case. */
static inline struct span http_request_header(const struct http_request *req, const char *name)
{
    return http_header_find(req->headers, req->header_count, name);
}

/* Is token in any list of that name ("Connection: keep-alive, Upgrade")? Any case. */
static inline bool http_request_has_token(
    const struct http_request *req, const char *name, const char *token)
{
    return http_header_has_token(req->headers, req->header_count, name, token);
}

#endif
