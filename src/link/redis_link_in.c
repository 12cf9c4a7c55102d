#include <errno.h>
#include <string.h>

#include "link/redis_envelope.h"
#include "link/redis_link_own.h"
#include "rt/loop.h"

enum {
    HAND_OVER_MAX = 4096,       /* Messages a turn, unless the inbox is a quarter full. */
    BUSY_RETRY_MS = 5,          /* A busy consumer is asked again after so long. */
    SCRATCH_KEPT = 1024 * 1024, /* Larger payloads do not keep their memory. */
};

enum heard {
    HEARD_MESSAGE,
    HEARD_SUBSCRIBED,
    HEARD_UNSUBSCRIBED,
    HEARD_PATTERN,
    HEARD_OTHER,
};

struct push {
    enum heard what;
    struct span channel, payload;
};

static const struct {
    const char *word;
    enum heard what;
    uint8_t item_count, channel_index;
} push_words[] = {
    {"message", HEARD_MESSAGE, 3, 1},
    {"pmessage", HEARD_MESSAGE, 4, 2},
    {"smessage", HEARD_MESSAGE, 3, 1},
    {"subscribe", HEARD_SUBSCRIBED, 3, 1},
    {"ssubscribe", HEARD_SUBSCRIBED, 3, 1},
    {"unsubscribe", HEARD_UNSUBSCRIBED, 3, 1},
    {"sunsubscribe", HEARD_UNSUBSCRIBED, 3, 1},
    {"psubscribe", HEARD_PATTERN, 3, 1},
};

/* Everything Redis says by itself is a flat list that begins with a word. */
static struct push read_push(struct span reply)
{
    struct push push = {.what = HEARD_OTHER};
    struct span items[4];

    int count = resp_flat(reply, items, COUNT_OF(items));
    for (size_t i = 0; count > 0 && i < COUNT_OF(push_words); i++) {
        if (count == push_words[i].item_count &&
            span_equal(items[0], span_str(push_words[i].word))) {
            push.what = push_words[i].what;
            push.channel = items[push_words[i].channel_index];
            push.payload = items[count - 1];
            break;
        }
    }
    return push;
}

bool redis_link_is_canary(struct span redis_channel)
{
    static const char reserved[] = "workflow:events:fanout-canary:";
    size_t len = sizeof(reserved) - 1;

    return redis_channel.len >= len && memcmp(redis_channel.data, reserved, len) == 0;
}

static void subscribed(struct redis_link *link, struct span redis_channel)
{
    struct redis_name channel, bare;
    enum redis_map_kind kind;
    uint64_t now_ms = loop_now_ms(link->loop);

    redis_channel = redis_link_bare_name(link, redis_channel, &bare);
    bool live = redis_subs_confirmed(&link->subs, redis_channel, now_ms);
    if (live && !redis_link_is_canary(redis_channel) &&
        redis_map_in(link->map, redis_channel, &channel, &kind) == 0) {
        link->events.on_live(link->events.ctx, span_of(channel.text, channel.len));
    }
}

static bool all_subscribed(const struct redis_link *link)
{
    return link->options.mode == REDIS_MODE_PATTERN
               ? link->pattern_count == redis_map_pattern_count(link->map) + link->options.history
               : redis_subs_restored(&link->subs);
}

static void canary_heard(struct redis_link *link, const struct push *push)
{
    if (link->phase < REDIS_PHASE_PROVING || !span_equal(push->channel, link->canary_channel) ||
        !redis_canary_came(&link->canary, push->payload, loop_now_ms(link->loop))) {
        return; /* Another gateway's, or of an earlier connection. */
    }
    if (link->phase == REDIS_PHASE_PROVING) {
        redis_link_came_up(link);
    }
}

/* Redis ended a subscription that we want, e.g. since its slot moved to another node. */
static bool unsubscribed(struct redis_link *link, struct span redis_channel)
{
    struct redis_name bare;

    if (redis_subs_left(&link->subs, redis_link_bare_name(link, redis_channel, &bare))) {
        return true;
    }
    redis_link_fail(link, "Redis ended a subscription by itself");
    return false;
}

bool redis_link_heard(struct redis_link *link, struct span reply)
{
    if (reply.data[0] == '-') {
        char why[REDIS_SENTENCE_MAX];
        redis_error_sentence(reply, why, sizeof(why));
        redis_link_fail(link, why);
        return false;
    }
    struct push push = read_push(reply);
    switch (push.what) {
    case HEARD_MESSAGE:
        if (redis_link_is_canary(push.channel)) {
            canary_heard(link, &push);
        }
        return true;
    case HEARD_SUBSCRIBED:
        subscribed(link, push.channel);
        break;
    case HEARD_PATTERN:
        link->pattern_count += 1;
        break;
    case HEARD_UNSUBSCRIBED:
        return unsubscribed(link, push.channel);
    case HEARD_OTHER:
        redis_link_fail(link, "Redis says something that is no part of Pub/Sub");
        return false;
    }
    if (link->phase == REDIS_PHASE_SUBSCRIBING) {
        redis_canary_alive(&link->canary, loop_now_ms(link->loop));
        if (all_subscribed(link)) {
            redis_link_prove(link);
        }
    }
    return true;
}

/* The channel of a message; false: it is no message for us. */
static bool find_channel(struct redis_link *link, const struct push *push,
    struct redis_name *ret_channel, enum redis_map_kind *ret_kind)
{
    if (push->what != HEARD_MESSAGE || redis_link_is_canary(push->channel)) {
        return false;
    }
    if (redis_map_in(link->map, push->channel, ret_channel, ret_kind) != 0) {
        link->stats.dropped_channel += 1;
        return false;
    }
    return true;
}

