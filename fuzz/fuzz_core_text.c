/* Cursors and channel names: any bytes are judged; what is written is read back. */
#include "core/cursor.h"
#include "core/name.h"
#include "fuzz/fuzz.h"

static void check_cursor(struct span text)
{
    struct since since = since_parse(text);
    char again[CURSOR_TEXT_MAX];

    if (since.kind != SINCE_CURSOR) {
        return;
    }
    CHECK(since.cursor.offset < 1ull << 53);
    size_t len = cursor_format(since.cursor, again);
    CHECK(len < sizeof(again) && strlen(again) == len && len <= text.len);
    struct since same = since_parse(span_of(again, len));
    CHECK(same.kind == SINCE_CURSOR && same.cursor.epoch == since.cursor.epoch &&
          same.cursor.offset == since.cursor.offset);
}

static void check_name(struct span name)
{
    struct span ns = name_namespace(name);

    CHECK(ns.len <= name.len);
    if (name_check(name)) {
        return;
    }
    CHECK(name.len <= NAME_MAX_BYTES && ns.len > 0 && name.data[ns.len] == ':');
    CHECK(!memchr(name.data, 0, name.len) && !memchr(name.data, '\n', name.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = fuzz_copy(data, size);

    check_cursor(span_of(copy, size));
    check_name(span_of(copy, size));
    mem_free(copy);
    return 0;
}
