#include "core/followers.h"

#include <errno.h>

#include "base/check.h"
#include "base/mem.h"
#include "core/publication.h"

static bool equal(const struct table_item *item, const void *key)
{
    return ((const struct follower *)item)->rest == ((const uint64_t *)key)[1];
}

static struct follower *find(const struct followers *followers, const uint64_t key[2])
{
    return (struct follower *)table_find(&followers->keys, key[0], equal, key);
}

int followers_add(struct followers *followers, const struct publication *pub)
{
    struct follower *first = find(followers, pub->once);

    if (followers->count == FOLLOWERS_MAX) {
        return -EBUSY;
    }
    struct follower *follower = mem_try_alloc(sizeof(*follower));
    if (!follower) {
        return -ENOMEM;
    }
    *follower = (struct follower){.hash = pub->once[0],
        .rest = pub->once[1],
        .reply_id = pub->reply_id,
        .from = pub->mail.from};
    if (first) {
        follower->next = first->next;
        first->next = follower;
    } else if (table_add(&followers->keys, (struct table_item *)follower) != 0) {
        mem_free(follower);
        return -ENOMEM;
    }
    followers->count += 1;
    return 0;
}

struct follower *followers_take(struct followers *followers, const uint64_t key[2])
{
    struct follower *first = followers->count ? find(followers, key) : NULL;

    if (first) {
        table_remove(&followers->keys, (struct table_item *)first);
    }
    for (struct follower *follower = first; follower; follower = follower->next) {
        followers->count -= 1;
    }
    return first;
}

void followers_fini(struct followers *followers)
{
    CHECK(followers->count == 0);
    table_fini(&followers->keys);
}
