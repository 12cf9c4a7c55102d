#include "conn/positions.h"

#include <string.h>

#include "base/mem.h"
#include "conn/target.h"
#include "core/mail.h"
#include "core/shard.h"

enum { EXPORTED_BYTES_MIN = 22, POSITIONS_MAX = 1000 };

static struct positions *create(uint32_t count, size_t name_bytes)
{
    struct positions *positions =
        mem_try_zalloc(sizeof(*positions) + count * sizeof(positions->items[0]) + name_bytes);

    if (positions) {
        positions->names = (char *)&positions->items[count];
    }
    return positions;
}

static void add(struct positions *positions, const struct hash_key *key, struct span name)
{
    struct position *item = &positions->items[positions->count];
    const struct position *before = positions->count ? item - 1 : NULL;

    item->hash = hash_bytes(key, name.data, name.len);
    item->start = before ? before->start + before->len : 0;
    item->len = (uint16_t)name.len;
    memcpy(positions->names + item->start, name.data, name.len);
    positions->count += 1;
}

struct positions *positions_create(const struct hash_key *key, const struct target *target)
{
    struct positions *positions = create(target->count, target->names.len);

    for (uint32_t i = 0; positions && i < target->count; i++) {
        add(positions, key, target_name(target, i));
    }
    if (positions) {
        positions->unanswered = target->count;
    }
    return positions;
}

void positions_free(struct positions *positions)
{
    mem_free(positions);
}

struct position *positions_find(struct positions *positions, struct span name)
{
    for (uint32_t i = 0; i < positions->count; i++) {
        if (span_equal(positions_name(positions, i), name)) {
            return &positions->items[i];
        }
    }
    return NULL;
}

void positions_set(
    struct positions *positions, struct span name, uint8_t state, struct cursor cursor)
{
    struct position *item = positions_find(positions, name);

    if (!item) {
        return;
    }
    positions->unanswered -= !item->answered;
    positions->changed = true;
    item->answered = true;
    item->cursor = cursor;
    item->state = state > item->state ? state : item->state;
}

void positions_reach(struct positions *positions, uint64_t hash, uint64_t offset)
{
    for (uint32_t i = 0; i < positions->count; i++) {
        struct position *item = &positions->items[i];
        if (item->hash == hash) {
            positions->changed = positions->changed || offset > item->cursor.offset;
            item->cursor.offset = offset > item->cursor.offset ? offset : item->cursor.offset;
            return;
        }
    }
}

void positions_follow(
    struct positions *positions, const struct shard *shard, struct subscriber *sub)
{
    for (uint32_t i = 0; i < sub->subscription_count; i++) {
        uint64_t hash;
        struct cursor cursor;
        if (shard_place(shard, sub, i, &hash, &cursor)) {
            positions_reach(positions, hash, cursor.offset);
        }
    }
}

uint8_t positions_state(const struct positions *positions)
{
    uint8_t worst = SUBSCRIBE_LIVE;

    for (uint32_t i = 0; i < positions->count; i++) {
        worst = positions->items[i].state > worst ? positions->items[i].state : worst;
    }
    return worst;
}

int positions_append(struct bytes *out, const struct positions *positions)
{
    int err = 0;

    for (uint32_t i = 0; !err && i < positions->count; i++) {
        char cursor[CURSOR_TEXT_MAX];
        size_t len = cursor_format(positions->items[i].cursor, cursor);
        err = i ? bytes_append_byte(out, ',') : 0;
        err = err ? err : bytes_append(out, cursor, len);
    }
    return err;
}

/* ---- moving ---- */

void positions_export(const struct positions *positions, struct pack *out)
{
    pack_u32(out, positions->count);
    pack_u8(out, positions->changed);
    for (uint32_t i = 0; i < positions->count; i++) {
        const struct position *item = &positions->items[i];
        pack_span(out, positions_name(positions, i));
        pack_u64(out, item->cursor.epoch);
        pack_u64(out, item->cursor.offset);
        pack_u8(out, item->state);
        pack_u8(out, item->answered);
    }
}

static void import_item(
    struct positions *positions, const struct hash_key *key, struct span name, struct unpack *in)
{
    struct position *item = &positions->items[positions->count];

    add(positions, key, name);
    item->cursor.epoch = unpack_u64(in);
    item->cursor.offset = unpack_u64(in);
    item->state = unpack_u8(in);
    item->answered = unpack_u8(in);
    positions->unanswered += !item->answered;
    if (item->state > SUBSCRIBE_RESET) {
        unpack_fail(in);
    }
}

struct positions *positions_import(const struct hash_key *key, struct unpack *in)
{
    uint32_t count = unpack_count(in, EXPORTED_BYTES_MIN);
    bool changed = unpack_u8(in);
    size_t room = 0;

    if (!in->failed && (count == 0 || count > POSITIONS_MAX)) {
        unpack_fail(in);
    }
    struct unpack names = *in; /* Twice: the names stand together. */
    for (uint32_t i = 0; i < count && !names.failed; i++) {
        room += unpack_span(&names).len;
        unpack_u64(&names);
        unpack_u64(&names);
        unpack_u16(&names);
    }
    if (names.failed) {
        unpack_fail(in);
    }
    struct positions *positions = in->failed ? NULL : create(count, room);
    for (uint32_t i = 0; positions && i < count; i++) {
        import_item(positions, key, unpack_span(in), in);
    }
    if (positions) {
        positions->changed = changed;
    }
    if (in->failed) {
        positions_free(positions);
        return NULL;
    }
    return positions;
}
