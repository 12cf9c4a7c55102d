#include "conn/framing.h"

#include <errno.h>

#include "base/base64.h"
#include "base/json.h"
#include "base/utf8.h"
#include "core/books.h"
#include "core/channel.h"
#include "core/outbox.h"
#include "proto/sse.h"
#include "proto/ws.h"
#include "proto/ws_deflate.h"

enum wire { WIRE_WS, WIRE_SSE, WIRE_JSON };

static const struct {
    enum wire wire;
    bool envelope;
    bool deflate;
    bool id;   /* Each event names its cursor. */
    bool gaps; /* Is told of gaps. */
} framings[FRAMINGS] = {
    [FRAMING_RAW] = {.wire = WIRE_WS},
    [FRAMING_RAW_DEFLATE] = {.wire = WIRE_WS, .deflate = true},
    [FRAMING_ENVELOPE] = {.wire = WIRE_WS, .envelope = true, .gaps = true},
    [FRAMING_ENVELOPE_DEFLATE] = {.wire = WIRE_WS, .envelope = true, .deflate = true, .gaps = true},
    [FRAMING_SSE_RAW] = {.wire = WIRE_SSE, .id = true, .gaps = true},
    [FRAMING_SSE_ENVELOPE] = {.wire = WIRE_SSE, .envelope = true, .id = true, .gaps = true},
    [FRAMING_SSE_LIST] = {.wire = WIRE_SSE, .envelope = true, .gaps = true},
    [FRAMING_POLL] = {.wire = WIRE_JSON, .envelope = true},
};

bool framing_wants_gaps(uint8_t framing)
{
    return framings[framing].gaps;
}

int framing_append_data(struct bytes *out, struct span payload)
{
    int err = bytes_append_str(out, "\"data\":");

    if (err) {
        return err;
    }
    if (json_valid(payload.data, payload.len)) {
        return bytes_append(out, payload.data, payload.len);
    }
    if (utf8_valid(payload.data, payload.len)) {
        err = json_append_string(out, payload.data, payload.len);
        return err ? err : bytes_append_str(out, ",\"enc\":\"text\"");
    }
    err = bytes_append_byte(out, '"');
    err = err ? err : base64_encode(out, payload.data, payload.len);
    return err ? err : bytes_append_str(out, "\",\"enc\":\"base64\"");
}

int framing_append_envelope(struct bytes *out, const struct publication *pub)
{
    struct span name = publication_name(pub);
    char cursor[CURSOR_TEXT_MAX];
    size_t cursor_len = cursor_format((struct cursor){pub->epoch, pub->offset}, cursor);
    int err = bytes_append_str(out, "{\"channel\":");

    err = err ? err : json_append_string(out, name.data, name.len);
    if (!(pub->flags & PUBLICATION_EPHEMERAL)) {
        err = err ? err : bytes_append_str(out, ",\"cursor\":\"");
        err = err ? err : bytes_append(out, cursor, cursor_len);
        err = err ? err : bytes_append_byte(out, '"');
    }
    err = err ? err : bytes_append_byte(out, ',');
    err = err ? err : framing_append_data(out, publication_payload(pub));
    return err ? err : bytes_append_byte(out, '}');
}

/* One frame, compressed when that is agreed and makes it shorter. */
static int append_frame(struct framing_context *ctx, bool deflate, uint8_t opcode,
    struct span message, struct bytes *out)
{
    if (deflate && message.len >= ctx->deflate_min_bytes) {
        ctx->packed.len = 0;
        if (ws_deflate_message(ctx->deflater, message, &ctx->packed) == 0 &&
            ctx->packed.len < message.len) {
            return ws_append_frame(out, (uint8_t)(opcode | WS_FIN | WS_RSV1),
                span_of(ctx->packed.data, ctx->packed.len), NULL);
        }
    }
    return ws_append_frame(out, (uint8_t)(opcode | WS_FIN), message, NULL);
}

static int encode_ws(
    struct framing_context *ctx, uint8_t framing, const struct publication *pub, struct bytes *out)
{
    bool deflate = framings[framing].deflate;

    if (!framings[framing].envelope) {
        uint8_t opcode = pub->flags & PUBLICATION_UTF8 ? WS_TEXT : WS_BINARY;
        return append_frame(ctx, deflate, opcode, publication_payload(pub), out);
    }
    ctx->text.len = 0;
    int err = framing_append_envelope(&ctx->text, pub);
    return err ? err
               : append_frame(ctx, deflate, WS_TEXT, span_of(ctx->text.data, ctx->text.len), out);
}

