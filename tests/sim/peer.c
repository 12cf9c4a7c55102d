#include "tests/sim/peer.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/json.h"
#include "base/mem.h"
#include "proto/ws_handshake.h"
#include "tests/sim/peer_own.h"

uint64_t peer_draw(struct peer *peer, uint64_t bound)
{
    return sim_random(peer->sim, bound);
}

static bool may_skip(const struct gateway *gateway, int channel)
{
    struct span name = span_str(ledger_names[channel]);
    size_t len = (size_t)((const uint8_t *)memchr(name.data, ':', name.len) - name.data);
    uint8_t ns = settings_ns(&gateway->settings, span_of(name.data, len));

    return gateway->settings.ns[ns].policy == OUTBOX_CONFLATE;
}

/* ---- connecting ---- */

static void append_since(struct peer *peer, struct bytes *target)
{
    uint64_t how = peer_draw(peer, 4);
    int err = 0;

    if (how == 0) {
        err = bytes_append_str(target, "&since=begin");
    } else if (how == 1) {
        err = bytes_append_str(target, "&since=nonsense:1");
    }
    CHECK(!err);
}

static void append_view(struct peer *peer, struct bytes *target)
{
    int err = 0;

    if (peer->kind != PEER_CHANNELS) {
        return;
    }
    if (peer_draw(peer, 3) == 0) {
        peer->bundles = true;
        err = bytes_appendf(target, "&batch_ms=%u", 1 + (unsigned)peer_draw(peer, 1000));
    }
    if (peer_draw(peer, 3) == 0) {
        peer->only = 1 + (uint32_t)peer_draw(peer, 3);
        err = err ? err : bytes_appendf(target, "&types=other_*,t%u", peer->only);
        for (int i = 0; i < LEDGER_CHANNELS; i++) {
            peer->follows[i].skips = true;
        }
    }
    CHECK(!err);
}

static void send_upgrade(struct peer *peer)
{
    struct bytes target = {0}, out = {0};
    int err = 0;

    if (peer->kind == PEER_USER) {
        peer->channel = (int)peer_draw(peer, 3);
        err = bytes_appendf(&target, "/ws?username=%d", peer->channel);
    } else if (peer->kind == PEER_ROOM) {
        peer->channel = 3 + (int)peer_draw(peer, 3);
        err = bytes_appendf(&target, "/ws?room=%d&client_id=c", peer->channel - 3);
    } else {
        uint64_t bits = 1 + peer_draw(peer, (1u << LEDGER_CHANNELS) - 1);
        bits &= peer_draw(peer, 2) ? bits : 1 + peer_draw(peer, (1u << LEDGER_CHANNELS) - 1);
        bits = bits ? bits : 1;
        err = bytes_append_str(&target, "/ws?x=1");
        for (int i = 0; i < LEDGER_CHANNELS; i++) {
            if (bits >> i & 1 && !(peer->kind == PEER_V1 && i % 2)) {
                err = err ? err : bytes_appendf(&target, "&channel=%s", ledger_names[i]);
            }
        }
    }
    CHECK(!err);
    append_since(peer, &target);
    append_view(peer, &target);
    for (size_t i = 0; i < sizeof(peer->nonce); i++) {
        peer->nonce[i] = (uint8_t)peer_draw(peer, 256);
    }
    peer->offered = peer_draw(peer, 2);
    err = ws_connect_request(&out, span_of(target.data, target.len), "sim", peer->nonce,
        peer->kind == PEER_V1 ? "fanout.v1" : NULL, peer->offered, NULL, 0);
    CHECK(!err);
    sim_client_send(peer->client, out.data, out.len);
    bytes_fini(&target);
    bytes_fini(&out);
}

struct peer *peer_create(struct gateway *gateway, struct ledger *ledger,
    struct ws_inflater *inflater, enum peer_kind kind)
{
    struct peer *peer = mem_zalloc(sizeof(*peer));

