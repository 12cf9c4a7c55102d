#include "core/publication.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"

struct publication *publication_create(
    struct span name, uint64_t hash, struct span payload, uint64_t time_ns)
{
    if (payload.len > UINT32_MAX) {
        return NULL;
    }
    struct publication *pub = mem_try_alloc(sizeof(*pub) + name.len + payload.len);
    if (!pub) {
        return NULL;
    }
    *pub = (struct publication){
        .refs = 1,
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