static int append_id(struct bytes *out, const struct publication *pub)
{
    char cursor[CURSOR_TEXT_MAX];
    size_t len = cursor_format((struct cursor){pub->epoch, pub->offset}, cursor);
    int err = bytes_append_str(out, "id: ");

    err = err ? err : bytes_append(out, cursor, len);
    return err ? err : bytes_append_byte(out, '\n');
}

static int append_sse_envelope(struct bytes *out, const struct publication *pub)
{
    int err = bytes_append_str(out, "data: ");
    size_t start = out->len;

    err = err ? err : framing_append_envelope(out, pub);
    if (!err) {
        sse_flatten_json(out, start);
    }
    return err ? err : bytes_append_byte(out, '\n');
}

/* The name keeps it from those who listen to text. */
static int append_sse_binary(struct bytes *out, struct span payload)
{
    int err = bytes_append_str(out, "event: binary\ndata: ");

    err = err ? err : base64_encode(out, payload.data, payload.len);
    return err ? err : bytes_append_byte(out, '\n');
}

static int encode_sse(uint8_t framing, const struct publication *pub, struct bytes *out)
{
    bool id = framings[framing].id && !(pub->flags & PUBLICATION_EPHEMERAL);
    int err = id ? append_id(out, pub) : 0;

    if (err) {
        return err;
    }
    if (framings[framing].envelope) {
        err = append_sse_envelope(out, pub);
    } else if (pub->flags & PUBLICATION_UTF8) {
        err = sse_append_data(out, publication_payload(pub));
    } else {
        err = append_sse_binary(out, publication_payload(pub));
    }
    return err ? err : bytes_append_byte(out, '\n');
}

int framing_encode(
    struct framing_context *ctx, uint8_t framing, const struct publication *pub, struct bytes *out)
{
    size_t before = out->len;
    int err = 0;

    switch (framings[framing].wire) {
    case WIRE_WS:
        err = encode_ws(ctx, framing, pub, out);
        break;
    case WIRE_SSE:
        err = encode_sse(framing, pub, out);
        break;
    case WIRE_JSON:
        err = framing_append_envelope(out, pub);
        err = err ? err : bytes_append_byte(out, ',');
        break;
    }
    if (err) {
        out->len = before;
    }
    return err;
}

/* An event by itself; out is unchanged on failure. */
static int append_notice(struct bytes *out, const char *name, struct span json)
{
    size_t before = out->len;
    int err = name ? bytes_appendf(out, "event: %s\n", name) : 0;

    err = err ? err : sse_append_json(out, json);
    err = err ? err : bytes_append_byte(out, '\n');
    if (err) {
        out->len = before;
    }
    return err;
}

int framing_encode_event(const struct publication *pub, struct bytes *out)
{
    return framing_append_envelope(out, pub);
}

int framing_encode_events(
    struct framing_context *ctx, uint8_t framing, struct span events, struct bytes *out)
{
    ctx->text.len = 0;
    int err = bytes_append_byte(&ctx->text, '[');
    err = err ? err : bytes_append(&ctx->text, events.data, events.len);
    err = err ? err : bytes_append_byte(&ctx->text, ']');
    struct span text = span_of(ctx->text.data, ctx->text.len);
    if (err || framings[framing].wire == WIRE_WS) {
        return err ? err : append_frame(ctx, framings[framing].deflate, WS_TEXT, text, out);
    }
    return append_notice(out, NULL, text);
}

int framing_encode_gap(struct framing_context *ctx, const struct gap *gap, struct bytes *out)
{
    struct span name = channel_name(gap->channel);

    if (!framings[gap->framing].gaps) {
        return 0;
    }
    ctx->text.len = 0;
    int err = bytes_append_str(&ctx->text, "{\"gap\":{\"channel\":");
    err = err ? err : json_append_string(&ctx->text, name.data, name.len);
    err = err ? err
              : bytes_appendf(&ctx->text, ",\"from\":%llu,\"to\":%llu,\"reason\":\"%s\"}}",
                    (unsigned long long)gap->from, (unsigned long long)gap->to,
                    drop_reason_names[gap->reason]);
    struct span text = span_of(ctx->text.data, ctx->text.len);
    if (err || framings[gap->framing].wire == WIRE_WS) {
        return err ? err : append_frame(ctx, false, WS_TEXT, text, out);
    }
    return append_notice(out, "gap", text);
}

void framing_context_fini(struct framing_context *ctx)
{
    bytes_fini(&ctx->text);
    bytes_fini(&ctx->packed);
}