    peer->gateway = gateway;
    peer->ledger = ledger;
    peer->sim = gateway->sim;
    peer->inflater = inflater;
    peer->kind = kind;
    peer->next_id = 1;
    peer->spoke_ms = sim_now_ms(gateway->sim);
    for (int i = 0; i < LEDGER_CHANNELS; i++) {
        peer->follows[i].skips = may_skip(gateway, i);
    }
    peer->client = sim_client_connect(gateway->sim, GATEWAY_ADDRESS);
    CHECK(http_response_create(16384, 100, &peer->http) == 0);
    if (kind == PEER_HTTP) {
        peer->phase = PEER_OPEN;
    } else if (kind == PEER_POLL) {
        peer->phase = PEER_OPEN;
        peer_poll_ask(peer);
    } else if (kind == PEER_SSE || kind == PEER_SSE_RAW) {
        peer_stream_request(peer);
    } else {
        send_upgrade(peer);
        if (kind == PEER_ROOM && peer_draw(peer, 4) == 0) {
            peer_room_message(peer); /* Too early, strictly, but browsers' proxies do it. */
        }
    }
    return peer;
}

void peer_destroy(struct peer *peer)
{
    sim_client_free(peer->client);
    http_response_destroy(peer->http);
    bytes_fini(&peer->in);
    bytes_fini(&peer->body);
    ws_message_fini(&peer->message);
    peer_stream_fini(peer);
    bytes_fini(&peer->poll.cursor);
    mem_free(peer->raw);
    mem_free(peer);
}

/* ---- frames ---- */

void peer_send_frame(struct peer *peer, uint8_t first, struct span payload)
{
    struct bytes out = {0};
    uint8_t mask[4];

    for (int i = 0; i < 4; i++) {
        mask[i] = (uint8_t)peer_draw(peer, 256);
    }
    CHECK(ws_append_frame(&out, first, payload, mask) == 0);
    sim_client_send(peer->client, out.data, out.len);
    bytes_fini(&out);
}

void peer_publication_raw(struct peer *peer, struct span payload)
{
    if (peer->received == peer->raw_cap) {
        peer->raw_cap = peer->raw_cap ? peer->raw_cap * 2 : 64;
        peer->raw = mem_realloc(peer->raw, peer->raw_cap * sizeof(*peer->raw));
    }
    peer->raw[peer->received++] = ledger_event(payload);
}

static void publication_envelope(
    struct peer *peer, int channel, struct span cursor_text, struct span data)
{
    struct follow *follow = &peer->follows[channel];
    uint64_t offset = ledger_cursor(peer->ledger, cursor_text);

    ledger_learn(peer->ledger, channel, offset, ledger_event(data));
    CHECK(follow->active);
    CHECK(follow->skips ? offset >= follow->expected : offset == follow->expected);
    follow->expected = offset + 1;
    CHECK(!peer->only || ledger_key(data) == peer->only);
}

static void state_notice(struct peer *peer, int channel, struct span cursor_text)
{
    struct follow *follow = &peer->follows[channel];

    CHECK(!follow->active);
    follow->active = true;
    follow->expected = ledger_cursor(peer->ledger, cursor_text) + 1;
    ledger_heard(peer->ledger, channel, follow->expected - 1);
}

static void gap_notice(struct peer *peer, struct span gap)
{
    static const struct span keys[] = {
        {(const uint8_t *)"channel", 7}, {(const uint8_t *)"from", 4}, {(const uint8_t *)"to", 2}};
    struct span values[3];
    int64_t from, to;

    CHECK(json_find_members(gap.data, gap.len, keys, 3, values) == 0);
    CHECK(json_int64(values[1], &from) == 0 && json_int64(values[2], &to) == 0);
    int channel = ledger_channel(span_of(values[0].data + 1, values[0].len - 2));
    struct follow *follow = &peer->follows[channel];
    CHECK(follow->active && from <= to);
    CHECK(follow->skips ? (uint64_t)from >= follow->expected : (uint64_t)from == follow->expected);
    follow->expected = (uint64_t)to + 1;
    ledger_heard(peer->ledger, channel, (uint64_t)to);
}

/* An event, a notice, or the answer to a command. True: an event. */
bool peer_envelope(struct peer *peer, struct span text)
{
    static const struct span keys[] = {
        {(const uint8_t *)"channel", 7},
        {(const uint8_t *)"cursor", 6},
        {(const uint8_t *)"data", 4},
        {(const uint8_t *)"state", 5},
        {(const uint8_t *)"gap", 3},
        {(const uint8_t *)"id", 2},
    };
    struct span v[6];

    CHECK(json_find_members(text.data, text.len, keys, 6, v) == 0);
    if (v[5].len) {
        peer_command_answered(peer, v[5], text);
        return false;
    }
    if (v[4].len) {
        gap_notice(peer, v[4]);
        return false;
    }
    CHECK(v[0].len > 2 && v[1].len > 2);
    int channel = ledger_channel(span_of(v[0].data + 1, v[0].len - 2));
    struct span cursor = span_of(v[1].data + 1, v[1].len - 2);
    if (v[3].len) {
        state_notice(peer, channel, cursor);
        return false;
    }
    publication_envelope(peer, channel, cursor, v[2]);
    return true;
}

