#include "proto/http1_response.h"

#include <errno.h>

#include "base/mem.h"
#include "proto/http1_chunked.h"

enum { LIMIT_MAX = 1 << 30 };

enum state { READ_HEAD, READ_SIZED, READ_CHUNKED, READ_TO_CLOSE, READ_DONE, READ_FAILED };

struct http_response_reader {
    size_t head_bytes_max;
    uint32_t header_count_max;
    bool no_body;
    enum state state;
    uint64_t left; /* Bytes of a sized body still to come. */
    struct http1_fault fault;
    struct http1_scan scan;
    struct http1_chunked chunked;
    struct http_response resp;
    struct bytes head; /* The head: it is kept, because the body comes in later feeds. */
    struct http_header headers[];
};

int http_response_create(
    size_t head_bytes_max, uint32_t header_count_max, struct http_response_reader **ret_reader)
{
    if (head_bytes_max == 0 || head_bytes_max > LIMIT_MAX || header_count_max == 0 ||
        header_count_max > LIMIT_MAX / 64) {
        return -EINVAL;
    }
    struct http_response_reader *r = mem_try_alloc(
        sizeof(struct http_response_reader) + header_count_max * sizeof(struct http_header));
    if (!r) {
        return -ENOMEM;
    }
    *r = (struct http_response_reader){
        .head_bytes_max = head_bytes_max, .header_count_max = header_count_max};
    http_response_reset(r, false);
    *ret_reader = r;
    return 0;
}

void http_response_destroy(struct http_response_reader *r)
{
    if (r) {
        bytes_fini(&r->head);
        mem_free(r);
    }
}

void http_response_reset(struct http_response_reader *r, bool no_body)
{
    r->head.len = 0;
    r->no_body = no_body;
    r->state = READ_HEAD;
    r->left = 0;
    r->fault = (struct http1_fault){0};
    r->chunked = (struct http1_chunked){0};
    r->resp = (struct http_response){0};
    r->scan = (struct http1_scan){
        .bytes_max = r->head_bytes_max,
        .start_line_max = r->head_bytes_max,
        .lines_max = r->header_count_max,
    };
}

static int refuse(struct http_response_reader *r, const char *text)
{
    r->state = READ_FAILED;
    r->fault.text = text;
    return -EBADMSG;
}

/* How the body's length is known, in the order of RFC 9112, 6.3. */
static enum state body_state(const struct http_response_reader *r)
{
    int status = r->resp.status;

    if (r->no_body || status < 200 || status == 204 || status == 304) {
        return READ_DONE;
    }
    if (r->resp.chunked) {
        return READ_CHUNKED;
    }
    if (!r->resp.has_content_length) {
        return READ_TO_CLOSE;
    }
    return r->left > 0 ? READ_SIZED : READ_DONE;
}

static int read_head(struct http_response_reader *r)
{
    struct http1_head head = {.headers = r->headers, .header_max = r->header_count_max};
    struct http1_framing framing;

    if (http1_head_parse(&head, false, r->head.data, r->head.len, &r->fault) ||
        http1_framing_read(&framing, &head, &r->fault)) {
        return refuse(r, r->fault.text);
    }
    if (head.status < 100 || head.status > 599) {
        return refuse(r, "the status code is malformed");
    }
    r->resp = (struct http_response){
        .status = head.status,
        .minor = head.minor,
        .keep_alive = framing.keep_alive,
        .upgrade = framing.upgrade && head.status == 101,
        .chunked = framing.chunked,
        .has_content_length = framing.has_content_length,
        .content_length = framing.content_length,
        .header_count = head.header_count,
        .headers = r->headers,
    };
    r->left = framing.content_length;
    r->state = body_state(r);
    r->resp.keep_alive &= r->state != READ_TO_CLOSE && !r->resp.upgrade;
    return HTTP_RESPONSE_HEAD;
}

static int feed_head(
    struct http_response_reader *r, const uint8_t *data, size_t len, size_t *ret_used)
{
    size_t had = r->head.len;
    size_t room = r->head_bytes_max - had;

    if (bytes_append(&r->head, data, len < room ? len : room)) {
        r->state = READ_FAILED;
        r->fault.text = "there is no memory for the head";
        return -ENOMEM;
    }
    int64_t head_len = http1_scan_feed(&r->scan, r->head.data, r->head.len, &r->fault);
    if (head_len < 0) {
        return refuse(r, r->fault.text);
    }
    if (head_len == 0) {
        *ret_used = len;
        return HTTP_RESPONSE_MORE;
    }
    r->head.len = (size_t)head_len;
    *ret_used = r->head.len - had;
    return read_head(r);
}

static int feed_chunked(
    struct http_response_reader *r, const uint8_t *data, size_t len, size_t *ret_used)
{
    int got = http1_chunked_feed(&r->chunked, data, len, ret_used, &r->resp.body);

    if (got < 0) {
        return refuse(r, "the chunked body is malformed");
    }
    if (got == 1) {
        r->state = READ_DONE;
        return HTTP_RESPONSE_DONE;
    }
    return got == 2 ? HTTP_RESPONSE_BODY : HTTP_RESPONSE_MORE;
}

int http_response_feed(
    struct http_response_reader *r, const uint8_t *data, size_t len, size_t *ret_used)
{
    *ret_used = 0;
    r->resp.body = (struct span){0};
    if (r->state == READ_FAILED) {
        return -EBADMSG;
    }
    if (len == 0 || r->state == READ_DONE) {
        return r->state == READ_DONE ? HTTP_RESPONSE_DONE : HTTP_RESPONSE_MORE;
    }
    if (r->state == READ_HEAD) {
        return feed_head(r, data, len, ret_used);
    }
    if (r->state == READ_CHUNKED) {
        return feed_chunked(r, data, len, ret_used);
    }
    size_t take = len;
    if (r->state == READ_SIZED) {
        take = r->left < len ? (size_t)r->left : len;
        r->left -= take;
        r->state = r->left > 0 ? READ_SIZED : READ_DONE;
    }
    r->resp.body = span_of(data, take);
    *ret_used = take;
    return HTTP_RESPONSE_BODY;
}

int http_response_finish(struct http_response_reader *r)
{
    if (r->state == READ_DONE || r->state == READ_TO_CLOSE) {
        r->state = READ_DONE;
        return HTTP_RESPONSE_DONE;
    }
    return r->state == READ_FAILED ? -EBADMSG : refuse(r, "the connection closed too early");
}

const struct http_response *http_response_of(const struct http_response_reader *r)
{
    return &r->resp;
}

const char *http_response_reason(const struct http_response_reader *r)
{
    return r->fault.text ? r->fault.text : "";
}
