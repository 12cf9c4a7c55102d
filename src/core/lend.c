#include "core/lend.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "core/home.h"
#include "core/shard.h"

struct behind {
    uint64_t hash; /* First: this is a struct table_item. */
    uint64_t from, to;
    uint32_t count;
    uint16_t name_len;
    char name[];
};

static bool behind_equal(const struct table_item *item, const void *key)
{
    const struct behind *behind = (const struct behind *)item;
    return span_equal(span_of(behind->name, behind->name_len), *(const struct span *)key);
}

void lend_post(struct shard *shard, uint16_t to)
{
    struct mail_chunk *chunk = shard->peers[to].open;

    if (chunk) {
        shard->peers[to].open = NULL;
        shard_post(shard, to, &chunk->mail);
    }
}

static void post_behind(struct shard *shard, uint16_t to, const struct behind *behind)
{
    struct mail_behind *mail = mem_alloc(sizeof(*mail) + behind->name_len);

    *mail = (struct mail_behind){.mail = {.kind = MAIL_BEHIND},
        .hash = behind->hash,
        .from = behind->from,
        .to = behind->to,
        .count = behind->count,
        .name_len = behind->name_len};
    memcpy(mail->name, behind->name, behind->name_len);
    shard_post(shard, to, &mail->mail);
}

/* Past the bound the listener is told what it misses instead. */
static void note_behind(struct shard *shard, uint16_t to, const struct home *home, uint64_t offset)
{
    struct span name = home_name(home);
    struct table *table = &shard->peers[to].behind;
    struct behind *behind = (struct behind *)table_find(table, home->hash, behind_equal, &name);

    if (behind) {
        behind->to = offset;
        behind->count += 1;
        return;
    }
    behind = mem_alloc(sizeof(*behind) + name.len);
    *behind = (struct behind){
        .hash = home->hash, .from = offset, .to = offset, .count = 1, .name_len = home->name_len};
    memcpy(behind->name, name.data, name.len);
    if (table_add(table, (struct table_item *)behind) != 0) {
        post_behind(shard, to, behind); /* No room to gather more: told at once. */
        mem_free(behind);
    }
}

bool lend_is_behind(const struct shard *shard, uint16_t to)
{
    const struct peer_shard *peer = &shard->peers[to];
    return peer->behind.count || peer->in_flight > shard->settings->overload_bytes;
}

void lend_publication(
    struct shard *shard, uint16_t to, const struct home *home, struct publication *pub)
{
    struct peer_shard *peer = &shard->peers[to];

    if (!peer->open && !lend_is_behind(shard, to)) {
        peer->open = mem_try_alloc(sizeof(*peer->open));
        if (peer->open) {
            *peer->open = (struct mail_chunk){.mail = {.kind = MAIL_CHUNK}};
        }
    }
    if (!peer->open || lend_is_behind(shard, to)) {
        lend_post(shard, to);
        note_behind(shard, to, home, pub->offset);
        return;
    }
    struct mail_chunk *chunk = peer->open;
    pub->refs += 1;
    chunk->pubs[chunk->count++] = pub;
    chunk->bytes += publication_size(pub);
    peer->in_flight += publication_size(pub);
    if (chunk->count == CHUNK_PUBLICATIONS) {
        lend_post(shard, to);
    }
}

/* Half the bound is free again: say what was missed, and go on. */
static void report_behind(struct shard *shard, uint16_t to)
{
    struct peer_shard *peer = &shard->peers[to];
    size_t cursor = 0;
    struct behind *behind;

    while ((behind = (struct behind *)table_next(&peer->behind, &cursor))) {
        post_behind(shard, to, behind);
        mem_free(behind);
    }
    table_fini(&peer->behind);
}

static bool may_report(const struct shard *shard, uint16_t to)
{
    const struct peer_shard *peer = &shard->peers[to];
    return peer->behind.count && peer->in_flight <= shard->settings->overload_bytes / 2;
}

void lend_post_all(struct shard *shard)
{
    for (uint16_t to = 0; to < shard->settings->shard_count; to++) {
        lend_post(shard, to);
        if (may_report(shard, to)) {
            report_behind(shard, to); /* Nothing is out whose return would do it. */
        }
        uint64_t credit = shard->peers[to].credit;
        struct mail_credit *mail = credit ? mem_try_alloc(sizeof(*mail)) : NULL;
        if (mail) {
            *mail = (struct mail_credit){.mail = {.kind = MAIL_CREDIT}, .bytes = credit};
            shard->peers[to].credit = 0;
            shard_post(shard, to, &mail->mail);
        }
    }
}

void lend_chunk_back(struct shard *shard, struct mail_chunk *chunk)
{
    struct peer_shard *peer = &shard->peers[chunk->mail.from];

    CHECK(peer->in_flight >= chunk->bytes);
    peer->in_flight -= chunk->bytes;
    for (uint32_t i = 0; i < chunk->count; i++) {
        publication_unref(chunk->pubs[i]);
    }
    if (may_report(shard, chunk->mail.from)) {
        report_behind(shard, chunk->mail.from);
    }
    mem_free(chunk);
}

/* A listener that joins now has what was missed before in its replay, or asked for none of it. */
void lend_report(struct shard *shard, uint16_t to, const struct home *home)
{
    struct span name = home_name(home);
    struct table *table = &shard->peers[to].behind;
    struct behind *behind = (struct behind *)table_find(table, home->hash, behind_equal, &name);

    if (behind) {
        table_remove(table, (struct table_item *)behind);
        post_behind(shard, to, behind);
        mem_free(behind);
    }
}

void lend_fini(struct shard *shard)
{
    for (int to = 0; to < CORE_SHARDS_MAX; to++) {
        struct behind *behind;
        size_t cursor = 0;
        while ((behind = (struct behind *)table_next(&shard->peers[to].behind, &cursor))) {
            mem_free(behind);
        }
        table_fini(&shard->peers[to].behind);
        CHECK(!shard->peers[to].open);
    }
}
