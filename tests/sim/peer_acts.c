/* What peers do, and the answers they get. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/json.h"
#include "tests/sim/peer_own.h"

enum { KEYS = 4, PADDING_MAX = 300 };

static uint32_t new_payload(struct peer *peer, struct bytes *out)
{
    uint32_t padding = (uint32_t)peer_draw(peer, peer_draw(peer, 20) ? 40 : 10 * PADDING_MAX);
    return ledger_payload(peer->ledger, 1 + (uint32_t)peer_draw(peer, KEYS), padding, out);
}

static struct asked *ask(struct peer *peer, int what, int channel)
{
    if (peer->asked_count == PEER_ASKED_MAX) {
        return NULL;
    }
    struct asked *asked = &peer->asked[peer->asked_count++];
    *asked = (struct asked){.id = peer->next_id++, .channel = channel};
    asked->what = what;
    return asked;
}

static struct asked take_asked(struct peer *peer, uint32_t at)
{
    struct asked asked = peer->asked[at];

    peer->asked_count -= 1;
    memmove(peer->asked + at, peer->asked + at + 1, (peer->asked_count - at) * sizeof(asked));
    return asked;
}

/* ---- rooms ---- */

void peer_room_message(struct peer *peer)
{
    struct bytes payload = {0};

    new_payload(peer, &payload);
    struct span all = span_of(payload.data, payload.len);
    if (peer_draw(peer, 4)) {
        peer_send_frame(peer, WS_TEXT | WS_FIN, all);
    } else { /* In two fragments, with a ping between. */
        size_t cut = (size_t)peer_draw(peer, all.len);
        peer_send_frame(peer, WS_TEXT, span_of(all.data, cut));
        peer_send_frame(peer, WS_PING | WS_FIN, span_str("between"));
        peer_send_frame(peer, WS_CONTINUATION | WS_FIN, span_of(all.data + cut, all.len - cut));
    }
    bytes_fini(&payload);
}

/* ---- commands ---- */

static void send_command(struct peer *peer, const struct bytes *text)
{
    peer_send_frame(peer, WS_TEXT | WS_FIN, span_of(text->data, text->len));
}

static void command(struct peer *peer)
{
    static const char *const names[] = {"publish", "subscribe", "unsubscribe", "history", "ping"};
    int channel = (int)peer_draw(peer, LEDGER_CHANNELS);
    struct asked *asked = ask(peer, (int)peer_draw(peer, 5), channel);
    struct bytes text = {0};

    if (!asked) {
        return;
    }
    int err = bytes_appendf(&text, "{\"id\":%u,\"%s\":{\"channel\":\"%s\"", asked->id,
        names[asked->what], ledger_names[channel]);
    if (asked->what == ASKED_PUBLISH) {
        err = err ? err : bytes_append_str(&text, ",\"data\":");
        asked->event = new_payload(peer, &text);
    } else if (asked->what != ASKED_UNSUBSCRIBE && peer_draw(peer, 2)) {
        err = err ? err : bytes_append_str(&text, ",\"since\":\"begin\"");
    }
    err = err ? err : bytes_append_str(&text, "}}");
    CHECK(!err);
    send_command(peer, &text);
    bytes_fini(&text);
}

static struct span member(struct span text, const char *pointer)
{
    struct span value = {0};
    int err = json_pointer(text.data, text.len, span_str(pointer), &value);

    return err ? span_of(NULL, 0) : value;
}

static struct span unquoted(struct span raw)
{
    return raw.len >= 2 ? span_of(raw.data + 1, raw.len - 2) : raw;
}

void peer_command_answered(struct peer *peer, struct span id, struct span text)
{
    int64_t number;
    uint32_t at = 0;

    CHECK(json_int64(id, &number) == 0);
    while (at < peer->asked_count && peer->asked[at].id != (uint32_t)number) {
        at += 1;
    }
    CHECK(at < peer->asked_count); /* Each is answered once. */
    struct asked asked = take_asked(peer, at);
    bool ok = member(text, "/ok").len;
    CHECK(ok || member(text, "/error/code").len);
    if (ok && asked.what == ASKED_PUBLISH) {
        uint64_t offset = ledger_cursor(peer->ledger, unquoted(member(text, "/ok/cursor")));
        ledger_learn(peer->ledger, asked.channel, offset, asked.event);
    } else if (ok && asked.what == ASKED_UNSUBSCRIBE) {
        peer->follows[asked.channel].active = false;
    }
}

/* ---- HTTP ---- */

