#include "link/redis_subs.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "link/redis_resp.h"

enum sub_state { SUB_QUEUED, SUB_SENT, SUB_LIVE, SUB_LINGER, SUB_LEAVING };

struct redis_sub {
    struct table_item item;
    struct redis_sub *next, *prev; /* In the list of its state, if that has one. */
    uint64_t linger_end_ms;
    uint8_t state;
    bool wanted;
    bool restoring; /* Counted in restore_left. */
    size_t name_len;
    char name[];
};

static void list_push(struct redis_sub_list *list, struct redis_sub *sub)
{
    sub->next = NULL;
    sub->prev = list->last;
    *(list->last ? &list->last->next : &list->first) = sub;
    list->last = sub;
}

static void list_remove(struct redis_sub_list *list, struct redis_sub *sub)
{
    *(sub->prev ? &sub->prev->next : &list->first) = sub->next;
    *(sub->next ? &sub->next->prev : &list->last) = sub->prev;
    sub->next = sub->prev = NULL;
}

/* How many there are of a state; lingering ones are live. */
static size_t *state_count(struct redis_subs *subs, uint8_t state)
{
    switch ((enum sub_state)state) {
    case SUB_QUEUED:
        return &subs->queued_count;
    case SUB_SENT:
        return &subs->sent_count;
    case SUB_LEAVING:
        return &subs->leaving_count;
    case SUB_LIVE:
    case SUB_LINGER:
        break;
    }
    return &subs->live_count;
}

static struct redis_sub_list *state_list(struct redis_subs *subs, uint8_t state)
{
    return state == SUB_QUEUED ? &subs->queued : state == SUB_LINGER ? &subs->lingering : NULL;
}

static void enter(struct redis_subs *subs, struct redis_sub *sub, enum sub_state state)
{
    struct redis_sub_list *list = state_list(subs, state);

    sub->state = (uint8_t)state;
    *state_count(subs, sub->state) += 1;
    if (list) {
        list_push(list, sub);
    }
}

static void leave(struct redis_subs *subs, struct redis_sub *sub)
{
    struct redis_sub_list *list = state_list(subs, sub->state);

    *state_count(subs, sub->state) -= 1;
    if (list) {
        list_remove(list, sub);
    }
}

static void move(struct redis_subs *subs, struct redis_sub *sub, enum sub_state state)
{
    leave(subs, sub);
    enter(subs, sub, state);
}

/* It needs no restoring any more: it is back, or nobody wants it. */
static void restored(struct redis_subs *subs, struct redis_sub *sub)
{
    subs->restore_left -= sub->restoring;
    sub->restoring = false;
}

static void forget(struct redis_subs *subs, struct redis_sub *sub)
{
    restored(subs, sub);
    leave(subs, sub);
    table_remove(&subs->table, &sub->item);
    mem_free(sub);
}

static bool sub_equal(const struct table_item *item, const void *key)
{
    const struct redis_sub *sub = CONTAINER_OF(item, struct redis_sub, item);
    return span_equal(span_of(sub->name, sub->name_len), *(const struct span *)key);
}

static struct redis_sub *find(const struct redis_subs *subs, struct span name, uint64_t *ret_hash)
{
    *ret_hash = hash_bytes(&subs->key, name.data, name.len);
    struct table_item *item = table_find(&subs->table, *ret_hash, sub_equal, &name);
    return item ? CONTAINER_OF(item, struct redis_sub, item) : NULL;
}

void redis_subs_init(
    struct redis_subs *subs, const struct hash_key *key, uint32_t linger_ms, bool sharded)
{
    *subs = (struct redis_subs){
        .key = *key,
        .linger_ms = linger_ms,
        .single = sharded,
        .subscribe_verb = sharded ? "SSUBSCRIBE" : "SUBSCRIBE",
        .unsubscribe_verb = sharded ? "SUNSUBSCRIBE" : "UNSUBSCRIBE",
    };
}

void redis_subs_fini(struct redis_subs *subs)
{
    struct table_item *item;
    size_t cursor = 0;

    while ((item = table_next(&subs->table, &cursor))) {
        mem_free(CONTAINER_OF(item, struct redis_sub, item));
    }
    table_fini(&subs->table);
}

int redis_subs_want(struct redis_subs *subs, struct span name)
{
    uint64_t hash;
    struct redis_sub *sub = find(subs, name, &hash);

    if (sub) {
        sub->wanted = true;
        if (sub->state == SUB_LINGER) {
            move(subs, sub, SUB_LIVE);
        }
        return sub->state == SUB_LIVE;
    }
    sub = mem_try_zalloc(sizeof(*sub) + name.len);
    if (!sub) {
        return -ENOMEM;
    }
    sub->item.hash = hash;
    sub->wanted = true;
    sub->name_len = name.len;
    memcpy(sub->name, name.data, name.len);
    int r = table_add(&subs->table, &sub->item);
    if (r != 0) {
        mem_free(sub);
        return r;
    }
    enter(subs, sub, SUB_QUEUED);
    return 0;
}

