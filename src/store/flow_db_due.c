/* A binary heap, the earliest first; each item knows its place, so that it can be taken out. */
#include <errno.h>

#include "base/mem.h"
#include "store/flow_db_own.h"

static void put(struct db_heap *heap, uint32_t place, struct db_due *due)
{
    heap->items[place - 1] = due;
    due->place = place;
}

static void rise(struct db_heap *heap, struct db_due *due)
{
    uint32_t place = due->place;

    while (place > 1 && heap->items[place / 2 - 1]->at_ms > due->at_ms) {
        put(heap, place, heap->items[place / 2 - 1]);
        place /= 2;
    }
    put(heap, place, due);
}

static void sink(struct db_heap *heap, struct db_due *due)
{
    uint32_t place = due->place;

    for (;;) {
        uint32_t child = place * 2;
        if (child > heap->count) {
            break;
        }
        if (child < heap->count && heap->items[child]->at_ms < heap->items[child - 1]->at_ms) {
            child += 1;
        }
        if (heap->items[child - 1]->at_ms >= due->at_ms) {
            break;
        }
        put(heap, place, heap->items[child - 1]);
        place = child;
    }
    put(heap, place, due);
}

int due_set(struct db_heap *heap, struct db_due *due, uint64_t at_ms)
{
    if (!due->place) {
        if (heap->count == heap->cap) {
            uint32_t cap = heap->cap ? heap->cap * 2 : 64;
            struct db_due **items = mem_try_realloc(heap->items, cap * sizeof(struct db_due *));
            if (!items) {
                return -ENOMEM;
            }
            heap->items = items;
            heap->cap = cap;
        }
        heap->count += 1;
        put(heap, heap->count, due);
    }
    due->at_ms = at_ms;
    rise(heap, due);
    sink(heap, due);
    return 0;
}

void due_unset(struct db_heap *heap, struct db_due *due)
{
    uint32_t place = due->place;

    if (!place) {
        return;
    }
    struct db_due *last = heap->items[heap->count - 1];
    heap->count -= 1;
    due->place = 0;
    if (last != due) {
        put(heap, place, last);
        rise(heap, last);
        sink(heap, last);
    }
}