/* Takes the payload out of a room's envelope; false: it is malformed. */
static bool open_envelope(struct redis_link *link, struct span *payload)
{
    if (link->payload.cap > SCRATCH_KEPT) {
        bytes_fini(&link->payload);
    }
    link->payload.len = 0;
    if (redis_envelope_decode(*payload, &link->payload) != 0) {
        return false;
    }
    *payload = span_of(link->payload.data, link->payload.len);
    return true;
}

/* The channel of a message that is given up; false: nobody will miss it. */
static bool find_dropped(
    struct redis_link *link, const struct push *push, struct redis_name *ret_channel)
{
    struct redis_cursor cursor;
    enum redis_map_kind kind;
    struct span payload = push->payload;

    if (push->what == HEARD_MESSAGE && link->options.history) {
        int r =
            redis_link_numbered(link, push->channel, push->payload, ret_channel, &cursor, &payload);
        if (r == 0) {
            redis_link_expect_twin(link, span_of(ret_channel->text, ret_channel->len), payload);
        }
        if (r != -ENOENT) {
            return r == 0;
        }
    }
    if (!find_channel(link, push, ret_channel, &kind)) {
        return false;
    }
    return !link->twin_due || (kind == REDIS_MAP_ROOM && !open_envelope(link, &payload)) ||
           !redis_link_is_twin(link, span_of(ret_channel->text, ret_channel->len), payload);
}

void redis_link_dropped(void *ctx, struct span reply)
{
    struct redis_link *link = ctx;
    struct push push = read_push(reply);
    struct redis_name channel;

    if (find_dropped(link, &push, &channel)) {
        *(link->losing ? &link->stats.dropped_lost : &link->stats.dropped_full) += 1;
        if (!span_equal(span_of(channel.text, channel.len),
                span_of(link->drop_channel.text, link->drop_channel.len))) {
            redis_link_declare_drops(link);
            link->drop_channel.len = channel.len;
            memcpy(link->drop_channel.text, channel.text, channel.len);
        }
        link->drop_count += 1;
    }
}

void redis_link_declare_drops(struct redis_link *link)
{
    uint64_t count = link->drop_count;

    link->drop_count = 0;
    if (count > 0) {
        link->events.on_dropped(
            link->events.ctx, span_of(link->drop_channel.text, link->drop_channel.len), count);
    }
}

static void count_message(struct redis_link *link, struct span payload)
{
    link->stats.messages += 1;
    link->stats.message_bytes += payload.len;
}

/* A message of a shared history. Returns 1: taken; 0: the consumer is busy; -ENOENT: it is none. */
static int deliver_numbered(struct redis_link *link, const struct push *push)
{
    struct redis_name name;
    struct redis_cursor cursor;
    struct span payload;

    int r = redis_link_numbered(link, push->channel, push->payload, &name, &cursor, &payload);
    if (r == -EINVAL) {
        link->stats.dropped_malformed += 1;
        return 1;
    }
    if (r != 0) {
        return r;
    }
    struct span channel = span_of(name.text, name.len);
    if (!link->events.on_numbered(link->events.ctx, channel, payload, cursor)) {
        return 0;
    }
    redis_link_expect_twin(link, channel, payload);
    link->stats.history.numbered += 1;
    count_message(link, payload);
    return 1;
}

/* False: the consumer is busy. */
static bool deliver(struct redis_link *link, const struct push *push)
{
    struct span payload = push->payload;
    struct redis_name name;
    enum redis_map_kind kind;

    if (link->options.history && push->what == HEARD_MESSAGE) {
        int r = deliver_numbered(link, push);
        if (r != -ENOENT) {
            return r;
        }
    }
    if (!find_channel(link, push, &name, &kind)) {
        link->twin_due = false;
        return true;
    }
    if (kind == REDIS_MAP_ROOM && !open_envelope(link, &payload)) {
        link->stats.dropped_malformed += 1;
        link->twin_due = false;
        return true;
    }
    struct span channel = span_of(name.text, name.len);
    if (redis_link_is_twin(link, channel, payload)) {
        link->stats.history.twins += 1;
        return true;
    }
    if (!link->events.on_message(link->events.ctx, channel, payload)) {
        return false;
    }
    count_message(link, payload);
    return true;
}

/* Nothing to do in it: the turn that it causes asks the consumer again. */
static void busy_over(struct timer *timer, void *ctx)
{
    (void)timer;
    (void)ctx;
}

bool redis_link_hand_over(struct redis_link *link)
{
    struct redis_inbox *inbox = &link->inboxes[REDIS_SUB];
    bool *backlogged = &link->conns[REDIS_SUB].backlogged;
    struct span reply;

    redis_link_declare_drops(link);
    *backlogged = link->withhold;
    for (int i = 0; i < HAND_OVER_MAX || redis_inbox_bytes(inbox) > inbox->bytes_max / 4; i++) {
        if (link->withhold || !redis_inbox_oldest(inbox, &reply)) {
            return false;
        }
        struct push push = read_push(reply);
        if (!deliver(link, &push)) {
            *backlogged = true;
            timer_start(link->loop, &link->busy_timer, BUSY_RETRY_MS, busy_over, link);
            return false;
        }
        redis_inbox_pop(inbox, reply);
    }
    return redis_inbox_oldest(inbox, &reply);
}
