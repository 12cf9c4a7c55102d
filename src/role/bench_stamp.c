#include "role/bench_stamp.h"

#include <stdio.h>
#include <string.h>

static const char MARK[] = "{\"ts\":";
enum { MARK_LEN = sizeof MARK - 1, SEARCH_MAX = 1024 };

size_t bench_stamp_write(const struct bench_stamp *stamp, size_t size, char *out)
{
    int len = snprintf(out, BENCH_STAMP_MAX, "{\"ts\":%llu,\"late\":%llu,\"seq\":%u,\"pub\":%u",
        (unsigned long long)stamp->due_ns, (unsigned long long)stamp->late_ns, stamp->seq,
        stamp->sender);
    static const char pad[] = ",\"pad\":\"";
    size_t at = (size_t)len;
    size_t least = at + sizeof pad - 1 + 2;

    if (size < least) {
        out[at++] = '}';
        return at;
    }
    memcpy(out + at, pad, sizeof pad - 1);
    memset(out + at + sizeof pad - 1, 'x', size - least);
    out[size - 2] = '"';
    out[size - 1] = '}';
    return size;
}

/* Reads digits up to something else. *at moves behind them. */
static inline uint64_t digits(const uint8_t **at, const uint8_t *end)
{
    uint64_t value = 0;

    for (; *at < end && (uint8_t)(**at - '0') < 10; ++*at) {
        value = value * 10 + (uint64_t)(**at - '0');
    }
    return value;
}

/* Moves behind the text when it stands here. */
static inline bool skip(const uint8_t **at, const uint8_t *end, const char *text, size_t len)
{
    if ((size_t)(end - *at) < len || memcmp(*at, text, len) != 0) {
        return false;
    }
    *at += len;
    return true;
}

#define SKIP(at, end, text) skip(at, end, text, sizeof(text) - 1)

bool bench_stamp_read(const uint8_t *data, size_t len, uint32_t *hint, struct bench_stamp *ret)
{
    const uint8_t *end = data + len, *at = data + *hint;

    if (UNLIKELY(*hint + (size_t)MARK_LEN > len || memcmp(at, MARK, MARK_LEN) != 0)) {
        at = memmem(data, len < SEARCH_MAX ? len : SEARCH_MAX, MARK, MARK_LEN);
        if (!at) {
            return false;
        }
        *hint = (uint32_t)(at - data);
    }
    at += MARK_LEN;
    ret->due_ns = digits(&at, end);
    if (!SKIP(&at, end, ",\"late\":")) {
        return false;
    }
    ret->late_ns = digits(&at, end);
    if (!SKIP(&at, end, ",\"seq\":")) {
        return false;
    }
    ret->seq = (uint32_t)digits(&at, end);
    if (!SKIP(&at, end, ",\"pub\":")) {
        return false;
    }
    ret->sender = (uint32_t)digits(&at, end);
    return true;
}
