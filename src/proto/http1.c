#include "proto/http1.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "proto/http1_chunked.h"
#include "proto/url.h"

enum {
    HEAD_LIMIT_MAX = 1 << 30,
    /* A start line is a target with at most this much around it. */
    START_LINE_EXTRA = 64,
    KEEP_BYTES_MAX = 16 * 1024,
};

enum state { READ_HEAD, READ_BODY, READ_DONE, READ_FAILED };

struct http_reader {
    struct http_limits limits;
    enum state state;
    struct http1_fault fault;
    struct http1_scan scan;
    struct http1_chunked chunked;
    struct http_request req;
    struct bytes head; /* The head, unless it lies whole in the caller's buffer. */
    struct bytes body; /* The body, unless it lies whole in the caller's buffer. */
    struct http_header headers[];
};

struct http_limits http_limits_default(void)
{
    return (struct http_limits){
        .head_bytes_max = 16 * 1024,
        .header_count_max = 100,
        .target_bytes_max = 8 * 1024,
        .body_bytes_max = 1024 * 1024,
    };
}

int http_reader_create(const struct http_limits *limits, struct http_reader **ret_reader)
{
    if (limits->head_bytes_max == 0 || limits->head_bytes_max > HEAD_LIMIT_MAX ||
        limits->target_bytes_max == 0 || limits->target_bytes_max > HEAD_LIMIT_MAX ||
        limits->header_count_max == 0 || limits->header_count_max > HEAD_LIMIT_MAX / 64) {
        return -EINVAL;
    }
    size_t size =
        sizeof(struct http_reader) + limits->header_count_max * sizeof(struct http_header);
    struct http_reader *r = mem_try_alloc(size);
    if (!r) {
        return -ENOMEM;
    }
    *r = (struct http_reader){.limits = *limits};
    http_reader_reset(r);
    *ret_reader = r;
    return 0;
}

void http_reader_destroy(struct http_reader *r)
{
    if (r) {
        bytes_fini(&r->head);
        bytes_fini(&r->body);
        mem_free(r);
    }
}

static void empty(struct bytes *b)
{
    b->len = 0;
    if (b->cap > KEEP_BYTES_MAX) {
        bytes_fini(b);
    }
}

void http_reader_reset(struct http_reader *r)
{
    empty(&r->head);
    empty(&r->body);
    r->state = READ_HEAD;
    r->fault = (struct http1_fault){0};
    r->chunked = (struct http1_chunked){0};
    r->req = (struct http_request){0};
    r->scan = (struct http1_scan){
        .bytes_max = r->limits.head_bytes_max,
        .start_line_max = r->limits.target_bytes_max + START_LINE_EXTRA,
        .lines_max = r->limits.header_count_max,
        .request = true,
    };
}

static int fail(struct http_reader *r, int err, int status, const char *text)
{
    r->state = READ_FAILED;
    r->fault = (struct http1_fault){.status = status, .text = text};
    return err;
}

static int refuse(struct http_reader *r, int status, const char *text)
{
    return fail(r, -EBADMSG, status, text);
}

static int no_memory(struct http_reader *r)
{
    return fail(r, -ENOMEM, 503, "there is no memory for this request now");
}

static enum http_method method_of(struct span name)
{
    static const struct {
        const char *name;
        enum http_method method;
    } known[] = {
        {"GET", HTTP_METHOD_GET},
        {"HEAD", HTTP_METHOD_HEAD},
        {"POST", HTTP_METHOD_POST},
        {"PUT", HTTP_METHOD_PUT},
        {"PATCH", HTTP_METHOD_PATCH},
        {"DELETE", HTTP_METHOD_DELETE},
        {"OPTIONS", HTTP_METHOD_OPTIONS},
    };

    for (size_t i = 0; i < COUNT_OF(known); i++) {
        if (span_equal(name, span_str(known[i].name))) {
            return known[i].method;
        }
    }
    return HTTP_METHOD_OTHER;
}

static bool begins_nocase(struct span text, const char *start)
{
    size_t len = strlen(start);
    return text.len >= len && span_equal_nocase(span_of(text.data, len), span_of(start, len));
}

/* Reads the four forms of a target (RFC 9112, 3.2); CONNECT's, which names no resource, is none of
 * ours. */
