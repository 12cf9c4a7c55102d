#include "core/conflation.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"

enum { CONFLATION_SLOTS_MIN = 16 };

static uint32_t find(const struct conflation *map, uint32_t key)
{
    uint32_t i = (key * 0x9e3779b1u) & map->mask;

    while (map->slots[i].key && map->slots[i].key != key) {
        i = (i + 1) & map->mask;
    }
    return i;
}

static int grow(struct conflation **map)
{
    uint32_t slots = *map ? ((*map)->mask + 1) * 2 : CONFLATION_SLOTS_MIN;
    struct conflation *bigger = mem_try_zalloc(sizeof(*bigger) + slots * sizeof(bigger->slots[0]));

    if (!bigger) {
        return -ENOMEM;
    }
    bigger->mask = slots - 1;
    for (uint32_t i = 0; *map && i <= (*map)->mask; i++) {
        if ((*map)->slots[i].key) {
            bigger->slots[find(bigger, (*map)->slots[i].key)] = (*map)->slots[i];
            bigger->count += 1;
        }
    }
    mem_free(*map);
    *map = bigger;
    return 0;
}

int conflation_put(struct conflation **map, uint32_t key, uint32_t run, uint32_t *ret_old)
{
    if (!*map || (*map)->count + 1 > ((*map)->mask + 1) / 4 * 3) {
        int err = grow(map);
        if (err) {
            return err;
        }
    }
    uint32_t i = find(*map, key);
    int found = (*map)->slots[i].key != 0;
    if (found) {
        *ret_old = (*map)->slots[i].run;
    } else {
        (*map)->count += 1;
    }
    (*map)->slots[i].key = key;
    (*map)->slots[i].run = run;
    return found;
}

void conflation_clear(struct conflation *map)
{
    memset(map->slots, 0, (map->mask + 1) * sizeof(map->slots[0]));
    map->count = 0;
}
