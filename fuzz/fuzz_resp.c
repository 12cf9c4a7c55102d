/* RESP: what a Redis server (or whoever answers in its place) may send.
 *
 * Judged whole and byte by byte it must come out the same; what is accepted must be decodable, and
 * the in-place reader must agree with hiredis.
 */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>

#include "base/check.h"
#include "link/redis_resp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same_bytewise(struct span reply, int expected)
{
    struct resp_scan scan = {0};
    size_t used;
    int r = 0;

    for (size_t i = 0; i < reply.len; i++) {
        CHECK(r == 0);
        r = resp_scan(&scan, span_of(reply.data + i, 1), &used);
    }
    CHECK(r == expected);
}

static bool same_item(const struct redisReply *item, struct span view)
{
    char digits[32];

    switch (item->type) {
    case REDIS_REPLY_NIL:
        return view.data == NULL;
    case REDIS_REPLY_INTEGER:
        CHECK(view.len < sizeof(digits));
        memcpy(digits, view.data, view.len);
        digits[view.len] = '\0';
        return strtoll(digits, NULL, 10) == item->integer;
    default:
        return span_equal(view, span_of(item->str, (size_t)item->len));
    }
}

static void same_items(struct span reply)
{
    struct redisReply *decoded = NULL;
    struct span items[8];

    int r = resp_decode(reply, &decoded);
    CHECK(r == 0);
    int count = resp_flat(reply, items, COUNT_OF(items));
    CHECK(count == -EINVAL || decoded->type == REDIS_REPLY_ARRAY);
    CHECK(count == -EINVAL || (size_t)count == decoded->elements);
    for (int i = 0; i < count; i++) {
        CHECK(same_item(decoded->element[i], items[i]));
    }
    freeReplyObject(decoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct resp_scan scan = {0};
    size_t at = 0;

    while (at < size) {
        size_t used = 0;
        int r = resp_scan(&scan, span_of(data + at, size - at), &used);
        if (r <= 0) {
            break;
        }
        same_bytewise(span_of(data + at, used), 1);
        same_items(span_of(data + at, used));
        at += used;
    }
    return 0;
}
