#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "link/redis_envelope.h"
#include "link/redis_link_own.h"
#include "rt/loop.h"

enum { SCRATCH_KEPT = 1024 * 1024 };

const char *redis_link_verb(const struct redis_link *link)
{
    return link->options.mode == REDIS_MODE_SHARDED ? "SPUBLISH" : "PUBLISH";
}

/* Appends the command and remembers who asked. Returns 0 or -ENOMEM, and then nothing changed. */
static int ask(struct redis_link *link, struct span redis_channel, struct span payload,
    struct redis_asked asked)
{
    struct bytes *out = &link->conns[REDIS_CMD].out;
    size_t len = out->len;
    const struct span args[] = {span_str(redis_link_verb(link)), redis_channel, payload};

    int r = redis_pending_reserve(&link->pending);
    r = r ? r : resp_command(out, args, COUNT_OF(args));
    if (r == 0) {
        asked.bytes = (uint32_t)(out->len - len);
        redis_pending_push(&link->pending, asked);
    }
    return r;
}

int redis_link_send_canary(struct redis_link *link)
{
    char number[24];
    uint64_t next = redis_canary_next(&link->canary, loop_now_ms(link->loop));

    snprintf(number, sizeof(number), "%llu", (unsigned long long)next);
    return ask(link, link->canary_channel, span_str(number),
        (struct redis_asked){.kind = REDIS_ASKED_CANARY});
}

int redis_link_wrap(struct redis_link *link, struct span channel, struct span from,
    enum redis_map_kind kind, struct span *payload)
{
    if (kind == REDIS_MAP_RAW) {
        return 0;
    }
    const uint8_t *colon = memchr(channel.data, ':', channel.len);
    CHECK(colon); /* redis_map_out() found the channel valid. */
    size_t head_len = (size_t)(colon - channel.data) + 1;
    struct span room = span_of(channel.data + head_len, channel.len - head_len);

    if (link->envelope.cap > SCRATCH_KEPT) {
        bytes_fini(&link->envelope);
    }
    link->envelope.len = 0;
    int r = redis_envelope_encode(&link->envelope, room, from, *payload);
    *payload = span_of(link->envelope.data, link->envelope.len);
    return r == -EILSEQ ? -EINVAL : r;
}

int redis_link_publish(struct redis_link *link, struct span channel, struct span from,
    struct span payload, uint64_t id)
{
    struct redis_name name;
    enum redis_map_kind kind;

    if (link->state != REDIS_UP) {
        return -ENOTCONN;
    }
    int r = redis_map_out(link->map, channel, &name, &kind);
    struct span redis_channel = span_of(name.text, name.len);
    if (r != 0 || redis_link_is_canary(redis_channel)) {
        return -EINVAL;
    }
    if (payload.len > link->options.publish_bytes) {
        return -EMSGSIZE;
    }
    if (link->pending.bytes + link->held_bytes > link->options.publish_bytes - payload.len) {
        link->stats.publish_busy += 1;
        return -EBUSY;
    }
    r = redis_link_wrap(link, channel, from, kind, &payload);
    return r ? r : ask(link, redis_channel, payload, (struct redis_asked){.id = id});
}

static void tell(struct redis_link *link, uint64_t id, int err, int64_t receivers, const char *why)
{
    *(err == 0 ? &link->stats.published : &link->stats.publish_failed) += 1;
    if (id != 0) {
        link->events.on_published(link->events.ctx, id, err, receivers, why);
    }
}

/* Digits that resp_scan() judged, so strtoll() meets no surprise. */
static int64_t read_integer(struct span reply)
{
    char digits[24] = "";
    size_t len = reply.len - 3;

    memcpy(digits, reply.data + 1, len < sizeof(digits) - 1 ? len : sizeof(digits) - 1);
    return strtoll(digits, NULL, 10);
}

static bool refused(struct redis_link *link, const struct redis_asked *asked, struct span reply)
{
    char why[REDIS_SENTENCE_MAX / 2];

    redis_error_sentence(reply, why, sizeof(why));
    if (asked->kind != REDIS_ASKED_CANARY) {
        bool denied = reply.len > 7 && memcmp(reply.data, "-NOPERM", 7) == 0;
        tell(link, asked->id, denied ? -EACCES : -EIO, -1, why);
        return true;
    }
    char sentence[REDIS_SENTENCE_MAX];
    snprintf(sentence, sizeof(sentence), "the canary cannot be published: %s", why);
    redis_link_fail(link, sentence);
    return false;
}

bool redis_link_answered(struct redis_link *link, struct span reply)
{
    struct redis_inbox *inbox = &link->inboxes[REDIS_CMD];
    struct redis_asked asked;

    if (!redis_pending_pop(&link->pending, &asked)) {
        redis_link_fail(link, "Redis answers what nobody asked");
        return false;
    }
    if (asked.kind >= REDIS_ASKED_SETUP) {
        if (!redis_link_script_answered(link, &asked, reply)) {
            return false;
        }
    } else if (reply.data[0] == '-') {
        if (!refused(link, &asked, reply)) {
            return false;
        }
    } else if (reply.data[0] != ':') {
        tell(link, asked.id, -EPROTO, -1, "Redis answers a publication with something strange");
        redis_link_fail(link, "Redis answers a publication with something strange");
        return false;
    } else if (asked.kind == REDIS_ASKED_PUBLISH) {
        tell(link, asked.id, 0, read_integer(reply), "");
    }
    redis_inbox_pop(inbox, reply);
    return true;
}

void redis_link_fail_pending(struct redis_link *link, const char *why)
{
    struct redis_asked asked;

    while (redis_pending_pop(&link->pending, &asked)) {
        if (asked.kind == REDIS_ASKED_PUBLISH) {
            tell(link, asked.id, -ECONNRESET, -1, why);
        } else if (asked.kind == REDIS_ASKED_CALL) {
            redis_link_fail_call(link, &asked, why);
        }
    }
    redis_link_fail_held(link, why);
}
