#include "core/holes.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "core/home.h"
#include "core/shard.h"

enum { MS = 1000000 };

struct hole {
    uint64_t hash; /* First: this is a struct table_item. The channel's. */
    uint64_t up_to;
    bool asked; /* A letter is at the store. */
    uint16_t name_len;
    char name[];
};

static bool equal(const struct table_item *item, const void *key)
{
    const struct hole *hole = (const struct hole *)item;
    return span_equal(span_of(hole->name, hole->name_len), *(const struct span *)key);
}

static struct hole *find(const struct shard *shard, uint64_t hash, struct span name)
{
    return (struct hole *)table_find(&shard->durable.holes.channels, hash, equal, &name);
}

/* Asks the store to forget. False: it takes no letter now. */
static bool ask(struct shard *shard, struct hole *hole)
{
    struct store_clear *clear = mem_try_zalloc(sizeof(*clear));

    if (!clear) {
        return false;
    }
    clear->letter.mail = (struct mail){.kind = MAIL_STORE_CLEAR, .from = shard->index};
    clear->up_to = hole->up_to;
    clear->name_len = hole->name_len;
    memcpy(clear->name, hole->name, hole->name_len);
    if (shard->durable.ports->clear(shard->durable.ports->ctx, clear) != 0) {
        mem_free(clear);
        return false;
    }
    hole->asked = true;
    shard->durable.letters += 1;
    return true;
}

static bool may_ask(const struct shard *shard)
{
    return shard->now_ns >= shard->durable.holes.ask_ns;
}

void holes_add(struct shard *shard, uint64_t hash, struct span name, uint64_t up_to)
{
    struct hole *hole = find(shard, hash, name);

    if (!hole) {
        hole = mem_alloc(sizeof(*hole) + name.len); /* Not to be forgotten, memory or not. */
        *hole = (struct hole){.hash = hash, .name_len = (uint16_t)name.len};
        memcpy(hole->name, name.data, name.len);
        if (table_add(&shard->durable.holes.channels, (struct table_item *)hole) != 0) {
            check_failed("there is memory for a table", __FILE__, __LINE__);
        }
    }
    hole->up_to = up_to > hole->up_to ? up_to : hole->up_to;
    if (!hole->asked && may_ask(shard)) {
        ask(shard, hole);
    }
}

bool holes_skips(const struct shard *shard, const struct home *home, uint64_t offset)
{
    const struct hole *hole =
        shard->durable.holes.channels.count ? find(shard, home->hash, home_name(home)) : NULL;

    return hole && offset < hole->up_to;
}

void holes_hope(struct shard *shard)
{
    shard->durable.holes.pause_ms = 0;
    shard->durable.holes.ask_ns = 0;
}

/* Of those that were asked together the first refusal counts. */
static void pause_asking(struct shard *shard)
{
    struct holes *holes = &shard->durable.holes;

    if (!may_ask(shard)) {
        return;
    }
    holes->pause_ms = holes->pause_ms ? 2 * holes->pause_ms : HOLES_PAUSE_MIN_MS;
    if (holes->pause_ms > HOLES_PAUSE_MAX_MS) {
        holes->pause_ms = HOLES_PAUSE_MAX_MS;
    }
    holes->ask_ns = shard->now_ns + holes->pause_ms * MS;
}

/* When the table's size changes in between, the walk starts over. */
void holes_tick(struct shard *shard)
{
    struct holes *holes = &shard->durable.holes;

    if (holes->channels.count == 0 || !may_ask(shard)) {
        return;
    }
    if (holes->mask != holes->channels.mask) {
        holes->mask = holes->channels.mask;
        holes->cursor = 0;
    }
    for (int i = 0; i < HOLES_TICK_MAX; i++) {
        struct hole *hole = (struct hole *)table_next(&holes->channels, &holes->cursor);
        if (!hole) {
            holes->cursor = 0;
            return;
        }
        if (!hole->asked && !ask(shard, hole)) {
            return;
        }
    }
}

void holes_hear_clear(struct shard *shard, struct mail *mail)
{
    struct store_clear *clear = (struct store_clear *)mail;
    struct span name = span_of(clear->name, clear->name_len);
    struct hole *hole = find(shard, shard_hash(shard, name), name);

    shard->durable.letters -= 1;
    if (clear->letter.err) {
        pause_asking(shard);
    } else {
        holes_hope(shard);
    }
    if (hole) {
        hole->asked = false;
        if (clear->letter.err == 0 && hole->up_to <= clear->up_to) {
            table_remove(&shard->durable.holes.channels, (struct table_item *)hole);
            mem_free(hole);
        }
    }
    mem_free(clear);
}

void holes_fini(struct holes *holes)
{
    size_t cursor = 0;
    struct table_item *hole;

    while ((hole = table_next(&holes->channels, &cursor))) {
        mem_free(hole);
    }
    table_fini(&holes->channels);
}
