#include "core/history.h"

static bool is_start(const struct history_bounds *bounds, uint64_t offset)
{
    uint64_t generation = history_generation(offset);

    return offset == history_start(generation) && generation > 0 &&
           generation <= bounds->generation;
}

bool history_continues(const struct history_bounds *bounds, struct cursor cursor)
{
    uint64_t offset = cursor.offset;

    if (cursor.epoch != bounds->epoch || offset < bounds->epoch_start || offset == 0) {
        return false;
    }
    if (bounds->found || offset == bounds->boundary) {
        return true;
    }
    /* A start that lies before the boundary has lost what was trimmed in between. */
    return is_start(bounds, offset) && offset > bounds->boundary && offset >= bounds->known_from;
}