static int read_target(struct http_reader *r)
{
    struct http_request *req = &r->req;
    struct span rest = req->target;

    if (span_equal(req->method_name, span_str("CONNECT"))) {
        return refuse(r, 501, "this is no proxy: CONNECT is not served");
    }
    if (rest.len > r->limits.target_bytes_max) {
        return refuse(r, 414, "the request target is too long");
    }
    if (rest.len == 0 || memchr(rest.data, '#', rest.len)) {
        return refuse(r, 400, "the request target is malformed");
    }
    if (rest.len == 1 && rest.data[0] == '*') {
        req->path = rest;
        return req->method == HTTP_METHOD_OPTIONS
                   ? 0
                   : refuse(r, 400, "only OPTIONS may ask for \"*\"");
    }
    size_t scheme_len = begins_nocase(rest, "http://")    ? 7
                        : begins_nocase(rest, "https://") ? 8
                                                          : 0;
    if (scheme_len > 0) {
        rest = span_of(rest.data + scheme_len, rest.len - scheme_len);
        req->host = span_of(rest.data, 0);
        while (req->host.len < rest.len && rest.data[req->host.len] != '/' &&
               rest.data[req->host.len] != '?') {
            req->host.len++;
        }
        rest = span_of(rest.data + req->host.len, rest.len - req->host.len);
        if (req->host.len == 0) {
            return refuse(r, 400, "the request target names no host");
        }
    }
    url_split(rest, &req->path, &req->query);
    if (req->path.len == 0 && scheme_len > 0) {
        req->path = span_str("/");
    }
    if (req->path.len == 0 || req->path.data[0] != '/') {
        return refuse(r, 400, "the request target is malformed");
    }
    return 0;
}

/* A name, an address, a port: nothing that could pass for more than one host somewhere else. */
static bool host_ok(struct span host)
{
    /* A bit a byte: letters, digits and -._~!$&'()*+;=:[]% */
    static const uint64_t allowed[4] = {0x2fff6ff200000000, 0x47fffffeaffffffe, 0, 0};

    for (size_t i = 0; i < host.len; i++) {
        uint8_t c = host.data[i];
        if (!(allowed[c >> 6] >> (c & 63) & 1)) {
            return false;
        }
    }
    return true;
}

static int read_host(struct http_reader *r)
{
    struct http_request *req = &r->req;
    size_t count = http_header_occurs(r->headers, req->header_count, "Host");

    if (count > 1) {
        return refuse(r, 400, "Host is repeated");
    }
    if (count == 0 && req->minor > 0) {
        return refuse(r, 400, "Host is missing");
    }
    struct span host = http_request_header(req, "Host");
    if (!host_ok(host) || !host_ok(req->host)) {
        return refuse(r, 400, "the host is malformed");
    }
    if (req->host.len == 0) {
        req->host = host; /* An absolute target's own host would have come first (3.2.2). */
    }
    return 0;
}

static int read_expect(struct http_reader *r)
{
    struct span expect = http_request_header(&r->req, "Expect");

    if (!expect.data || r->req.minor == 0) {
        return 0;
    }
    if (!span_equal_nocase(expect, span_str("100-continue")) ||
        http_header_occurs(r->headers, r->req.header_count, "Expect") > 1) {
        return refuse(r, 417, "no expectation but 100-continue can be met");
    }
    r->req.expect_continue = r->req.chunked || r->req.content_length > 0;
    return 0;
}

static int read_head(struct http_reader *r, const uint8_t *data, size_t len)
{
    struct http1_head head = {.headers = r->headers, .header_max = r->limits.header_count_max};
    struct http1_framing framing;
    struct http_request *req = &r->req;

    if (http1_head_parse(&head, true, data, len, &r->fault) ||
        http1_framing_read(&framing, &head, &r->fault)) {
        return refuse(r, r->fault.status, r->fault.text);
    }
    *req = (struct http_request){
        .method = method_of(head.method),
        .minor = head.minor,
        .keep_alive = framing.keep_alive,
        .upgrade = framing.upgrade,
        .chunked = framing.chunked,
        .content_length = framing.content_length,
        .method_name = head.method,
        .target = head.target,
        .header_count = head.header_count,
        .headers = r->headers,
    };
    int err = read_target(r);
    if (!err) {
        err = read_host(r);
    }
    if (!err) {
        err = read_expect(r);
    }
    if (!err && req->content_length > r->limits.body_bytes_max) {
        err = refuse(r, 413, "the body is too large");
    }
    return err;
}

static void move_span(struct span *span, const uint8_t *from, size_t len, const uint8_t *to)
{
    if (span->data >= from && span->data <= from + len) {
        span->data = to + (span->data - from);
    }
}

/* Keeps a head that lies in the caller's buffer, and moves every view of it along. */
static int keep_head(struct http_reader *r, const uint8_t *data, size_t len)
{
    struct http_request *req = &r->req;

    if (bytes_append(&r->head, data, len)) {
        return no_memory(r);
    }
    struct span *const views[] = {
        &req->method_name, &req->target, &req->path, &req->query, &req->host};
    for (size_t i = 0; i < COUNT_OF(views); i++) {
        move_span(views[i], data, len, r->head.data);
    }
    for (size_t i = 0; i < req->header_count; i++) {
        move_span(&r->headers[i].name, data, len, r->head.data);
        move_span(&r->headers[i].value, data, len, r->head.data);
    }
    return 0;
}

/* The head is complete in data[0..len). Takes a body that lies behind it as well, if it is whole.
 */
