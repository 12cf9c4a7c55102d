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
    bool restoring;      /* Counted in restore_left. */
    uint8_t unconfirmed; /* SENT, LEAVING: names that Redis has not confirmed. */
    size_t name_len, also_len;
    char name[]; /* And behind it the second name. */
};

static struct span also_of(const struct redis_sub *sub)
{
    return span_of(sub->name + sub->name_len, sub->also_len);
}

static uint8_t name_count(const struct redis_sub *sub)
{
    return sub->also_len ? 2 : 1;
}

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

int redis_subs_want(struct redis_subs *subs, struct span name, struct span also)
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
    sub = mem_try_zalloc(sizeof(*sub) + name.len + also.len);
    if (!sub) {
        return -ENOMEM;
    }
    sub->item.hash = hash;
    sub->wanted = true;
    sub->name_len = name.len;
    sub->also_len = also.len;
    memcpy(sub->name, name.data, name.len);
    if (also.len) {
        memcpy(sub->name + name.len, also.data, also.len);
    }
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

/* True: that was the last of its names. */
static bool all_confirmed(struct redis_subs *subs, struct redis_sub *sub)
{
    subs->unconfirmed -= 1;
    sub->unconfirmed -= 1;
    return sub->unconfirmed == 0;
}

bool redis_subs_confirmed(struct redis_subs *subs, struct span name, uint64_t now_ms)
{
    uint64_t hash;
    struct redis_sub *sub = find(subs, name, &hash);

    if (!sub || sub->state != SUB_SENT || !all_confirmed(subs, sub)) {
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
    if (!all_confirmed(subs, sub)) {
        return true;
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
    subs->unconfirmed = 0;
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

/* Of names that may go out in one command, at most. */
static size_t window_left(const struct redis_subs *subs)
{
    size_t left = REDIS_SUBS_WINDOW - subs->unconfirmed;
    return left < REDIS_SUBS_CHUNK ? left : REDIS_SUBS_CHUNK;
}

/* How many of the first subs of a list may go out, and with how many names. */
static size_t count_fitting(const struct redis_subs *subs, const struct redis_sub_list *list,
    uint64_t now_ms, size_t *ret_names)
{
    size_t count = 0, names = 0, most = subs->single ? 1 : SIZE_MAX;

    for (const struct redis_sub *sub = list->first; sub && count < most; sub = sub->next) {
        bool ended = sub->state != SUB_LINGER || sub->linger_end_ms <= now_ms;
        if (!ended || names + name_count(sub) > window_left(subs)) {
            break;
        }
        names += name_count(sub);
        count += 1;
    }
    *ret_names = names;
    return count;
}

/* The names go out in one command, or in one each. */
static int append_commands(
    const struct redis_subs *subs, const struct span *args, size_t name_count, struct bytes *out)
{
    int r = 0;

    if (!subs->single) {
        return resp_command(out, args, 1 + name_count);
    }
    for (size_t i = 0; r == 0 && i < name_count; i++) {
        const struct span alone[] = {args[0], args[1 + i]};
        r = resp_command(out, alone, COUNT_OF(alone));
    }
    return r;
}

/* The next subs of a list, which all move to another state. Returns how many; 0: none may; or -ENOMEM. */
static int pump_list(struct redis_subs *subs, struct redis_sub_list *list, const char *verb,
    enum sub_state to, uint64_t now_ms, struct bytes *out)
{
    struct span args[1 + REDIS_SUBS_CHUNK];
    size_t names, at = 1;
    size_t count = count_fitting(subs, list, now_ms, &names);
    struct redis_sub *sub = list->first;

    if (count == 0) {
        return 0;
    }
    args[0] = span_str(verb);
    for (size_t i = 0; i < count; i++) {
        struct span name = span_of(sub->name, sub->name_len);
        bool first = to == SUB_LEAVING || !sub->also_len;
        args[at++] = first ? name : also_of(sub);
        if (sub->also_len) {
            args[at++] = first ? also_of(sub) : name;
        }
        sub = sub->next;
    }
    int r = append_commands(subs, args, names, out);
    for (size_t i = 0; r == 0 && i < count; i++) {
        list->first->unconfirmed = name_count(list->first);
        move(subs, list->first, to);
    }
    subs->unconfirmed += r == 0 ? names : 0;
    return r ? r : (int)count;
}

int redis_subs_pump(struct redis_subs *subs, uint64_t now_ms, struct bytes *out)
{
    int r;

    do {
        r = pump_list(subs, &subs->queued, subs->subscribe_verb, SUB_SENT, now_ms, out);
    } while (r > 0);
    while (r >= 0 && (r = pump_list(subs, &subs->lingering, subs->unsubscribe_verb, SUB_LEAVING,
                          now_ms, out)) > 0) {
    }
    return r;
}

uint64_t redis_subs_linger_end_ms(const struct redis_subs *subs)
{
    return subs->lingering.first ? subs->lingering.first->linger_end_ms : UINT64_MAX;
}
