/* HTTP/1 heads: start line and header fields, of requests and responses (RFC 9112, 2 to 5).
 *
 * Two steps, so that a head cut anywhere reads like one that came whole. http1_scan_feed() looks
 * for the end of a growing head and refuses at once what senders and proxies disagree about: bare
 * CR or LF, folded lines, control bytes, too many lines or bytes. http1_head_parse() then hands the
 * complete head to llhttp in one call and lists its fields. Used by http1.c and http1_response.c;
 * upper layers need from here only headers, look-ups and token lists. No allocation.
 */
#ifndef PROTO_HTTP1_HEAD_H
#define PROTO_HTTP1_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"

/* One field; the value has no white space around it. */
struct http_header {
    struct span name;
    struct span value;
};

/* Why a message was refused: the status that answers it, and one sentence for people. */
struct http1_fault {
    int status;
    const char *text;
};

struct http1_scan {
    size_t bytes_max;      /* Whole head, start line included. */
    size_t start_line_max; /* Bytes of the start line; longer is 414. */
    uint32_t lines_max;    /* Header fields. */
    bool request;
    size_t at; /* Bytes looked at so far. */
    size_t line_start;
    uint32_t line_count; /* Complete lines, the start line included. */
    size_t head_start;   /* An empty line may come before a request; it is skipped. */
};

/* Looks on in data, the same head from its first byte in every call, only longer. Returns the
 * length of the head with its empty line, 0 when more is needed, or -EBADMSG with *ret_fault. */
MUST_USE int64_t http1_scan_feed(
    struct http1_scan *scan, const uint8_t *data, size_t len, struct http1_fault *ret_fault);

struct http1_head {
    struct span method; /* Requests only. */
    struct span target; /* Requests only, as sent. */
    int status;         /* Responses only. */
    uint8_t minor;      /* HTTP/1.0 or HTTP/1.1. */
    bool chunked;       /* llhttp's opinion, which http1_framing_read() must share. */
    size_t header_count;
    struct http_header *headers; /* The caller's array... */
    size_t header_max;           /* ...of this many. */
};

/* Parses a head that http1_scan_feed() found complete, from scan->head_start on. Spans point into
 * data. Returns 0 or -EBADMSG with *ret_fault. */
MUST_USE int http1_head_parse(struct http1_head *head, bool request, const uint8_t *data,
    size_t len, struct http1_fault *ret_fault);

/* What the fields say about the message's length and the connection (RFC 9112, 6 and 9.3). */
struct http1_framing {
    uint64_t content_length; /* 0 without the field. */
    bool has_content_length;
    bool chunked;
    bool transfer_encoding; /* Some Transfer-Encoding; chunked says whether we know it. */
    bool keep_alive;
    bool upgrade; /* Upgrade, and Connection names it. */
};

/* Refuses repeated or malformed Content-Length, both lengths at once, and repeated or unknown
 * codings. Returns 0 or -EBADMSG with *ret_fault. */
MUST_USE int http1_framing_read(
    struct http1_framing *framing, const struct http1_head *head, struct http1_fault *ret_fault);

/* The first value of a field, name in any case; {NULL, 0} when it is absent. */
struct span http_header_find(
    const struct http_header *headers, size_t header_count, const char *name);

/* How often the field occurs. */
size_t http_header_occurs(const struct http_header *headers, size_t header_count, const char *name);

/* Walks a comma-separated list: start with *cursor = the value. Elements have no white space around
 * them; empty ones are skipped; commas inside quotes do not separate. False at the end. */
bool http_list_next(struct span *cursor, struct span *ret_element);

/* Is the token, in any case, in the list of any field of that name? */
bool http_header_has_token(
    const struct http_header *headers, size_t header_count, const char *name, const char *token);

/* May the byte stand in a token (RFC 9110, 5.6.2)? */
bool http_token_char(uint8_t byte);
bool http_is_token(struct span text);

#endif
