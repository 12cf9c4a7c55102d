/* UTF-8: agrees with a decoder written from the definition, however the text is cut. */
#include "base/utf8.h"
#include "fuzz/fuzz.h"

/* Decodes by arithmetic and then asks whether the number was allowed and shortest. */
static bool reference(const uint8_t *data, size_t len)
{
    static const uint32_t lowest[5] = {0, 0, 0x80, 0x800, 0x10000};

    for (size_t at = 0; at < len;) {
        uint8_t first = data[at];
        size_t count = first < 0x80             ? 1
                       : (first & 0xe0) == 0xc0 ? 2
                       : (first & 0xf0) == 0xe0 ? 3
                       : (first & 0xf8) == 0xf0 ? 4
                                                : 0;
        if (count == 0 || count > len - at) {
            return false;
        }
        uint32_t code = count == 1 ? first : first & (0xffu >> (count + 1));
        for (size_t i = 1; i < count; i++) {
            if ((data[at + i] & 0xc0) != 0x80) {
                return false;
            }
            code = code << 6 | (data[at + i] & 0x3f);
        }
        if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff) || code < lowest[count]) {
            return false;
        }
        uint8_t again[4];
        CHECK(utf8_char_len(data + at, len - at) == count);
        CHECK(utf8_encode(code, again) == count && memcmp(again, data + at, count) == 0);
        at += count;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool valid = reference(data, size);

    CHECK(utf8_valid(data, size) == valid);
    for (int how = FUZZ_WHOLE; how <= FUZZ_RANDOM; how++) {
        struct fuzz_cuts cuts = fuzz_cuts_of(how, size);
        struct utf8_state state = {0};
        bool ok = true;
        for (size_t at = 0; at < size;) {
            size_t piece = fuzz_piece(&cuts, size - at);
            bool fed = utf8_feed(&state, data + at, piece);
            CHECK(!fed || ok); /* Once wrong, always wrong. */
            ok = fed;
            at += piece;
        }
        CHECK((ok && utf8_done(&state)) == valid);
    }
    return 0;
}
