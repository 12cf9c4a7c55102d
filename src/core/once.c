#include "core/once.h"

#include "base/mem.h"

static bool equal(const struct table_item *item, const void *key)
{
    return ((const struct once_entry *)item)->rest == ((const uint64_t *)key)[1];
}

static void drop_oldest(struct once *once)
{
    struct once_entry *entry = once->oldest;

    once->oldest = entry->newer;
    if (!once->oldest) {
        once->newest = NULL;
    }
    table_remove(&once->entries, (struct table_item *)entry);
    mem_free(entry);
}

static void expire(struct once *once, uint64_t now_ns)
{
    /* As a sum: a turn's time may lie a little before that of an entry which a sweep has dated. */
    while (once->oldest && now_ns > once->oldest->time_ns + ONCE_AGE_NS) {
        drop_oldest(once);
    }
}

static struct once_entry *find(const struct once *once, const uint64_t key[2])
{
    return key[0] | key[1] ? (struct once_entry *)table_find(&once->entries, key[0], equal, key)
                           : NULL;
}

const struct once_entry *once_find(struct once *once, const uint64_t key[2], uint64_t now_ns)
{
    expire(once, now_ns);
    struct once_entry *entry = find(once, key);
    return entry && !entry->forgotten ? entry : NULL;
}

void once_set_open(struct once *once, const uint64_t key[2], bool open)
{
    struct once_entry *entry = find(once, key);

    if (entry) {
        entry->open = open;
    }
}

/* It stays in the queue, which has no way to the middle, and expires with its age. */
void once_forget(struct once *once, const uint64_t key[2])
{
    struct once_entry *entry = find(once, key);

    if (entry) {
        entry->forgotten = true;
    }
}

void once_add(struct once *once, const uint64_t key[2], uint64_t channel, uint64_t now_ns,
    struct cursor cursor)
{
    struct once_entry *entry = find(once, key);

    if (entry) { /* Forgotten, and used again. */
        entry->cursor = cursor;
        entry->forgotten = false;
        entry->open = false;
        return;
    }
    entry = key[0] | key[1] ? mem_try_alloc(sizeof(*entry)) : NULL;
    if (!entry) {
        return;
    }
    *entry = (struct once_entry){
        .hash = key[0], .rest = key[1], .channel = channel, .time_ns = now_ns, .cursor = cursor};
    if (table_add(&once->entries, (struct table_item *)entry) != 0) {
        mem_free(entry);
        return;
    }
    *(once->newest ? &once->newest->newer : &once->oldest) = entry;
    once->newest = entry;
    if (once->entries.count > ONCE_MAX) {
        drop_oldest(once);
    }
}

void once_fini(struct once *once)
{
    while (once->oldest) {
        drop_oldest(once);
    }
    table_fini(&once->entries);
}
