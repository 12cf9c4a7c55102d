/* HTTP/1 requests: a connection's bytes mean the same requests however they are cut, and llhttp,
 * given all at once, agrees about each one's end and body. */
#include <llhttp.h>

#include "fuzz/fuzz.h"
#include "proto/http1.h"
#include "proto/ws_handshake.h"

static const struct http_limits limits = {
    .head_bytes_max = 2048,
    .header_count_max = 20,
    .target_bytes_max = 256,
    .body_bytes_max = 512,
};

static void note_request(struct bytes *record, const struct http_request *req)
{
    fuzz_note(record, "method", req->method, req->method_name);
    fuzz_note(record, "target", req->minor, req->target);
    fuzz_note(record, "path", req->keep_alive, req->path);
    fuzz_note(record, "query", req->upgrade, req->query);
    fuzz_note(record, "host", req->chunked, req->host);
    fuzz_note(record, "body", req->content_length, req->body);
    for (size_t i = 0; i < req->header_count; i++) {
        fuzz_note(record, "name", req->expect_continue, req->headers[i].name);
        fuzz_note(record, "value", i, req->headers[i].value);
    }
}

static void check_request(const struct http_request *req)
{
    static const char *const protocols[] = {"fanout.v1"};
    struct ws_server_options options = {protocols, 1, 12};
    struct ws_upgrade upgrade;
    const char *reason;

    CHECK(req->path.len > 0 && (req->path.data[0] == '/' || req->path.data[0] == '*'));
    CHECK(req->minor == 0 || http_request_header(req, "host").data);
    CHECK(!req->chunked || req->content_length == 0);
    for (size_t i = 0; i < req->header_count; i++) {
        CHECK(http_is_token(req->headers[i].name));
        struct span value = req->headers[i].value;
        for (size_t j = 0; j < value.len; j++) {
            CHECK(value.data[j] >= 0x20 || value.data[j] == '\t');
        }
    }
    if (ws_upgrade_read(req, &options, &upgrade, &reason) == 0) {
        struct bytes out = {0};
        CHECK(req->upgrade && req->body.len == 0);
        CHECK(ws_upgrade_reply(&out, &upgrade, NULL, 0) == 0);
        bytes_fini(&out);
    }
}

/* Reads a connection to its end or first violation and notes all that comes out. */
static void read_all(struct bytes *record, const uint8_t *data, size_t size, int how)
{
    struct fuzz_cuts cuts = fuzz_cuts_of(how, size);
    struct http_reader *r;
    size_t at = 0;

    CHECK(http_reader_create(&limits, &r) == 0);
    while (at < size) {
        size_t piece = fuzz_piece(&cuts, size - at);
        uint8_t *copy = fuzz_copy(data + at, piece);
        size_t done = 0;
        int got = 0;
        do {
            size_t used = 0;
            got = http_reader_feed(r, copy + done, piece - done, &used);
            CHECK(used <= piece - done);
            done += used;
            if (got == HTTP_READER_REQUEST) {
                check_request(http_reader_request(r));
                note_request(record, http_reader_request(r));
                fuzz_note(record, "end", at + done, (struct span){0});
                http_reader_reset(r);
            }
        } while (got > 0 && done < piece);
        CHECK(got != HTTP_READER_MORE || done == piece);
        mem_free(copy);
        at += done;
        if (got < 0) {
            CHECK(http_reader_status(r) >= 400 && http_reader_reason(r)[0]);
            fuzz_note(record, "refused", (uint64_t)http_reader_status(r), (struct span){0});
            break;
        }
    }
    http_reader_destroy(r);
}

struct whole {
    struct bytes body;
    bool complete;
};

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    struct whole *whole = parser->data;
    CHECK(bytes_append(&whole->body, at, len) == 0);
    return 0;
}

static int on_message_complete(llhttp_t *parser)
{
    struct whole *whole = parser->data;
    whole->complete = true;
    return HPE_PAUSED;
}

/* What we accept as one request, the best-known parser must too, with the same end and body. */
static void compare(const uint8_t *data, size_t size)
{
    struct http_reader *r;
    size_t used, at = 0;
    int got;

    CHECK(http_reader_create(&limits, &r) == 0);
    do {
        got = http_reader_feed(r, data + at, size - at, &used);
        at += used;
    } while (got == HTTP_READER_HEAD && at < size);
    const struct http_request *req = http_reader_request(r);
    /* Of chunk extensions llhttp allows fewer; a CONNECT it ends at the head. */
    if (got == HTTP_READER_REQUEST && !memchr(data, ';', at)) {
        struct whole whole = {0};
        llhttp_settings_t settings = {
            .on_body = on_body, .on_message_complete = on_message_complete};
        llhttp_t parser;
        llhttp_init(&parser, HTTP_REQUEST, &settings);
        parser.data = &whole;
        llhttp_errno_t err = llhttp_execute(&parser, (const char *)data, at);
        CHECK(whole.complete && (err == HPE_PAUSED || err == HPE_PAUSED_UPGRADE));
        CHECK(llhttp_get_error_pos(&parser) == (const char *)data + at || req->upgrade);
        CHECK(span_equal(span_of(whole.body.data, whole.body.len), req->body));
        bytes_fini(&whole.body);
    }
    http_reader_destroy(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes whole = {0}, cut = {0};

    read_all(&whole, data, size, FUZZ_WHOLE);
    for (int how = FUZZ_BYTES; how <= FUZZ_RANDOM; how++) {
        cut.len = 0;
        read_all(&cut, data, size, how);
        fuzz_check_same(&whole, &cut);
    }
    bytes_fini(&whole);
    bytes_fini(&cut);
    if (size > 0) {
        compare(data, size);
    }
    return 0;
}