static void append_request(struct peer *peer, struct bytes *out, struct asked *asked)
{
    struct bytes body = {0};
    bool many = false;
    int err = 0;

    if (asked->what == ASKED_HISTORY) {
        err = bytes_appendf(out, "GET /api/v1/channels/%s/history?limit=%u HTTP/1.1\r\n",
            ledger_names[asked->channel], 1 + (unsigned)peer_draw(peer, 1000));
        CHECK(!err && bytes_append_str(out, "Host: sim\r\n\r\n") == 0);
        return;
    }
    if (peer->once.key && peer_draw(peer, 4) == 0) {
        asked->channel = peer->once.channel;
        asked->key = peer->once.key;
        asked->again = true;
    } else if (peer_draw(peer, 3) == 0) {
        asked->key = 1 + peer_draw(peer, 1ull << 60);
    }
    asked->channels = 1u << asked->channel;
    if (!asked->key && peer_draw(peer, 3) == 0) {
        asked->channels |= 1 + (uint32_t)peer_draw(peer, (1u << LEDGER_CHANNELS) - 1);
        many = true;
    }
    if (many) {
        err = bytes_append_str(&body, "{\"channels\":[");
        for (int i = 0, n = 0; i < LEDGER_CHANNELS; i++) {
            if (asked->channels >> i & 1) {
                err = err ? err : bytes_appendf(&body, "%s\"%s\"", n++ ? "," : "", ledger_names[i]);
            }
        }
        err = err ? err : bytes_append_str(&body, "],\"data\":");
    } else {
        err = bytes_appendf(&body, "{\"channel\":\"%s\",\"data\":", ledger_names[asked->channel]);
    }
    asked->event = new_payload(peer, &body);
    if (asked->key) {
        err = err ? err
                  : bytes_appendf(
                        &body, ",\"idempotency_key\":\"%llu\"", (unsigned long long)asked->key);
    }
    err = err ? err : bytes_append_str(&body, "}");
    err = err ? err
              : bytes_appendf(out,
                    "POST /api/v1/publish HTTP/1.1\r\nHost: sim\r\nContent-Type: "
                    "application/json\r\nContent-Length: %zu\r\n\r\n",
                    body.len);
    CHECK(!err && bytes_append(out, body.data, body.len) == 0);
    bytes_fini(&body);
}

static void requests(struct peer *peer)
{
    struct bytes out = {0};
    uint64_t count = 1 + peer_draw(peer, 4);
    uint64_t now_ms = sim_now_ms(peer->sim);

    /* After such a silence the request may cross the server's decision to hang up. */
    peer->was_slow = peer->was_slow || now_ms - peer->spoke_ms > 5000;
    peer->spoke_ms = now_ms;

    for (uint64_t i = 0; i < count; i++) {
        int what = peer_draw(peer, 6) ? ASKED_PUBLISH : ASKED_HISTORY;
        struct asked *asked = ask(peer, what, (int)peer_draw(peer, LEDGER_CHANNELS));
        if (asked) {
            append_request(peer, &out, asked);
        }
    }
    sim_client_send(peer->client, out.data, out.len);
    bytes_fini(&out);
}

static void learn_result(struct peer *peer, const struct asked *asked, struct span result)
{
    struct span cursor = unquoted(member(result, "/cursor"));
    int channel = ledger_channel(unquoted(member(result, "/channel")));

    CHECK(asked->channels >> channel & 1);
    if (member(result, "/error").len) {
        return;
    }
    uint64_t offset = ledger_cursor(peer->ledger, cursor);
    if (asked->again && asked->key == peer->once.key) {
        CHECK(offset == peer->once.offset && channel == peer->once.channel);
        return;
    }
    if (asked->again) {
        return; /* Of an older key. */
    }
    ledger_learn(peer->ledger, channel, offset, asked->event);
    if (asked->key) {
        peer->once.key = asked->key;
        peer->once.offset = offset;
        peer->once.channel = channel;
        peer->once.event = asked->event;
    }
}

static void published(struct peer *peer, const struct asked *asked, struct span body)
{
    char pointer[32];
    uint32_t count = (uint32_t)__builtin_popcount(asked->channels);

    for (uint32_t i = 0; i < count; i++) {
        snprintf(pointer, sizeof(pointer), "/results/%u", i);
        struct span result = member(body, pointer);
        CHECK(result.len);
        learn_result(peer, asked, result);
    }
}

