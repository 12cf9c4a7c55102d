/* Compression: what is deflated inflates to itself; any other payload ends in a message within its
 * limit or in a close code; any offer is answered with terms that we would accept ourselves. The
 * first byte chooses a level, the second a window and a limit. */
#include <errno.h>

#include "fuzz/fuzz.h"
#include "proto/ws.h"
#include "proto/ws_deflate.h"

static void check_round_trip(int level, int window_bits, struct span message)
{
    struct ws_deflater *deflater;
    struct ws_inflater *inflater;
    struct bytes packed = {0}, plain = {0};

    CHECK(ws_deflater_create(level, window_bits, &deflater) == 0);
    CHECK(ws_inflater_create(&inflater) == 0);
    for (int again = 0; again < 2; again++) {
        packed.len = 0;
        plain.len = 0;
        CHECK(ws_deflate_message(deflater, message, &packed) == 0);
        struct span payload = span_of(packed.data, packed.len);
        CHECK(packed.len > 0);
        CHECK(ws_inflate_message(inflater, payload, message.len, &plain) == 0);
        CHECK(span_equal(span_of(plain.data, plain.len), message));
        if (message.len > 0) {
            plain.len = 0;
            CHECK(ws_inflate_message(inflater, payload, message.len - 1, &plain) ==
                  -WS_CODE_TOO_LARGE);
            CHECK(plain.len == 0);
        }
    }
    ws_deflater_destroy(deflater);
    ws_inflater_destroy(inflater);
    bytes_fini(&packed);
    bytes_fini(&plain);
}

static void check_inflate(size_t limit, struct span payload)
{
    struct ws_inflater *inflater;
    struct bytes plain = {0}, again = {0};

    CHECK(ws_inflater_create(&inflater) == 0);
    int err = ws_inflate_message(inflater, payload, limit, &plain);
    CHECK(err == 0 || err == -WS_CODE_BAD_DATA || err == -WS_CODE_TOO_LARGE);
    CHECK(plain.len <= limit && plain.cap <= 2 * limit + 64 && (!err || plain.len == 0));
    /* Nothing of a message reaches the next one. */
    CHECK(ws_inflate_message(inflater, payload, limit, &again) == err);
    fuzz_check_same(&plain, &again);
    ws_inflater_destroy(inflater);
    bytes_fini(&plain);
    bytes_fini(&again);
}

static void check_offer(uint8_t window_bits, struct span offer)
{
    struct ws_deflate_terms terms = {0};
    struct bytes answer = {0};

    ws_deflate_negotiate(&terms, offer, window_bits);
    CHECK(terms.server_max_window_bits == 0 || terms.server_max_window_bits == window_bits);
    if (terms.agreed) {
        CHECK(ws_deflate_answer(&answer, &terms) == 0);
        CHECK(ws_deflate_answer_ok(span_of(answer.data, answer.len)));
        struct ws_deflate_terms back = {0};
        ws_deflate_negotiate(&back, span_of(answer.data, answer.len), window_bits);
        CHECK(back.agreed && back.server_max_window_bits == terms.server_max_window_bits);
    }
    CHECK(!ws_deflate_answer_ok(offer) || terms.agreed || offer.len > 0);
    bytes_fini(&answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    struct span rest = span_of(data + 2, size - 2);
    uint8_t window_bits = 9 + data[1] % 7;
    check_round_trip(1 + data[0] % 9, window_bits, rest);
    check_inflate((size_t)data[1] << (data[0] % 10), rest);
    check_offer(window_bits, rest);
    return 0;
}
