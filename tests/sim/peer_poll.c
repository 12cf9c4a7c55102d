/* A client that polls and polls again, each time from the cursor of the last answer. */
#include <string.h>

#include "base/check.h"
#include "base/json.h"
#include "tests/sim/peer_own.h"

void peer_poll_ask(struct peer *peer)
{
    struct bytes out = {0};
    int err = bytes_append_str(&out, "GET /poll?x=1");

    if (!peer->poll.channels) {
        peer->poll.channels = 1u << peer_draw(peer, LEDGER_CHANNELS);
        peer->poll.channels |= peer_draw(peer, 2) ? 1u << peer_draw(peer, LEDGER_CHANNELS) : 0;
    }
    for (int i = 0; i < LEDGER_CHANNELS; i++) {
        if (peer->poll.channels >> i & 1) {
            err = err ? err : bytes_appendf(&out, "&channel=%s", ledger_names[i]);
        }
    }
    if (!peer->poll.from_cursor && !peer->poll.cursor.len && peer_draw(peer, 3) == 0) {
        peer->only = 1 + (uint32_t)peer_draw(peer, 3); /* From the first poll on. */
        for (int i = 0; i < LEDGER_CHANNELS; i++) {
            peer->follows[i].skips = true;
        }
    }
    if (peer->only) {
        err = err ? err : bytes_appendf(&out, "&types=t%u", peer->only);
    }
    err = err ? err : bytes_appendf(&out, "&wait=%u", (unsigned)peer_draw(peer, 6));
    if (peer->poll.cursor.len) {
        err = err ? err
                  : bytes_appendf(&out, "&since=%.*s", (int)peer->poll.cursor.len,
                        (const char *)peer->poll.cursor.data);
    } else if (peer_draw(peer, 2)) {
        err = err ? err : bytes_append_str(&out, "&since=begin");
    }
    CHECK(!err && bytes_append_str(&out, " HTTP/1.1\r\nHost: sim\r\n\r\n") == 0);
    peer->poll.asked = true;
    peer->poll.from_cursor = peer->poll.cursor.len;
    sim_client_send(peer->client, out.data, out.len);
    bytes_fini(&out);
}

static struct span member(struct span text, const char *name)
{
    const struct span key = span_str(name);
    struct span value = {0};

    CHECK(json_find_members(text.data, text.len, &key, 1, &value) == 0);
    return value;
}

static struct span unquoted(struct span raw)
{
    CHECK(raw.len > 2);
    return span_of(raw.data + 1, raw.len - 2);
}

/* In order, and from the cursor on without a hole: unless history could not reach that far. */
static void one_event(struct peer *peer, struct span event)
{
    int channel = ledger_channel(unquoted(member(event, "channel")));
    uint64_t offset = ledger_cursor(peer->ledger, unquoted(member(event, "cursor")));
    struct follow *follow = &peer->follows[channel];

    CHECK(peer->poll.channels >> channel & 1);
    ledger_learn(peer->ledger, channel, offset, ledger_event(member(event, "data")));
    if (follow->active) {
        CHECK(follow->skips ? offset >= follow->expected : offset == follow->expected);
    }
    CHECK(!peer->only || ledger_key(member(event, "data")) == peer->only);
    follow->active = true;
    follow->expected = offset + 1;
    peer->received += 1;
}

static bool is_reset(struct peer *peer, struct span body, int channel)
{
    if (!(peer->poll.channels & (peer->poll.channels - 1))) {
        return span_equal(unquoted(member(body, "state")), span_str("reset"));
    }
    struct span state = unquoted(member(member(body, "states"), ledger_names[channel]));
    return span_equal(state, span_str("reset"));
}

static void take_cursors(struct peer *peer, struct span body)
{
    struct span list = unquoted(member(body, "cursor"));

    peer->poll.cursor.len = 0;
    CHECK(bytes_append(&peer->poll.cursor, list.data, list.len) == 0);
    for (int i = 0; i < LEDGER_CHANNELS; i++) {
        if (!(peer->poll.channels >> i & 1)) {
            continue;
        }
        const uint8_t *comma = memchr(list.data, ',', list.len);
        size_t len = comma ? (size_t)(comma - list.data) : list.len;
        uint64_t offset = ledger_cursor(peer->ledger, span_of(list.data, len));
        struct follow *follow = &peer->follows[i];
        if (follow->active) {
            CHECK(follow->skips ? offset + 1 >= follow->expected : offset + 1 == follow->expected);
        }
        ledger_heard(peer->ledger, i, offset);
        follow->active = true;
        follow->expected = offset + 1;
        list = comma ? span_of(comma + 1, list.len - len - 1) : span_of(list.data, 0);
    }
}

static void answered(struct peer *peer, struct span body)
{
    struct span events = member(body, "events"), event;
    struct json_array array;
    int more;

    for (int i = 0; i < LEDGER_CHANNELS; i++) {
        if (peer->poll.channels >> i & 1 && is_reset(peer, body, i)) {
            peer->follows[i].active = false; /* It said so. */
        }
    }
    CHECK(json_array_begin(events.data, events.len, &array) == 0);
    while ((more = json_array_next(&array, &event)) > 0) {
        one_event(peer, event);
    }
    CHECK(more == 0);
    take_cursors(peer, body);
}

static void reply(struct peer *peer)
{
    const struct http_response *response = http_response_of(peer->http);

    CHECK(peer->poll.asked);
    peer->poll.asked = false;
    peer->cut = peer->cut || !response->keep_alive;
    CHECK(response->status == 200 || response->status == 503);
    if (response->status == 200) {
        answered(peer, span_of(peer->body.data, peer->body.len));
    }
}

void peer_poll_read(struct peer *peer)
{
    peer_read_http(peer, reply);
    if (!peer->poll.asked && !peer->cut && peer->phase == PEER_OPEN && !peer->half &&
        sim_client_state(peer->client) == SIM_CLIENT_OPEN) {
        peer_poll_ask(peer);
    }
}
