#include "link/redis_inbox.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

enum {
    CAP_START = 2 * REDIS_INBOX_ROOM,
    CAP_KEPT = 1024 * 1024, /* An empty inbox keeps so much for the next burst. */
    ROOM_MIN = REDIS_INBOX_ROOM / 4,
};

void redis_inbox_init(
    struct redis_inbox *inbox, size_t bytes_max, redis_inbox_drop_fn *drop, void *drop_ctx)
{
    CHECK(bytes_max >= REDIS_INBOX_ROOM);
    *inbox = (struct redis_inbox){.bytes_max = bytes_max, .drop = drop, .drop_ctx = drop_ctx};
}

void redis_inbox_fini(struct redis_inbox *inbox)
{
    mem_free(inbox->data);
    *inbox = (struct redis_inbox){0};
}

/* Moves what is kept to the start of the memory. */
static void compact(struct redis_inbox *inbox)
{
    size_t head = inbox->head;

    if (head == 0) {
        return;
    }
    memmove(inbox->data, inbox->data + head, inbox->len - head);
    inbox->head = 0;
    inbox->whole -= head;
    inbox->seen -= head;
    inbox->len -= head;
}

static void drop_oldest(struct redis_inbox *inbox, size_t bytes_left)
{
    struct span reply;

    while (redis_inbox_bytes(inbox) > bytes_left && redis_inbox_oldest(inbox, &reply)) {
        inbox->drop(inbox->drop_ctx, reply);
        inbox->head += reply.len;
    }
}

/* The half reply at the end is all there is, and fills the bound: let it pass by. */
static void pass_by(struct redis_inbox *inbox)
{
    inbox->passing_by = true;
    inbox->len = inbox->seen = inbox->whole;
}

static int grow(struct redis_inbox *inbox)
{
    size_t cap_max = inbox->bytes_max + inbox->bytes_max / 4 + REDIS_INBOX_ROOM;
    size_t cap = inbox->cap == 0 ? (size_t)CAP_START : inbox->cap * 2;

    cap = cap < cap_max ? cap : cap_max;
    if (cap <= inbox->cap) {
        return 0;
    }
    uint8_t *data = mem_try_realloc(inbox->data, cap);
    if (!data) {
        return -ENOMEM;
    }
    inbox->data = data;
    inbox->cap = cap;
    return 0;
}

int redis_inbox_room(struct redis_inbox *inbox, uint8_t **ret_room, size_t *ret_len)
{
    CHECK(inbox->seen == inbox->len);
    if (redis_inbox_bytes(inbox) > inbox->bytes_max - ROOM_MIN) {
        /* A quarter at once: the bytes behind are moved once for many replies, not for each. */
        drop_oldest(inbox, inbox->bytes_max - inbox->bytes_max / 4 - ROOM_MIN);
    }
    if (redis_inbox_bytes(inbox) > inbox->bytes_max - ROOM_MIN) {
        pass_by(inbox);
    }
    /* Moving costs a copy of what is kept, so it waits until a quarter as much was taken. */
    if (inbox->cap - inbox->len < ROOM_MIN && inbox->head >= redis_inbox_bytes(inbox) / 4) {
        compact(inbox);
    }
    if (inbox->cap - inbox->len < ROOM_MIN && grow(inbox) != 0) {
        return -ENOMEM;
    }
    if (inbox->cap - inbox->len < ROOM_MIN) {
        compact(inbox);
    }
    CHECK(inbox->cap - inbox->len >= ROOM_MIN);
    size_t bound = inbox->bytes_max - redis_inbox_bytes(inbox);
    *ret_room = inbox->data + inbox->len;
    *ret_len = inbox->cap - inbox->len < bound ? inbox->cap - inbox->len : bound;
    return 0;
}

void redis_inbox_filled(struct redis_inbox *inbox, size_t len)
{
    CHECK(len <= inbox->cap - inbox->len);
    inbox->len += len;
}

/* The bytes of a reply that passes by, as far as they have come, make room for the next. */
static void forget_passed(struct redis_inbox *inbox)
{
    memmove(inbox->data + inbox->whole, inbox->data + inbox->seen, inbox->len - inbox->seen);
    inbox->len -= inbox->seen - inbox->whole;
    inbox->seen = inbox->whole;
}

int redis_inbox_new(struct redis_inbox *inbox, struct span *ret_reply)
{
    while (inbox->seen < inbox->len) {
        struct span rest = span_of(inbox->data + inbox->seen, inbox->len - inbox->seen);
        size_t used;
        int r = resp_scan(&inbox->scan, rest, &used);
        if (r < 0) {
            return r;
        }
        inbox->seen += used;
        if (inbox->passing_by) {
            forget_passed(inbox);
            inbox->passing_by = r == 0;
            inbox->passed_count += r == 1;
        } else if (r == 1) {
            *ret_reply = span_of(inbox->data + inbox->whole, inbox->seen - inbox->whole);
            inbox->whole = inbox->seen;
            return 1;
        }
    }
    return 0;
}

bool redis_inbox_oldest(const struct redis_inbox *inbox, struct span *ret_reply)
{
    struct resp_scan scan = {0};
    size_t used = 0;

    if (inbox->head == inbox->whole) {
        return false;
    }
    struct span rest = span_of(inbox->data + inbox->head, inbox->whole - inbox->head);
    int r = resp_scan(&scan, rest, &used);
    CHECK(r == 1); /* It was judged when it came. */
    *ret_reply = span_of(rest.data, used);
    return true;
}

void redis_inbox_pop(struct redis_inbox *inbox, struct span reply)
{
    CHECK(reply.data == inbox->data + inbox->head && reply.len <= inbox->whole - inbox->head);
    inbox->head += reply.len;
    if (inbox->head < inbox->len) {
        return;
    }
    inbox->head = inbox->whole = inbox->seen = inbox->len = 0;
    if (inbox->cap > CAP_KEPT) {
        mem_free(inbox->data);
        inbox->data = NULL;
        inbox->cap = 0;
    }
}

void redis_inbox_cut(struct redis_inbox *inbox)
{
    inbox->len = inbox->seen = inbox->whole;
    inbox->passing_by = false;
    inbox->scan = (struct resp_scan){0};
}

void redis_inbox_drop_all(struct redis_inbox *inbox)
{
    redis_inbox_cut(inbox);
    drop_oldest(inbox, 0);
    inbox->head = inbox->whole = inbox->seen = inbox->len = 0;
}
