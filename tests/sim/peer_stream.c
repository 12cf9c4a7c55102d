/* A reader of server-sent events, as the standard describes it, that comes back with its last id. */
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "core/cursor.h"
#include "tests/sim/peer_own.h"

/* ---- the request ---- */

/* What each channel is asked from, for the notice to be held to. */
static void note_since(struct peer *peer, struct span list)
{
    memset(peer->stream.since, 0, sizeof(peer->stream.since));
    for (int i = 0; i < LEDGER_CHANNELS; i++) {
        if (!(peer->stream.channels >> i & 1) || list.len == 0) {
            continue;
        }
        const uint8_t *comma = memchr(list.data, ',', list.len);
        size_t len = comma ? (size_t)(comma - list.data) : list.len;
        struct since since = since_parse(span_of(list.data, len));
        peer->stream.since[i] = since.kind == SINCE_CURSOR ? 1 + since.cursor.offset : 0;
        list = comma ? span_of(comma + 1, list.len - len - 1) : span_of(list.data, 0);
    }
}

static void choose(struct peer *peer)
{
    if (peer->kind == PEER_SSE_RAW) {
        peer->channel = (int)peer_draw(peer, 6);
        peer->stream.channels = 1u << peer->channel;
        return;
    }
    uint32_t bits = peer_draw(peer, 2) ? 1u << peer_draw(peer, LEDGER_CHANNELS)
                                       : 1 + (uint32_t)peer_draw(peer, (1u << LEDGER_CHANNELS) - 1);
    peer->stream.channels = bits;
    peer->bundles = peer_draw(peer, 4) == 0;
    if (peer_draw(peer, 4) == 0) {
        peer->only = 1 + (uint32_t)peer_draw(peer, 3);
        for (int i = 0; i < LEDGER_CHANNELS; i++) {
            peer->follows[i].skips = true;
        }
    }
}

static int append_target(struct peer *peer, struct bytes *out)
{
    int err = 0;

    if (peer->kind == PEER_SSE_RAW) {
        return bytes_appendf(out, "/sse?%s=%d", peer->channel < 3 ? "username" : "room",
            peer->channel < 3 ? peer->channel : peer->channel - 3);
    }
    err = bytes_append_str(out, "/sse?x=1");
    for (int i = 0; i < LEDGER_CHANNELS; i++) {
        if (peer->stream.channels >> i & 1) {
            err = err ? err : bytes_appendf(out, "&channel=%s", ledger_names[i]);
        }
    }
    if (peer->bundles) {
        err = err ? err : bytes_append_str(out, "&batch_ms=100");
    }
    if (peer->only) {
        err = err ? err : bytes_appendf(out, "&types=t%u", peer->only);
    }
    return err;
}

static void send_request(struct peer *peer)
{
    struct bytes out = {0};
    struct span id = span_of(peer->stream.last_id.data, peer->stream.last_id.len);
    int err = bytes_append_str(&out, "GET ");

    err = err ? err : append_target(peer, &out);
    if (peer_draw(peer, 3) == 0) { /* Beaten by the header, if there is one. */
        err = err ? err : bytes_append_str(&out, "&since=begin");
    }
    err = err ? err
              : bytes_appendf(&out, " HTTP/1.%u\r\nHost: sim\r\n", (unsigned)peer_draw(peer, 2));
    if (id.len) {
        err = err ? err
                  : bytes_appendf(
                        &out, "Last-Event-ID: %.*s\r\n", (int)id.len, (const char *)id.data);
    }
    CHECK(!err && bytes_append_str(&out, "\r\n") == 0);
    note_since(peer, id);
    sim_client_send(peer->client, out.data, out.len);
    bytes_fini(&out);
}

void peer_stream_request(struct peer *peer)
{
    choose(peer);
    send_request(peer);
}

void peer_stream_reconnect(struct peer *peer)
{
    sim_client_kill(peer->client);
    sim_client_free(peer->client);
    peer->client = sim_client_connect(peer->sim, GATEWAY_ADDRESS);
    http_response_reset(peer->http, false);
    peer->phase = PEER_HANDSHAKE;
    peer->in.len = peer->body.len = 0;
    peer->received = 0;
    peer->stream.event.len = peer->stream.data.len = 0;
    peer->stream.has_id = peer->stream.opened = peer->stream.said_why = false;
    for (int i = 0; i < LEDGER_CHANNELS; i++) {
        peer->follows[i].active = false;
    }
    send_request(peer);
}

void peer_stream_fini(struct peer *peer)
{
    bytes_fini(&peer->stream.last_id);
    bytes_fini(&peer->stream.event);
    bytes_fini(&peer->stream.data);
    bytes_fini(&peer->stream.id);
}

/* ---- events ---- */

/* The list names for each channel the last event that came, or that was declared lost. */
static void check_id(struct peer *peer)
{
    struct span list = span_of(peer->stream.last_id.data, peer->stream.last_id.len);

    for (int i = 0; i < LEDGER_CHANNELS; i++) {
        if (!(peer->stream.channels >> i & 1)) {
            continue;
        }
        const uint8_t *comma = memchr(list.data, ',', list.len);
        size_t len = comma ? (size_t)(comma - list.data) : list.len;
        uint64_t offset = ledger_cursor(peer->ledger, span_of(list.data, len));
        struct follow *follow = &peer->follows[i];
        CHECK(follow->active);
        CHECK(follow->skips ? offset + 1 >= follow->expected : offset + 1 == follow->expected);
        follow->expected = offset + 1; /* What did not fit the filter is behind it. */
        list = comma ? span_of(comma + 1, list.len - len - 1) : span_of(list.data, 0);
    }
    CHECK(list.len == 0);
}

