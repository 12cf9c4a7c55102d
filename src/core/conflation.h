/* Conflation: which waiting message carries which key, for one outbox.
 *
 * Maps a key's hash to the number of the run that holds its newest message. Numbers count runs ever
 * appended, so that the queue may move without touching the map; a number that is no longer queued
 * is stale and is overwritten.
 */
#ifndef CORE_CONFLATION_H
#define CORE_CONFLATION_H

#include <stdint.h>

#include "base/attr.h"

struct conflation {
    uint32_t mask; /* Slots - 1; a power of two. */
    uint32_t count;
    struct {
        uint32_t key; /* 0: empty. */
        uint32_t run;
    } slots[];
};

/* Notes that `run` is now the newest of `key` (not 0). Returns 1 and the former number in *ret_old
 * when there was one, 0 when not, -ENOMEM without room; *map may be NULL and may move. */
MUST_USE int conflation_put(struct conflation **map, uint32_t key, uint32_t run, uint32_t *ret_old);

/* Forgets all keys and keeps the room. */
void conflation_clear(struct conflation *map);

#endif
