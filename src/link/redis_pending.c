#include "link/redis_pending.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

enum { CAP_START = 64, CAP_KEPT = 4096 };

void redis_pending_fini(struct redis_pending *pending)
{
    mem_free(pending->ring);
    *pending = (struct redis_pending){0};
}

int redis_pending_reserve(struct redis_pending *pending)
{
    if (pending->count < pending->cap) {
        return 0;
    }
    size_t cap = pending->cap ? pending->cap * 2 : (size_t)CAP_START;
    struct redis_asked *ring = mem_try_alloc(cap * sizeof(*ring));
    if (!ring) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < pending->count; i++) {
        ring[i] = pending->ring[(pending->head + i) & (pending->cap - 1)];
    }
    mem_free(pending->ring);
    pending->ring = ring;
    pending->cap = cap;
    pending->head = 0;
    return 0;
}

void redis_pending_push(struct redis_pending *pending, struct redis_asked asked)
{
    CHECK(pending->count < pending->cap);
    pending->ring[(pending->head + pending->count) & (pending->cap - 1)] = asked;
    pending->count += 1;
    pending->bytes += asked.bytes;
}

bool redis_pending_pop(struct redis_pending *pending, struct redis_asked *ret_asked)
{
    if (pending->count == 0) {
        return false;
    }
    *ret_asked = pending->ring[pending->head];
    pending->head = (pending->head + 1) & (pending->cap - 1);
    pending->count -= 1;
    pending->bytes -= ret_asked->bytes;
    if (pending->count == 0 && pending->cap > CAP_KEPT) {
        redis_pending_fini(pending);
    }
    return true;
}
