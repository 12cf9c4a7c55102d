/* HTTP/1 responses, as a client reads them (RFC 9112, 4 and 6.3).
 *
 * The body is told in pieces as it arrives, since an event stream never ends; whoever wants it
 * whole appends the pieces under a bound of its own. As strict about lengths as the request reader.
 */
#ifndef PROTO_HTTP1_RESPONSE_H
#define PROTO_HTTP1_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "proto/http1_head.h" /* IWYU pragma: export (struct http_header, look-ups) */

/* Spans live until the next feed, reset or destroy, and as long as the buffer that was fed. */
struct http_response {
    int status;
    uint8_t minor;   /* HTTP/1.0 or HTTP/1.1. */
    bool keep_alive; /* The connection may be used again after the body. */
    bool upgrade;    /* 101: what follows the head is another protocol. */
    bool chunked;
    bool has_content_length;
    uint64_t content_length;
    size_t header_count;
    const struct http_header *headers;
    struct span body; /* The latest piece. */
};

enum {
    HTTP_RESPONSE_MORE = 0, /* All bytes are used; more are needed. */
    HTTP_RESPONSE_DONE = 1, /* The response is complete. */
    HTTP_RESPONSE_HEAD = 2, /* The head is complete; feed on, even when no byte is left. */
    HTTP_RESPONSE_BODY = 3, /* A piece of body is in ->body; feed on. */
};

struct http_response_reader;

/* Gives a new reader for heads of at most head_bytes_max bytes and header_count_max fields.
 * Returns 0, -EINVAL when a limit is 0 or above 1 GiB, or -ENOMEM. */
MUST_USE int http_response_create(
    size_t head_bytes_max, uint32_t header_count_max, struct http_response_reader **ret_reader);

/* NULL is fine. */
void http_response_destroy(struct http_response_reader *r);

/* Makes ready for the next response. no_body: it answers a HEAD. An interim response (100, 103) is
 * a response of its own, without body; reset and read on after it. */
void http_response_reset(struct http_response_reader *r, bool no_body);

/* Reads on. Returns HTTP_RESPONSE_*, -EBADMSG for a violation, or -ENOMEM. *ret_used bytes are done
 * with (set whenever 0 or more is returned); bytes behind the response are untouched. */
MUST_USE int http_response_feed(
    struct http_response_reader *r, const uint8_t *data, size_t len, size_t *ret_used);

/* The peer has closed. Returns HTTP_RESPONSE_DONE if that ends the response (already complete, or a
 * body without a length), else -EBADMSG: it was cut off. */
MUST_USE int http_response_finish(struct http_response_reader *r);

/* Meaningful once HTTP_RESPONSE_HEAD was returned. */
const struct http_response *http_response_of(const struct http_response_reader *r);

/* After -EBADMSG: one sentence that says what was wrong; it lives for ever. */
const char *http_response_reason(const struct http_response_reader *r);

static inline struct span http_response_header(const struct http_response *resp, const char *name)
{
    return http_header_find(resp->headers, resp->header_count, name);
}

#endif
