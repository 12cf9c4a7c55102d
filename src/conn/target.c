#include "conn/target.h"

#include <errno.h>
#include <stdio.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "core/bundle.h"
#include "core/filter.h"
#include "core/name.h"
#include "proto/url.h"

enum { CLIENT_ID_MAX = 255 };

static int fault(struct target *target, const char *where, const char *what)
{
    target->code = "bad_query";
    snprintf(target->why, sizeof(target->why), "%s: %s", where, what);
    return -EINVAL;
}

/* Decodes behind what `out` holds and says how long the new piece is. */
static int decode(struct target *target, const char *where, struct bytes *out, struct span raw)
{
    int err = url_decode_query(out, raw);
    return err == -EBADMSG ? fault(target, where, "a '%' must be followed by two hex digits") : err;
}

static int add_channel(
    struct target *target, const char *where, const char *prefix, struct span raw)
{
    uint32_t start = (uint32_t)target->names.len;

    if (target->count == target->cap) {
        uint32_t cap = target->cap ? target->cap * 2 : 1;
        struct target_channel *channels =
            mem_try_realloc(target->channels, cap * sizeof(*channels));
        if (!channels) {
            return -ENOMEM;
        }
        target->channels = channels;
        target->cap = cap;
    }
    int err = bytes_append_str(&target->names, prefix);
    err = err ? err : decode(target, where, &target->names, raw);
    if (err) {
        return err;
    }
    uint32_t len = (uint32_t)target->names.len - start;
    target->channels[target->count++] = (struct target_channel){.start = start, .len = len};
    struct span name = target_name(target, target->count - 1);
    const char *why = name_check(name);
    if (!why) {
        return 0;
    }
    size_t own = name.len - (prefix[0] ? strlen(prefix) : 0);
    if (prefix[0] && own == 0) {
        return fault(target, where, "is empty; say which, e.g. ?username=alice or ?room=lobby");
    }
    if (prefix[0] && own > NAME_REST_MAX) {
        return fault(target, where, "more than 255 bytes");
    }
    fault(target, where, why);
    target->code = "bad_channel";
    return -EINVAL;
}

static bool same_name(const struct target *target, uint32_t i, uint32_t j)
{
    return span_equal(target_name(target, i), target_name(target, j));
}

/* The n-th element of the list belongs to the n-th channel. */
void target_resume(struct target *target, struct span cursors)
{
    struct span rest = cursors;

    for (uint32_t i = 0; i < target->count; i++) {
        const uint8_t *comma = rest.len ? memchr(rest.data, ',', rest.len) : NULL;
        size_t len = comma ? (size_t)(comma - rest.data) : rest.len;
        target->channels[i].since = since_parse(span_of(rest.data, len));
        /* One cursor, or "begin", for all of them. */
        if (target->count > 1 && i == 0 && !comma && len) {
            bool all = target->channels[0].since.kind == SINCE_BEGIN;
            for (uint32_t j = 1; j < target->count; j++) {
                target->channels[j].since.kind = all ? SINCE_BEGIN : SINCE_BAD;
            }
            break;
        }
        rest = comma ? span_of(comma + 1, rest.len - len - 1) : span_of(rest.data, 0);
    }
}

static int read_since(struct target *target, struct span raw)
{
    struct bytes text = {0};
    int err = decode(target, "since", &text, raw);

    if (!err) {
        target_resume(target, span_of(text.data, text.len));
    }
    bytes_fini(&text);
    return err;
}

/* Given several times, they add up. */
static int read_types(struct target *target, struct span raw)
{
    int err = target->types.len ? bytes_append_byte(&target->types, ',') : 0;

    err = err ? err : decode(target, "types", &target->types, raw);
    if (err) {
        return err;
    }
    const char *why = filter_check(span_of(target->types.data, target->types.len));
    return why ? fault(target, "types", why) : 0;
}

static int read_batch_ms(struct target *target, struct span raw)
{
    int64_t ms;

    if (json_int64(raw, &ms) != 0 || ms < 0 || ms > BATCH_MS_MAX) {
        return fault(target, "batch_ms", "a number from 0 to 1000 is expected");
    }
    target->batch_ms = (uint16_t)ms;
    return 0;
}

static int read_parameter(struct target *target, struct span key, struct span value,
    struct span *ret_since, uint32_t *kinds)
{
    if (span_equal(key, span_str("username"))) {
        *kinds |= 1u << TARGET_USER;
        return add_channel(target, "username", "user:", value);
    }
    if (span_equal(key, span_str("room"))) {
        *kinds |= 1u << TARGET_ROOM;
        return add_channel(target, "room", "room:", value);
    }
    if (span_equal(key, span_str("channel"))) {
        *kinds |= 1u << TARGET_CHANNELS;
        return add_channel(target, "channel", "", value);
    }
    if (span_equal(key, span_str("client_id"))) {
        target->client_id.len = 0;
        return decode(target, "client_id", &target->client_id, value);
    }
    if (span_equal(key, span_str("since"))) {
        *ret_since = value;
    }
    if (span_equal(key, span_str("types"))) {
        return read_types(target, value);
    }
    if (span_equal(key, span_str("batch_ms"))) {
        return read_batch_ms(target, value);
    }
    return 0; /* Unknown parameters are somebody else's. */
}

int target_read(struct target *target, struct span query, uint32_t channels_max)
{
    struct span cursor = query, key, value, since = {0};
    uint32_t kinds = 0;

    while (url_query_next(&cursor, &key, &value)) {
        int err = read_parameter(target, key, value, &since, &kinds);
        if (err) {
            return err;
        }
        if (target->count > channels_max) {
            char what[40];
            snprintf(what, sizeof(what), "more than %u of them", channels_max);
            return fault(target, "channel", what);
        }
    }
    if (kinds & (kinds - 1)) {
        return fault(target, "query", "exactly one of username, room or channel is expected");
    }
    target->kind = kinds ? (uint8_t)__builtin_ctz(kinds) : TARGET_NONE;
    if (target->batch_ms && kinds && target->kind != TARGET_CHANNELS) {
        return fault(
            target, "batch_ms", "only with channel=; elsewhere each event comes by itself");
    }
    if (target->kind != TARGET_CHANNELS && target->count > 1) {
        return fault(target, "query", "username and room can be given once");
    }
    for (uint32_t i = 1; i < target->count; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (same_name(target, i, j)) {
                return fault(target, "channel", "the same channel is named twice");
            }
        }
    }
    if (target->client_id.len > CLIENT_ID_MAX ||
        !utf8_valid(target->client_id.data, target->client_id.len)) {
        return fault(target, "client_id", "UTF-8 of at most 255 bytes expected");
    }
    return read_since(target, since);
}

void target_fini(struct target *target)
{
    mem_free(target->channels);
    bytes_fini(&target->names);
    bytes_fini(&target->types);
    bytes_fini(&target->client_id);
}