/* Where it goes on is where it asked to, unless it is told otherwise. */
static void check_resumed(struct peer *peer, struct span notice)
{
    bool reset = memmem(notice.data, notice.len, "\"reset\"", 7);

    for (int i = 0; i < LEDGER_CHANNELS; i++) {
        if (peer->stream.since[i] && peer->follows[i].active) {
            CHECK(reset || peer->follows[i].expected == peer->stream.since[i]);
            peer->stream.since[i] = 0;
        }
    }
}

/* One channel of which every event says where it is. */
static void raw_event(struct peer *peer, struct span data)
{
    struct follow *follow = &peer->follows[peer->channel];
    struct span id = span_of(peer->stream.last_id.data, peer->stream.last_id.len);
    uint64_t offset = ledger_cursor(peer->ledger, id);

    CHECK(peer->stream.has_id && follow->active);
    CHECK(follow->skips ? offset >= follow->expected : offset == follow->expected);
    ledger_learn(peer->ledger, peer->channel, offset, ledger_event(data));
    follow->expected = offset + 1;
    peer_publication_raw(peer, data);
}

static void dispatch(struct peer *peer)
{
    struct span event = span_of(peer->stream.event.data, peer->stream.event.len);
    struct span data = span_of(peer->stream.data.data, peer->stream.data.len);
    bool has_id = peer->stream.has_id;
    if (has_id) {
        peer->stream.last_id.len = 0;
        CHECK(bytes_append(&peer->stream.last_id, peer->stream.id.data, peer->stream.id.len) == 0);
    }
    if (data.len) {
        data.len -= 1; /* The last line feed. */
        if (event.len) {
            bool state = span_equal(event, span_str("state"));
            CHECK(state || span_equal(event, span_str("gap")));
            CHECK(!peer_envelope(peer, data));
            if (state) {
                check_resumed(peer, data);
            }
        } else if (peer->kind == PEER_SSE_RAW) {
            raw_event(peer, data);
        } else if (data.data[0] == '[') {
            peer_bundle(peer, data);
        } else {
            CHECK(!peer->bundles && peer_envelope(peer, data));
            peer->received += 1;
        }
    }
    if (has_id) {
        check_id(peer);
    }
    peer->stream.event.len = peer->stream.data.len = peer->stream.id.len = 0;
    peer->stream.has_id = false;
}

static void put(struct bytes *out, struct span value)
{
    out->len = 0;
    CHECK(bytes_append(out, value.data, value.len) == 0);
}

static bool is_field(struct span line, const char *name, struct span *ret_value)
{
    size_t len = strlen(name);

    if (line.len < len || memcmp(line.data, name, len) != 0) {
        return false;
    }
    *ret_value = span_of(line.data + len, line.len - len);
    return true;
}

static void one_line(struct peer *peer, struct span line)
{
    struct span value;

    if (line.len == 0) {
        dispatch(peer);
    } else if (is_field(line, "data: ", &value)) {
        CHECK(bytes_append(&peer->stream.data, value.data, value.len) == 0);
        CHECK(bytes_append_byte(&peer->stream.data, '\n') == 0);
    } else if (is_field(line, "event: ", &value)) {
        put(&peer->stream.event, value);
    } else if (is_field(line, "id: ", &value)) {
        put(&peer->stream.id, value);
        peer->stream.has_id = true;
    } else if (!is_field(line, "retry: ", &value)) {
        CHECK(line.data[0] == ':');
        peer->stream.said_why = line.len > 2 && line.data[2] != ' ';
    }
}

static void read_lines(struct peer *peer)
{
    size_t at = 0;
    const uint8_t *end;

    while (at < peer->body.len && (end = memchr(peer->body.data + at, '\n', peer->body.len - at))) {
        size_t len = (size_t)(end - peer->body.data) - at;
        one_line(peer, span_of(peer->body.data + at, len));
        at += len + 1;
    }
    bytes_consume(&peer->body, at);
}

static void read_head(struct peer *peer)
{
    const struct http_response *response = http_response_of(peer->http);

    if (response->status != 200) {
        CHECK(response->status == 503 || response->status == 408);
        peer->refused = true;
        return;
    }
    CHECK(!response->keep_alive && !response->chunked && !response->has_content_length);
    peer->phase = PEER_OPEN;
    peer->stream.opened = true;
}

void peer_stream_read(struct peer *peer)
{
    size_t used;
    int got;

    while (peer->in.len) {
        got = http_response_feed(peer->http, peer->in.data, peer->in.len, &used);
        CHECK(got >= 0);
        if (got == HTTP_RESPONSE_HEAD) {
            read_head(peer);
        } else if (got == HTTP_RESPONSE_BODY && peer->phase == PEER_OPEN) {
            struct span piece = http_response_of(peer->http)->body;
            CHECK(bytes_append(&peer->body, piece.data, piece.len) == 0);
        }
        bytes_consume(&peer->in, used);
        if (got == HTTP_RESPONSE_DONE) {
            peer->phase = PEER_ENDED;
            return;
        }
    }
    read_lines(peer);
}