static void history(struct peer *peer, const struct asked *asked, struct span body)
{
    char pointer[40];
    uint64_t before = 0;

    for (uint32_t i = 0;; i++) {
        snprintf(pointer, sizeof(pointer), "/events/%u", i);
        struct span event = member(body, pointer);
        if (!event.len) {
            return;
        }
        uint64_t offset = ledger_cursor(peer->ledger, unquoted(member(event, "/cursor")));
        CHECK(before == 0 || offset == before + 1);
        before = offset;
        ledger_learn(peer->ledger, asked->channel, offset, ledger_event(member(event, "/data")));
        if (i == 10) {
            return; /* Pointers are slow, and the rest is no different. */
        }
    }
}

static void reply(struct peer *peer)
{
    const struct http_response *response = http_response_of(peer->http);

    peer->cut = peer->cut || !response->keep_alive;
    if (peer->asked_count == 0) {
        CHECK(response->status == 503 && peer->cut); /* Over the limit. */
        return;
    }
    struct asked asked = take_asked(peer, 0);
    struct span body = span_of(peer->body.data, peer->body.len);
    if (response->status != 200) {
        CHECK(response->status == 503);
        return;
    }
    if (asked.what == ASKED_PUBLISH) {
        published(peer, &asked, body);
    } else {
        history(peer, &asked, body);
    }
}

void peer_read_http(struct peer *peer, void (*each)(struct peer *peer))
{
    size_t used;
    int got;

    /* Also with no byte left: the end of a reply is told by itself. */
    do {
        got = http_response_feed(peer->http, peer->in.data, peer->in.len, &used);
        CHECK(got >= 0);
        if (got == HTTP_RESPONSE_BODY) {
            struct span piece = http_response_of(peer->http)->body;
            CHECK(bytes_append(&peer->body, piece.data, piece.len) == 0);
        }
        if (got == HTTP_RESPONSE_DONE) {
            each(peer);
            peer->body.len = 0;
            http_response_reset(peer->http, false);
        }
        bytes_consume(&peer->in, used);
    } while (got != HTTP_RESPONSE_MORE);
}

void peer_read_replies(struct peer *peer)
{
    peer_read_http(peer, reply);
}

/* ---- misbehaviour ---- */

static void garbage(struct peer *peer)
{
    uint8_t bytes[200];
    size_t len = 1 + (size_t)peer_draw(peer, sizeof(bytes));

    for (size_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)peer_draw(peer, 256);
    }
    bytes[0] |= 0x70; /* Reserved bits: noise must not happen to be a message to a room. */
    peer->rude = true;
    sim_client_send(peer->client, bytes, len);
}

static void break_off(struct peer *peer)
{
    uint64_t how = peer_draw(peer, 3);

    if (how == 0) {
        peer->half = true;
        peer->rude = peer->kind != PEER_HTTP; /* A poll is given up, then. */
        sim_client_shutdown(peer->client);
        return;
    }
    peer->rude = true;
    if (how == 1) {
        sim_client_kill(peer->client);
    } else {
        sim_client_vanish(peer->client);
    }
}

static void say_goodbye(struct peer *peer)
{
    static const uint8_t code[] = {1000 >> 8, 1000 & 0xff};

    peer->phase = PEER_CLOSING;
    peer_send_frame(peer, WS_CLOSE | WS_FIN, span_of(code, sizeof(code)));
}

static void stall(struct peer *peer)
{
    peer->stalled = !peer->stalled;
    peer->was_slow = true;
    sim_client_stall(peer->client, peer->stalled);
}

/* ---- choosing ---- */

void peer_act(struct peer *peer)
{
    uint64_t what = peer_draw(peer, 100);

    if (peer->rude || peer->phase == PEER_ENDED || peer->phase == PEER_CLOSING || peer->half ||
        sim_client_state(peer->client) != SIM_CLIENT_OPEN) {
        return;
    }
    if (what < 1) {
        garbage(peer);
    } else if (what < 3) {
        break_off(peer);
    } else if (what < 13 || peer->stalled) {
        stall(peer);
    } else if (what < 14) {
        peer->mute = peer->was_slow = true;
    } else if (peer->phase == PEER_HANDSHAKE) {
        return;
    } else if (peer->kind == PEER_HTTP) {
        requests(peer);
    } else if (peer->kind == PEER_POLL) {
        return; /* It asks whenever it is answered. */
    } else if (peer->kind == PEER_SSE || peer->kind == PEER_SSE_RAW) {
        if (what < 24) {
            peer_stream_reconnect(peer);
        }
    } else if (what < 16) {
        say_goodbye(peer);
    } else if (what < 22) {
        peer_send_frame(peer, WS_PING | WS_FIN, span_str("hello"));
    } else if (peer->kind == PEER_ROOM) {
        peer_room_message(peer);
    } else if (peer->kind == PEER_V1) {
        command(peer);
    }
}
