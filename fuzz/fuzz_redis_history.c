/* What comes from Redis about a shared history: a name, a message, an answer, a page. What is accepted
 * must be within bounds, and names must come out as they went in. */
#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "link/redis_history.h"
#include "link/redis_resp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OFFSET_MAX (1ull << 53)

static void check_name(struct span name)
{
    char channel[320];
    size_t len;
    struct redis_key key;

    if (redis_history_channel(name, channel, sizeof(channel), &len) == 0) {
        CHECK(len <= sizeof(channel));
        CHECK(redis_history_key(REDIS_KEY_PUB, span_of(channel, len), span_of(NULL, 0), &key) == 0);
        CHECK(span_equal(span_of(key.text, key.len), name));
    }
}

static void check_message(struct span message)
{
    struct redis_cursor cursor;
    struct span payload;

    if (redis_history_split(message, &cursor, &payload) == 0) {
        CHECK(cursor.epoch && cursor.offset && cursor.offset < OFFSET_MAX);
        CHECK(payload.data + payload.len == message.data + message.len);
    }
}

/* Only whole replies that were judged come that far. */
static void check_reply(struct span reply)
{
    static struct redis_page page;
    struct resp_scan scan = {0};
    struct redis_cursor cursor;
    size_t used;
    bool duplicate;

    if (resp_scan(&scan, reply, &used) != 1) {
        return;
    }
    reply.len = used;
    if (redis_history_answer(reply, &cursor, &duplicate) == 0) {
        CHECK(cursor.epoch && cursor.offset && cursor.offset < OFFSET_MAX);
    }
    if (redis_history_page(reply, &page) == 0) {
        CHECK(page.epoch && page.last < OFFSET_MAX && page.count <= REDIS_PAGE_EVENTS);
        for (uint32_t i = 0; i < page.count; i++) {
            const struct redis_event *event = &page.events[i];
            CHECK(event->offset <= page.last && event->offset >= page.first);
            CHECK(i == 0 || event->offset > page.events[i - 1].offset);
            CHECK(event->payload.len <= reply.len);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span input = span_of(data, size);

    check_name(input);
    check_message(input);
    check_reply(input);
    return 0;
}
