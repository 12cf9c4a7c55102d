/* Cursors, channel names and filters: any bytes are judged; what is written is read back. */
#include "core/cursor.h"
#include "core/filter.h"
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

/* The first line is a filter, the rest a payload. */
static void check_filter(struct span text)
{
    const uint8_t *end = memchr(text.data, '\n', text.len);
    struct span filter = span_of(text.data, end ? (size_t)(end - text.data) : text.len);
    struct span payload = end ? span_of(end + 1, text.len - filter.len - 1) : span_of(NULL, 0);
    struct bytes scratch = {0};

    if (filter_check(filter) == NULL) {
        struct span type = filter_type(payload, &scratch);
        bool passes = filter_match(filter, type);
        CHECK(!passes || (filter.len && type.len));
        if (filter.len && filter.data[filter.len - 1] != '*') {
            const uint8_t *comma = memrchr(filter.data, ',', filter.len);
            size_t at = comma ? (size_t)(comma + 1 - filter.data) : 0;
            CHECK(filter_match(filter, span_of(filter.data + at, filter.len - at)));
        }
    }
    bytes_fini(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = fuzz_copy(data, size);

    check_cursor(span_of(copy, size));
    check_name(span_of(copy, size));
    check_filter(span_of(copy, size));
    mem_free(copy);
    return 0;
}
