/* HTTP/1 responses: the same statuses, fields and bodies come out however the bytes are cut. The
 * first byte chooses whether a HEAD is being answered, and whether the peer closes at the end. */
#include "fuzz/fuzz.h"
#include "proto/http1_response.h"
#include "proto/ws_handshake.h"

static void note_head(struct bytes *record, const struct http_response *resp)
{
    static const uint8_t nonce[WS_NONCE_BYTES] = "the sample nonce";
    bool deflate;
    const char *reason;

    fuzz_note(record, "status", (uint64_t)resp->status, (struct span){0});
    fuzz_note(record, "length", resp->content_length, (struct span){0});
    fuzz_note(record, resp->keep_alive ? "keep" : "close", resp->minor, (struct span){0});
    fuzz_note(record, resp->upgrade ? "upgrade" : "stay", resp->chunked, (struct span){0});
    for (size_t i = 0; i < resp->header_count; i++) {
        fuzz_note(record, "name", i, resp->headers[i].name);
        fuzz_note(record, "value", i, resp->headers[i].value);
    }
    int err = ws_connect_check(resp, nonce, true, &deflate, &reason);
    fuzz_note(record, "websocket", err == 0, (struct span){0});
}

static void read_all(
    struct bytes *record, const uint8_t *data, size_t size, int how, bool no_body, bool close)
{
    struct fuzz_cuts cuts = fuzz_cuts_of(how, size);
    struct http_response_reader *r;
    struct bytes body = {0};
    size_t at = 0;
    int got = 0;

    CHECK(http_response_create(2048, 20, &r) == 0);
    http_response_reset(r, no_body);
    while (at < size && got >= 0) {
        size_t piece = fuzz_piece(&cuts, size - at);
        uint8_t *copy = fuzz_copy(data + at, piece);
        size_t done = 0;
        do {
            size_t used = 0;
            got = http_response_feed(r, copy + done, piece - done, &used);
            CHECK(used <= piece - done);
            done += used;
            if (got == HTTP_RESPONSE_HEAD) {
                note_head(record, http_response_of(r));
            } else if (got == HTTP_RESPONSE_BODY) {
                struct span part = http_response_of(r)->body;
                CHECK(part.len > 0 && bytes_append(&body, part.data, part.len) == 0);
            } else if (got == HTTP_RESPONSE_DONE) {
                fuzz_note(record, "done", at + done, span_of(body.data, body.len));
                body.len = 0;
                http_response_reset(r, no_body);
            }
        } while (got > 0 && (done < piece || got != HTTP_RESPONSE_DONE));
        CHECK(got != HTTP_RESPONSE_MORE || done == piece);
        mem_free(copy);
        at += done;
    }
    if (got < 0) {
        CHECK(http_response_reason(r)[0]);
        fuzz_note(record, "refused", 0, (struct span){0});
    } else if (close) {
        fuzz_note(record, "closed", http_response_finish(r) == HTTP_RESPONSE_DONE,
            span_of(body.data, body.len));
    }
    bytes_fini(&body);
    http_response_destroy(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes whole = {0}, cut = {0};

    if (size == 0) {
        return 0;
    }
    bool no_body = data[0] & 1;
    bool close = data[0] & 2;
    read_all(&whole, data + 1, size - 1, FUZZ_WHOLE, no_body, close);
    for (int how = FUZZ_BYTES; how <= FUZZ_RANDOM; how++) {
        cut.len = 0;
        read_all(&cut, data + 1, size - 1, how, no_body, close);
        fuzz_check_same(&whole, &cut);
    }
    bytes_fini(&whole);
    bytes_fini(&cut);
    return 0;
}