static void linger(struct redis_subs *subs, struct redis_sub *sub, uint64_t now_ms)
{
    sub->linger_end_ms = now_ms + subs->linger_ms;
    move(subs, sub, SUB_LINGER);
}

void redis_subs_unwant(struct redis_subs *subs, struct span name, uint64_t now_ms)
{
    uint64_t hash;
    struct redis_sub *sub = find(subs, name, &hash);

    if (!sub || !sub->wanted) {
        return;
    }
    sub->wanted = false;
    if (sub->state == SUB_QUEUED) {
        forget(subs, sub);
    } else if (sub->state == SUB_LIVE) {
        linger(subs, sub, now_ms);
    }
}

bool redis_subs_confirmed(struct redis_subs *subs, struct span name, uint64_t now_ms)
{
    uint64_t hash;
    struct redis_sub *sub = find(subs, name, &hash);

    if (!sub || sub->state != SUB_SENT) {
        return false;
    }
    restored(subs, sub);
    move(subs, sub, SUB_LIVE);
    if (!sub->wanted) {
        linger(subs, sub, now_ms);
        return false;
    }
    return true;
}

bool redis_subs_left(struct redis_subs *subs, struct span name)
{
    uint64_t hash;
    struct redis_sub *sub = find(subs, name, &hash);

    if (!sub || sub->state != SUB_LEAVING) {
        return !sub || !sub->wanted;
    }
    if (sub->wanted) {
        move(subs, sub, SUB_QUEUED);
    } else {
        forget(subs, sub);
    }
    return true;
}

void redis_subs_reset(struct redis_subs *subs)
{
    struct redis_sub_list unwanted = {0};
    struct table_item *item;
    size_t cursor = 0;

    subs->restore_left = 0;
    while ((item = table_next(&subs->table, &cursor))) {
        struct redis_sub *sub = CONTAINER_OF(item, struct redis_sub, item);
        leave(subs, sub);
        sub->restoring = sub->wanted;
        subs->restore_left += sub->wanted;
        /* Those to be forgotten pass through a list of their own: the table must stand still. */
        if (sub->wanted) {
            enter(subs, sub, SUB_QUEUED);
        } else {
            list_push(&unwanted, sub);
        }
    }
    while (unwanted.first) {
        struct redis_sub *sub = unwanted.first;
        list_remove(&unwanted, sub);
        table_remove(&subs->table, &sub->item);
        mem_free(sub);
    }
}

/* One command for the first subs of a list, which all move to another state. */
static int pump_list(struct redis_subs *subs, struct redis_sub_list *list, const char *verb,
    enum sub_state to, size_t count, struct bytes *out)
{
    struct span args[1 + REDIS_SUBS_CHUNK];
    struct redis_sub *sub = list->first;

    args[0] = span_str(verb);
    for (size_t i = 1; i <= count; i++) {
        args[i] = span_of(sub->name, sub->name_len);
        sub = sub->next;
    }
    int r = resp_command(out, args, 1 + count);
    for (size_t i = 0; r == 0 && i < count; i++) {
        move(subs, list->first, to);
    }
    return r;
}

static size_t window_left(const struct redis_subs *subs)
{
    size_t left = REDIS_SUBS_WINDOW - subs->sent_count - subs->leaving_count;
    size_t chunk = subs->single ? 1 : REDIS_SUBS_CHUNK;
    return left < chunk ? left : chunk;
}

static size_t count_ended(const struct redis_subs *subs, uint64_t now_ms, size_t max)
{
    size_t count = 0;

    for (const struct redis_sub *sub = subs->lingering.first;
         sub && sub->linger_end_ms <= now_ms && count < max; sub = sub->next) {
        count += 1;
    }
    return count;
}

int redis_subs_pump(struct redis_subs *subs, uint64_t now_ms, struct bytes *out)
{
    int r = 0;

    while (r == 0 && subs->queued_count > 0 && window_left(subs) > 0) {
        size_t room = window_left(subs);
        size_t count = subs->queued_count < room ? subs->queued_count : room;
        r = pump_list(subs, &subs->queued, subs->subscribe_verb, SUB_SENT, count, out);
    }
    while (r == 0 && window_left(subs) > 0) {
        size_t count = count_ended(subs, now_ms, window_left(subs));
        if (count == 0) {
            break;
        }
        r = pump_list(subs, &subs->lingering, subs->unsubscribe_verb, SUB_LEAVING, count, out);
    }
    return r;
}

uint64_t redis_subs_linger_end_ms(const struct redis_subs *subs)
{
    return subs->lingering.first ? subs->lingering.first->linger_end_ms : UINT64_MAX;
}
