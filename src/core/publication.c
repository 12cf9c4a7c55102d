#include "core/publication.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"

struct publication *publication_create(
    const struct publish_order *order, uint64_t hash, uint64_t time_ns)
{
    struct span name = order->name, payload = order->payload;

    if (payload.len > UINT32_MAX) {
        return NULL;
    }
    struct publication *pub = mem_try_alloc(sizeof(*pub) + name.len + payload.len);
    if (!pub) {
        return NULL;
    }
    *pub = (struct publication){
        .reply_id = order->reply_id,
        .refs = 1,
        .flags = order->flags,
        .once = {order->once[0], order->once[1]},
        .key = order->key,
        .epoch = order->numbered.epoch,
        .offset = order->numbered.offset,
        .hash = hash,
        .time_ns = time_ns,
        .payload_len = (uint32_t)payload.len,
        .name_len = (uint16_t)name.len,
    };
    memcpy(pub->bytes, name.data, name.len);
    if (payload.len) {
        memcpy(pub->bytes + name.len, payload.data, payload.len);
    }
    return pub;
}

void publication_unref(struct publication *pub)
{
    CHECK(pub->refs > 0);
    pub->refs -= 1;
    if (pub->refs == 0) {
        mem_free(pub);
    }
}
