#include "core/subscriber.h"

#include <errno.h>

#include "base/check.h"
#include "base/mem.h"
#include "core/channel.h"
#include "core/outbox.h"
#include "core/shard.h"

struct subscription *subscriber_find(struct subscriber *sub, const struct class *class)
{
    for (uint32_t i = 0; i < sub->subscription_count; i++) {
        struct subscription *subscription = subscriber_at(sub, i);
        if (subscription->class == class) {
            return subscription;
        }
    }
    return NULL;
}

int subscriber_add(struct subscriber *sub, struct class *class, uint32_t index, uint32_t joined)
{
    uint32_t count = sub->subscription_count;

    if (count == UINT16_MAX) {
        return -EMFILE;
    }
    if (count > 0 && (!sub->more || sub->more->cap < count)) {
        uint32_t cap = sub->more ? sub->more->cap * 2 : 4;
        struct subscription_list *more =
            mem_try_realloc(sub->more, sizeof(*more) + cap * sizeof(struct subscription));
        if (!more) {
            return -ENOMEM;
        }
        more->cap = cap;
        sub->more = more;
    }
    sub->subscription_count += 1;
    *subscriber_at(sub, count) = (struct subscription){class, index, joined};
    shard_update_direct(sub);
    return 0;
}

/* The last one takes the place of the removed one; the list goes with the second last. */
void subscriber_remove(struct subscriber *sub, struct subscription *subscription)
{
    CHECK(sub->subscription_count > 0);
    struct subscription *last = subscriber_at(sub, sub->subscription_count - 1u);
    *subscription = *last;
    *last = (struct subscription){0};
    sub->subscription_count -= 1;
    if (sub->subscription_count <= 1) {
        mem_free(sub->more);
        sub->more = NULL;
    }
    shard_update_direct(sub);
}

struct books subscriber_books(const struct shard *shard, const struct subscriber *sub)
{
    struct books books = {.accepted = sub->accepted, .delivered = sub->delivered};

    for (uint32_t i = 0; i < sub->subscription_count; i++) {
        const struct subscription *s = subscriber_at((struct subscriber *)sub, i);
        books.accepted += class_distance(s->joined, s->class->published);
        books.pending += class_pending(s->class, s->index);
    }
    for (int i = 0; sub->dropped && i < DROP_REASONS; i++) {
        books.dropped[i] = sub->dropped[i];
    }
    books.queued = sub->outbox ? sub->outbox->messages : 0;
    return books;
}