void peer_bundle(struct peer *peer, struct span text)
{
    struct json_array array;
    struct span event;
    int more;

    CHECK(peer->bundles && json_array_begin(text.data, text.len, &array) == 0);
    while ((more = json_array_next(&array, &event)) > 0) {
        peer_envelope(peer, event);
    }
    CHECK(more == 0);
    peer->received += 1;
}

static void text_message(struct peer *peer, struct span text)
{
    if (peer->kind == PEER_USER || peer->kind == PEER_ROOM) {
        peer_publication_raw(peer, text);
    } else if (text.data[0] == '[') {
        peer_bundle(peer, text);
    } else if (peer_envelope(peer, text)) {
        CHECK(!peer->bundles);
        peer->received += 1;
    }
}

static void close_frame(struct peer *peer, const struct ws_frame *frame)
{
    struct span reason;

    CHECK(ws_close_parse(frame->payload, &peer->close_code, &reason) == 0);
    if (peer->phase == PEER_OPEN && !peer->half) {
        peer_send_frame(peer, WS_CLOSE | WS_FIN, frame->payload);
    }
    peer->phase = PEER_CLOSING;
}

static void one_frame(struct peer *peer, const struct ws_frame *frame)
{
    uint8_t opcode;
    struct span payload;

    CHECK(!peer->close_code); /* Nothing comes behind a close frame. */
    switch (frame->opcode) {
    case WS_PING:
        if (peer->phase == PEER_OPEN && !peer->mute && !peer->half) {
            peer_send_frame(peer, WS_PONG | WS_FIN, frame->payload);
        }
        return;
    case WS_PONG:
        return;
    case WS_CLOSE:
        close_frame(peer, frame);
        return;
    default:
        break;
    }
    int got = ws_message_push(&peer->message, frame, peer->inflater, 1 << 22, &opcode, &payload);
    CHECK(got == 1); /* We send whole messages. */
    CHECK(opcode == WS_TEXT);
    text_message(peer, payload);
    ws_message_fini(&peer->message);
}

static void read_frames(struct peer *peer)
{
    struct ws_rules rules = {.rsv1 = peer->deflate, .payload_max = 1 << 22};
    size_t at = 0, used, need;
    struct ws_frame frame;
    int got;

    while (at < peer->in.len && (got = ws_frame_parse(peer->in.data + at, peer->in.len - at, &rules,
                                     &frame, &used, &need)) != 0) {
        CHECK(got == 1);
        one_frame(peer, &frame);
        at += used;
    }
    bytes_consume(&peer->in, at);
}

/* ---- the handshake ---- */

static void handshake_head(struct peer *peer)
{
    const struct http_response *response = http_response_of(peer->http);
    const char *reason;

    if (response->status != 101) {
        CHECK(response->status == 503 || response->status == 408 || peer->rude);
        peer->refused = true;
        return;
    }
    CHECK(ws_connect_check(response, peer->nonce, peer->offered, &peer->deflate, &reason) == 0);
    peer->phase = PEER_OPEN;
}

static void read_handshake(struct peer *peer)
{
    size_t used;

    while (peer->phase == PEER_HANDSHAKE) {
        int got = http_response_feed(peer->http, peer->in.data, peer->in.len, &used);
        CHECK(got >= 0);
        if (got == HTTP_RESPONSE_HEAD) {
            handshake_head(peer);
        }
        bytes_consume(&peer->in, used);
        if (got == HTTP_RESPONSE_MORE) {
            return;
        }
        if (got == HTTP_RESPONSE_DONE) {
            peer->phase = peer->refused ? PEER_ENDED : peer->phase;
        }
    }
}

/* ---- reading ---- */