static int finish_head(struct http_reader *r, const uint8_t *data, size_t head_len, size_t len,
    bool gathered, size_t *ret_used)
{
    int err = read_head(r, data + r->scan.head_start, head_len - r->scan.head_start);

    if (err) {
        return err;
    }
    *ret_used = head_len;
    if (!r->req.chunked && r->req.content_length <= len - head_len) {
        r->req.body = span_of(data + head_len, (size_t)r->req.content_length);
        *ret_used += r->req.body.len;
        r->state = READ_DONE;
        return HTTP_READER_REQUEST;
    }
    if (!gathered && keep_head(r, data, head_len)) {
        return -ENOMEM;
    }
    r->state = READ_BODY;
    return HTTP_READER_HEAD;
}

static int feed_head(struct http_reader *r, const uint8_t *data, size_t len, size_t *ret_used)
{
    size_t had = r->head.len;

    if (had == 0) {
        int64_t head_len = http1_scan_feed(&r->scan, data, len, &r->fault);
        if (head_len < 0) {
            return refuse(r, r->fault.status, r->fault.text);
        }
        if (head_len > 0) {
            return finish_head(r, data, (size_t)head_len, len, false, ret_used);
        }
        if (bytes_append(&r->head, data, len)) {
            return no_memory(r);
        }
        *ret_used = len;
        return HTTP_READER_MORE;
    }
    /* At most the head's limit is gathered; of what lies behind the head nothing is taken. */
    size_t room = r->limits.head_bytes_max - had;
    if (bytes_append(&r->head, data, len < room ? len : room)) {
        return no_memory(r);
    }
    int64_t head_len = http1_scan_feed(&r->scan, r->head.data, r->head.len, &r->fault);
    if (head_len < 0) {
        return refuse(r, r->fault.status, r->fault.text);
    }
    if (head_len == 0) {
        *ret_used = len;
        return HTTP_READER_MORE;
    }
    r->head.len = (size_t)head_len;
    size_t used;
    int got = finish_head(r, r->head.data, r->head.len, r->head.len, true, &used);
    *ret_used = r->head.len - had;
    if (got != HTTP_READER_HEAD || r->req.chunked || r->req.content_length > len - *ret_used) {
        return got;
    }
    /* The rest of this buffer holds the whole body: a view will do. */
    r->req.body = span_of(data + *ret_used, (size_t)r->req.content_length);
    *ret_used += r->req.body.len;
    r->state = READ_DONE;
    return HTTP_READER_REQUEST;
}

static int body_done(struct http_reader *r)
{
    r->req.body = span_of(r->body.data, r->body.len);
    r->state = READ_DONE;
    return HTTP_READER_REQUEST;
}

static int feed_sized(struct http_reader *r, const uint8_t *data, size_t len, size_t *ret_used)
{
    uint64_t left = r->req.content_length - r->body.len;
    size_t take = left < len ? (size_t)left : len;

    *ret_used = take;
    if (r->body.len == 0 && take == left) {
        r->req.body = span_of(data, take);
        r->state = READ_DONE;
        return HTTP_READER_REQUEST;
    }
    if (bytes_append(&r->body, data, take)) {
        return no_memory(r);
    }
    return take == left ? body_done(r) : HTTP_READER_MORE;
}

static int feed_chunked(struct http_reader *r, const uint8_t *data, size_t len, size_t *ret_used)
{
    size_t at = 0;

    for (;;) {
        struct span piece;
        size_t used;
        int got = http1_chunked_feed(&r->chunked, data + at, len - at, &used, &piece);
        if (got < 0) {
            return refuse(r, 400, "the chunked body is malformed");
        }
        at += used;
        *ret_used = at;
        if (got != 2) {
            return got == 1 ? body_done(r) : HTTP_READER_MORE;
        }
        if (piece.len > r->limits.body_bytes_max - r->body.len) {
            return refuse(r, 413, "the body is too large");
        }
        if (bytes_append(&r->body, piece.data, piece.len)) {
            return no_memory(r);
        }
    }
}

int http_reader_feed(struct http_reader *r, const uint8_t *data, size_t len, size_t *ret_used)
{
    *ret_used = 0;
    if (r->state == READ_FAILED) {
        return -EBADMSG;
    }
    if (len == 0 || r->state == READ_DONE) {
        return r->state == READ_DONE ? HTTP_READER_REQUEST : HTTP_READER_MORE;
    }
    if (r->state == READ_HEAD) {
        return feed_head(r, data, len, ret_used);
    }
    return r->req.chunked ? feed_chunked(r, data, len, ret_used)
                          : feed_sized(r, data, len, ret_used);
}

const struct http_request *http_reader_request(const struct http_reader *r)
{
    return &r->req;
}

int http_reader_status(const struct http_reader *r)
{
    return r->fault.status;
}

const char *http_reader_reason(const struct http_reader *r)
{
    return r->fault.text ? r->fault.text : "";
}

bool http_reader_busy(const struct http_reader *r)
{
    return r->state != READ_HEAD || r->head.len > 0;
}
