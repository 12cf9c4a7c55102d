/* What Redis says to the coordinator's store: a commit's outcome, lists, definitions, entries of streams,
 * errors. What is accepted must lie within the reply, and numbers within their bounds. */
#include <errno.h>

#include "base/check.h"
#include "base/mem.h"
#include "link/redis_flow_reply.h"
#include "link/redis_resp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_within(struct span part, struct span whole)
{
    CHECK(part.len == 0 ||
          (part.data >= whole.data && part.data + part.len <= whole.data + whole.len));
}

static void check_entries(struct span reply)
{
    struct redis_entries entries;
    struct redis_entry entry;
    size_t count = 0;
    int r;

    if (redis_entries_begin(reply, &entries) != 0) {
        return;
    }
    size_t most = entries.left;
    while ((r = redis_entries_next(&entries, span_str("token"), &entry)) == 1) {
        count += 1;
        check_within(entry.id, reply);
        check_within(entry.value, reply);
        CHECK(entry.ms < 1ull << 53 && entry.seq < 1ull << 53);
        CHECK(!entry.gone || !entry.found);
    }
    CHECK(count <= most && (r != 0 || count == most));
}

static void check_items(struct span reply)
{
    struct span rest = reply;
    struct resp_item item;

    while (resp_next(&rest, &item)) {
        check_within(item.text, reply);
        check_within(rest, reply);
    }
}

/* Only whole replies that were judged come that far. */
static void check_reply(struct span reply)
{
    struct resp_scan scan = {0};
    struct span *words = NULL;
    uint64_t version;
    size_t used, count;

    if (resp_scan(&scan, reply, &used) != 1) {
        return;
    }
    reply.len = used;
    check_items(reply);
    if (reply.data[0] == '-') {
        int err = redis_flow_error(reply);
        CHECK(err == -EAGAIN || err == -ENOSPC || err == -ESRCH || err == -EEXIST ||
              err == -ENOTCONN || err == -EIO);
        return;
    }
    if (redis_flow_committed(reply, &version) == 0) {
        CHECK(version < 1ull << 53);
    }
    if (redis_flow_words(reply, &words, &count) == 0) {
        for (size_t i = 0; i < count; i++) {
            check_within(words[i], reply);
        }
        mem_free(words);
    }
    check_entries(reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span input = span_of(data, size);
    struct flow_shelf_item item;

    check_reply(input);
    if (redis_flow_shelved(input, &item) == 0) {
        check_within(item.body, input);
        CHECK(item.body.len > 0);
    }
    return 0;
}