void peer_pump(struct peer *peer)
{
    uint8_t buf[4096];
    size_t got;

    while ((got = sim_client_recv(peer->client, buf, sizeof(buf)))) {
        CHECK(bytes_append(&peer->in, buf, got) == 0);
    }
    if (peer->phase == PEER_ENDED || peer->rude) {
        peer->in.len = 0;
        return;
    }
    if (peer->kind == PEER_HTTP) {
        peer_read_replies(peer);
    } else if (peer->kind == PEER_POLL) {
        peer_poll_read(peer);
    } else if (peer->kind == PEER_SSE || peer->kind == PEER_SSE_RAW) {
        peer_stream_read(peer);
    } else {
        if (peer->phase == PEER_HANDSHAKE && peer->in.len) {
            read_handshake(peer);
        }
        if (peer->phase == PEER_OPEN || peer->phase == PEER_CLOSING) {
            read_frames(peer);
        }
    }
    if (sim_client_state(peer->client) != SIM_CLIENT_OPEN &&
        sim_client_state(peer->client) != SIM_CLIENT_CONNECTING) {
        peer->phase = PEER_ENDED;
    }
}

/* ---- at rest ---- */

/* A raw client's events are in order, each once; complete if nothing was dropped. */
static void check_raw(struct peer *peer, const struct books *books)
{
    const struct ledger_channel *c = &peer->ledger->channels[peer->channel];
    uint64_t before = 0;

    for (uint32_t i = 0; i < peer->received; i++) {
        uint64_t offset = c->offset_of[peer->raw[i]];
        if (offset == 0) {
            continue; /* Kept nowhere, and its publisher did not hear. */
        }
        CHECK(offset > before);
        CHECK(before == 0 || !books || books_dropped(books) || offset == before + 1 ||
              c->offset_of[peer->raw[i - 1]] == 0);
        before = offset;
    }
}

void peer_check_rest(struct peer *peer)
{
    struct books books;
    bool found = gateway_books(peer->gateway, sim_client_name(peer->client), &books);
    bool raw = peer->kind == PEER_USER || peer->kind == PEER_ROOM || peer->kind == PEER_SSE_RAW;

    if (peer->rude) {
        return;
    }
    if (peer->kind == PEER_HTTP) {
        /* At the connection limit a refusal is one try, and may be cut short. */
        CHECK(peer->asked_count == 0 || peer->cut || peer->was_slow || peer->gateway->draining ||
              (peer->asked[0].id == 1 &&
                  peer->gateway->options.connections_max == GATEWAY_CLIENTS_FEW) ||
              sim_client_state(peer->client) == SIM_CLIENT_RESET ||
              sim_client_state(peer->client) == SIM_CLIENT_REFUSED);
        return;
    }
    if (raw) {
        check_raw(peer, found && peer->phase == PEER_OPEN ? &books : NULL);
    }
    if (peer->phase != PEER_OPEN || peer->half) {
        return;
    }
    CHECK(found);
    CHECK(peer->kind == PEER_POLL || books.delivered == peer->received);
    CHECK(books.queued == 0 && books.pending == 0);
    CHECK(peer->asked_count == 0);
    for (int i = 0; i < LEDGER_CHANNELS; i++) {
        const struct follow *follow = &peer->follows[i];
        if (follow->active && !follow->skips) {
            CHECK(follow->expected == peer->ledger->channels[i].last + 1);
        }
    }
}

void peer_check_drained(struct peer *peer)
{
    CHECK(peer->phase == PEER_ENDED || peer->stalled ||
          sim_client_state(peer->client) != SIM_CLIENT_OPEN);
    bool websocket = peer->kind < PEER_HTTP;
    if ((peer->kind == PEER_SSE || peer->kind == PEER_SSE_RAW) && peer->phase == PEER_ENDED &&
        sim_client_state(peer->client) == SIM_CLIENT_ENDED && !peer->rude && peer->stream.opened) {
        CHECK(peer->stream.said_why || peer->was_slow);
    }
    if (websocket && !peer->rude && !peer->refused && !peer->was_slow && !peer->half &&
        peer->close_code) {
        CHECK(peer->close_code == WS_CODE_RESTART || peer->close_code == WS_CODE_GOING_AWAY ||
              peer->close_code == WS_CODE_NORMAL ||
              peer->close_code == WS_CODE_POLICY); /* A burst, and the policy is disconnect. */
    }
}
