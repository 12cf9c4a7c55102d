#include "base/slab.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/poison.h"

void slab_init(struct slab *slab, uint32_t slot_size)
{
    *slab = (struct slab){.slot_size = slot_size};
}

void slab_fini(struct slab *slab)
{
    for (uint32_t i = 0; i < slab->chunk_count; i++) {
        UNPOISON(slab->chunks[i], (size_t)slab->slot_size * SLAB_CHUNK_SLOTS);
        mem_free(slab->chunks[i]);
    }
    mem_free(slab->chunks);
    mem_free(slab->free_list);
    *slab = (struct slab){0};
}

/* The free list can hold every slot, so slab_free() never needs memory. */
static int add_chunk(struct slab *slab)
{
    uint32_t slots = (slab->chunk_count + 1) * SLAB_CHUNK_SLOTS;
    if (slots > slab->free_cap) {
        uint32_t cap = slab->free_cap ? slab->free_cap * 2 : SLAB_CHUNK_SLOTS;
        uint8_t **chunks =
            mem_try_realloc(slab->chunks, (cap >> SLAB_CHUNK_BITS) * sizeof(*chunks));
        if (!chunks) {
            return -1;
        }
        slab->chunks = chunks;
        uint32_t *list = mem_try_realloc(slab->free_list, cap * sizeof(*list));
        if (!list) {
            return -1;
        }
        slab->free_list = list;
        slab->free_cap = cap;
    }
    uint8_t *chunk = mem_zalloc_aligned((size_t)slab->slot_size * SLAB_CHUNK_SLOTS);
    POISON(chunk, (size_t)slab->slot_size * SLAB_CHUNK_SLOTS);
    slab->chunks[slab->chunk_count++] = chunk;
    return 0;
}

uint32_t slab_alloc(struct slab *slab)
{
    uint32_t index;

    if (slab->free_count) {
        index = slab->free_list[--slab->free_count];
    } else {
        if (slab->high_count == slab->chunk_count * SLAB_CHUNK_SLOTS && add_chunk(slab) != 0) {
            return SLAB_NONE;
        }
        index = slab->high_count++;
    }
    void *slot = slab_at(slab, index);
    UNPOISON(slot, slab->slot_size);
    memset(slot, 0, slab->slot_size);
    slab->used_count += 1;
    return index;
}

void slab_free(struct slab *slab, uint32_t index)
{
    CHECK(index < slab->high_count && slab->free_count < slab->free_cap);
    POISON(slab_at(slab, index), slab->slot_size);
    slab->free_list[slab->free_count++] = index;
    slab->used_count -= 1;
}
