#include "conn/framing.h"

#include <errno.h>

#include "base/base64.h"
#include "base/json.h"
#include "base/utf8.h"
#include "core/books.h"
#include "core/channel.h"
#include "core/outbox.h"
#include "proto/ws.h"
#include "proto/ws_deflate.h"

static const struct {
    bool envelope;
    bool deflate;
} framings[FRAMINGS] = {
    [FRAMING_RAW] = {false, false},
    [FRAMING_RAW_DEFLATE] = {false, true},
    [FRAMING_ENVELOPE] = {true, false},
    [FRAMING_ENVELOPE_DEFLATE] = {true, true},
};

bool framing_wants_gaps(uint8_t framing)
{
    return framings[framing].envelope;
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
    err = err ? err : bytes_append_str(out, ",\"cursor\":\"");
    err = err ? err : bytes_append(out, cursor, cursor_len);
    err = err ? err : bytes_append_str(out, "\",");
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

int framing_encode(
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
    return err ? err
               : append_frame(ctx, framings[framing].deflate, WS_TEXT,
                     span_of(ctx->text.data, ctx->text.len), out);
}

int framing_encode_gap(struct framing_context *ctx, const struct gap *gap, struct bytes *out)
{
    struct span name = channel_name(gap->channel);

    if (!framings[gap->framing].envelope) {
        return 0;
    }
    ctx->text.len = 0;
    int err = bytes_append_str(&ctx->text, "{\"gap\":{\"channel\":");
    err = err ? err : json_append_string(&ctx->text, name.data, name.len);
    err = err ? err
              : bytes_appendf(&ctx->text, ",\"from\":%llu,\"to\":%llu,\"reason\":\"%s\"}}",
                    (unsigned long long)gap->from, (unsigned long long)gap->to,
                    drop_reason_names[gap->reason]);
    return err ? err
               : append_frame(ctx, false, WS_TEXT, span_of(ctx->text.data, ctx->text.len), out);
}

void framing_context_fini(struct framing_context *ctx)
{
    bytes_fini(&ctx->text);
    bytes_fini(&ctx->packed);
}
