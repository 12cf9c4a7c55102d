#include "role/listing_query.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "role/listing.h"

bool listing_hex(struct span text, uint64_t *ret_value)
{
    uint64_t value = 0;

    if (text.len == 0 || text.len > 16 || (text.len > 1 && text.data[0] == '0')) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        bool letter = c >= 'a' && c <= 'f';
        if (!letter && (c < '0' || c > '9')) {
            return false;
        }
        value = value << 4 | (uint64_t)(letter ? c - 'a' + 10 : c - '0');
    }
    *ret_value = value;
    return true;
}

void listing_token(uint8_t sort, struct listing_place place, char *out)
{
    if (sort == LISTING_BY_ID) {
        snprintf(out, LISTING_TOKEN_MAX, "%" PRIx64, place.id);
    } else {
        snprintf(out, LISTING_TOKEN_MAX, "%" PRIx64 "-%" PRIx64, place.rank, place.id);
    }
}

static bool read_after(struct listing_query *query, struct span token)
{
    const uint8_t *dash = memchr(token.data, '-', token.len);

    query->has_after = true;
    if (query->sort == LISTING_BY_ID) {
        return listing_hex(token, &query->after.id);
    }
    if (!dash) {
        return false;
    }
    size_t head = (size_t)(dash - token.data);
    return listing_hex(span_of(token.data, head), &query->after.rank) &&
           listing_hex(span_of(dash + 1, token.len - head - 1), &query->after.id);
}

static bool read_limit(struct listing_query *query, struct span text)
{
    uint32_t value = 0;

    if (text.len == 0 || text.len > 4) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (uint32_t)(text.data[i] - '0');
    }
    query->limit = value;
    return value >= 1 && value <= LISTING_ROWS_MAX;
}

static bool read_sort(struct listing_query *query, struct span text)
{
    static const char *const names[] = {
        [LISTING_BY_ID] = "id",
        [LISTING_BY_QUEUED] = "queued",
        [LISTING_BY_DROPPED] = "dropped",
        [LISTING_BY_AGE] = "age",
    };

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (span_equal(text, span_str(names[i]))) {
            query->sort = (uint8_t)i;
            return true;
        }
    }
    return false;
}

static void read_filter(struct listing_query *query, struct listing_text *text, struct span value)
{
    if (value.len > sizeof(text->data)) {
        query->nobody = true;
        return;
    }
    memcpy(text->data, value.data, value.len);
    text->len = (uint16_t)value.len;
}

/* One parameter that is there and not empty. */
static const char *read_one(struct listing_query *query, const char *name, struct span value)
{
    if (strcmp(name, "sort") == 0) {
        return read_sort(query, value) ? NULL : "queued, dropped, age or id is expected";
    }
    if (strcmp(name, "limit") == 0) {
        return read_limit(query, value) ? NULL : "a number from 1 to 1000 is expected";
    }
    if (strcmp(name, "after") == 0) {
        return read_after(query, value) ? NULL : "\"next\" of a page in the same order is expected";
    }
    read_filter(query,
        strcmp(name, "user") == 0      ? &query->user
        : strcmp(name, "channel") == 0 ? &query->channel
                                       : &query->address,
        value);
    return NULL;
}

int listing_query_read(
    struct listing_query *query, const struct http_exchange *x, char *why, size_t why_cap)
{
    /* sort first: it says how `after` is read. */
    static const char *const names[] = {"sort", "limit", "after", "user", "channel", "address"};
    struct bytes value = {0};
    int result = 0;

    *query = (struct listing_query){.limit = LISTING_ROWS_DEFAULT};
    for (size_t i = 0; result == 0 && i < COUNT_OF(names); i++) {
        value.len = 0;
        int got = http_query(x, names[i], &value);
        const char *fault = got == -EBADMSG ? "a '%' must be followed by two hex digits" : NULL;
        if (got == 1 && value.len) {
            fault = read_one(query, names[i], span_of(value.data, value.len));
        }
        if (fault) {
            snprintf(why, why_cap, "%s: %s", names[i], fault);
            result = -EINVAL;
        } else if (got < 0) {
            result = got;
        }
    }
    bytes_fini(&value);
    return result;
}
