/* Slab: slots of one size in chunks that never move, named by a 32-bit index.
 *
 * A name is half a pointer and survives export; a slot's address is stable until it is freed.
 * Chunks are cache-line aligned and kept until slab_fini(). Freed slots are reused last in, first
 * out, and are poisoned under AddressSanitizer. One thread.
 */
#ifndef BASE_SLAB_H
#define BASE_SLAB_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

enum { SLAB_CHUNK_BITS = 8, SLAB_CHUNK_SLOTS = 1 << SLAB_CHUNK_BITS };
#define SLAB_NONE UINT32_MAX

struct slab {
    uint8_t **chunks;
    uint32_t chunk_count;
    uint32_t slot_size;  /* Bytes. */
    uint32_t used_count; /* Slots handed out now. */
    uint32_t high_count; /* Slots ever handed out: indexes are below this. */
    uint32_t free_count;
    uint32_t free_cap;
    uint32_t *free_list;
};

void slab_init(struct slab *slab, uint32_t slot_size);
void slab_fini(struct slab *slab);

/* Gives a zeroed slot's index, or SLAB_NONE without memory. */
MUST_USE uint32_t slab_alloc(struct slab *slab);
void slab_free(struct slab *slab, uint32_t index);

/* The slot's address; index must be one that slab_alloc() gave. */
static inline void *slab_at(const struct slab *slab, uint32_t index)
{
    return slab->chunks[index >> SLAB_CHUNK_BITS] +
           (size_t)(index & (SLAB_CHUNK_SLOTS - 1)) * slab->slot_size;
}

#endif
