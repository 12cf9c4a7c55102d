/* HTTP/1 heads, written (RFC 9112, 3 and 4).
 *
 * A field that could break out of its line is refused, so no caller can be talked into response
 * splitting by a value it passes on.
 */
#ifndef PROTO_HTTP1_WRITE_H
#define PROTO_HTTP1_WRITE_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "proto/http1_head.h"

/* In place of a content length. */
#define HTTP_NO_LENGTH UINT64_MAX

/* A header from two strings that outlive it. */
static inline struct http_header http_header_of(const char *name, const char *value)
{
    return (struct http_header){.name = span_str(name), .value = span_str(value)};
}

/* Appends status line, fields, Content-Length unless HTTP_NO_LENGTH, and the empty line.
 * Returns 0, -EINVAL (status not 100..599, a name that is no token, a control byte in a value) or
 * -ENOMEM; out keeps its content on failure. */
MUST_USE int http_reply_head(struct bytes *out, int status, const struct http_header *headers,
    size_t header_count, uint64_t content_length);

/* The same for a request: `GET target HTTP/1.1`. Host is the caller's to give as a header.
 * -EINVAL also for a target with a space, a control byte or anything beyond ASCII. */
MUST_USE int http_request_head(struct bytes *out, const char *method, struct span target,
    const struct http_header *headers, size_t header_count, uint64_t content_length);

/* "Not Found" for 404; "Unknown" for what is in no list. */
const char *http_status_text(int status);

#endif
