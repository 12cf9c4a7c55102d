/* Messages of a shared history, and their twins.
 *
 * The script publishes an event twice: with its cursor for gateways, bare for everybody else. A script is
 * one step in Redis, so on one connection nothing can stand between the two: only the very next message
 * may be the twin, and it must say the same on the same channel. In exact and sharded mode a channel is
 * subscribed to by both names, and never by the bare one alone (redis_subs.h). */
#include <errno.h>
#include <string.h>

#include "base/hash.h"
#include "link/redis_link_own.h"

const char redis_history_pattern[] = "fanout:pub:*";

int redis_link_numbered(struct redis_link *link, struct span redis_channel, struct span message,
    struct redis_name *ret_channel, struct redis_cursor *ret_cursor, struct span *ret_payload)
{
    struct redis_name bare;
    enum redis_map_kind kind;

    int r = redis_history_channel(
        redis_channel, ret_channel->text, sizeof(ret_channel->text), &ret_channel->len);
    if (r != 0) {
        return r;
    }
    if (redis_map_out(link->map, span_of(ret_channel->text, ret_channel->len), &bare, &kind) != 0) {
        return -EINVAL; /* No channel of ours. */
    }
    return redis_history_split(message, ret_cursor, ret_payload);
}

struct span redis_link_bare_name(
    struct redis_link *link, struct span redis_channel, struct redis_name *ret_name)
{
    struct redis_name channel;
    enum redis_map_kind kind;

    if (link->options.history &&
        redis_history_channel(redis_channel, channel.text, sizeof(channel.text), &channel.len) ==
            0 &&
        redis_map_out(link->map, span_of(channel.text, channel.len), ret_name, &kind) == 0) {
        return span_of(ret_name->text, ret_name->len);
    }
    return redis_channel;
}

/* A keyed hash stands for the payload: it need not be kept, and nobody can make another with the same. */
void redis_link_expect_twin(struct redis_link *link, struct span channel, struct span payload)
{
    link->twin_due = true;
    link->twin_channel.len = channel.len;
    memcpy(link->twin_channel.text, channel.data, channel.len);
    link->twin_len = payload.len;
    link->twin_hash = hash_bytes(&link->twin_key, payload.data, payload.len);
}

bool redis_link_is_twin(struct redis_link *link, struct span channel, struct span payload)
{
    bool due = link->twin_due;

    link->twin_due = false;
    return due && payload.len == link->twin_len &&
           span_equal(channel, span_of(link->twin_channel.text, link->twin_channel.len)) &&
           hash_bytes(&link->twin_key, payload.data, payload.len) == link->twin_hash;
}
