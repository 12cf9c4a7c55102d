#include "tests/sim/ledger.h"

#include <string.h>

#include "base/check.h"
#include "base/json.h"
#include "core/cursor.h"

const char *const ledger_names[LEDGER_CHANNELS] = {"user:0", "user:1", "user:2", "room:0", "room:1",
    "room:2", "a:0", "a:1", "b:0", "b:1", "c:0", "c:1"};

int ledger_channel(struct span name)
{
    for (int i = 0; i < LEDGER_CHANNELS; i++) {
        if (span_equal(name, span_str(ledger_names[i]))) {
            return i;
        }
    }
    CHECK(!"a channel nobody published to");
    return -1;
}

void ledger_heard(struct ledger *ledger, int channel, uint64_t offset)
{
    struct ledger_channel *c = &ledger->channels[channel];

    CHECK(offset < LEDGER_OFFSETS_MAX);
    c->last = offset > c->last ? offset : c->last;
}

void ledger_learn(struct ledger *ledger, int channel, uint64_t offset, uint32_t event)
{
    struct ledger_channel *c = &ledger->channels[channel];

    CHECK(offset > 0 && offset < LEDGER_OFFSETS_MAX);
    CHECK(event > 0 && event < LEDGER_EVENTS_MAX && event <= ledger->next_event);
    CHECK(c->event_at[offset] == 0 || c->event_at[offset] == event);
    CHECK(c->offset_of[event] == 0 || c->offset_of[event] == offset);
    c->event_at[offset] = event;
    c->offset_of[event] = (uint32_t)offset;
    ledger_heard(ledger, channel, offset);
}

uint64_t ledger_cursor(struct ledger *ledger, struct span text)
{
    struct since since = since_parse(text);

    CHECK(since.kind == SINCE_CURSOR);
    CHECK(ledger->epoch == 0 || ledger->epoch == since.cursor.epoch);
    ledger->epoch = since.cursor.epoch;
    return since.cursor.offset;
}

uint32_t ledger_payload(struct ledger *ledger, uint32_t key, uint32_t padding, struct bytes *out)
{
    uint32_t event = ++ledger->next_event;

    CHECK(event < LEDGER_EVENTS_MAX);
    int err = bytes_appendf(out, "{\"n\":%u,\"k\":%u,\"type\":\"t%u\",\"p\":\"", event, key, key);
    for (uint32_t i = 0; i < padding; i++) {
        err = err ? err : bytes_append_byte(out, (uint8_t)('a' + (event + i * i) % 26));
    }
    err = err ? err : bytes_append_str(out, "\"}");
    CHECK(!err);
    return event;
}

static uint32_t number(struct span payload, const char *name)
{
    const struct span key = span_str(name);
    struct span value;
    int64_t number = 0;

    CHECK(json_find_members(payload.data, payload.len, &key, 1, &value) == 0);
    CHECK(json_int64(value, &number) == 0);
    return (uint32_t)number;
}

uint32_t ledger_event(struct span payload)
{
    return number(payload, "n");
}

uint32_t ledger_key(struct span payload)
{
    return number(payload, "k");
}
