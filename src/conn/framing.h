/* Framings: how a publication is written for a class of subscribers. One row each.
 *
 * raw            the payload alone, one WebSocket frame
 * envelope       {"channel":…,"cursor":…,"data":…} as one WebSocket text frame
 * … deflate      the same compressed (permessage-deflate), once per class
 * SSE raw        an event with the payload, line by line, and the cursor as its id; a payload that is
 *                not UTF-8 comes as base64 in an event named "binary"
 * SSE envelope   an event with the envelope, and the cursor as its id
 * SSE list       the same without an id: the connection names all its cursors (conn/sse.h)
 * poll           the envelope and a comma: one element of an answer
 */
#ifndef CONN_FRAMING_H
#define CONN_FRAMING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "core/cursor.h"
#include "core/publication.h"

struct gap;
struct ws_deflater;

enum framing {
    FRAMING_RAW,
    FRAMING_RAW_DEFLATE,
    FRAMING_ENVELOPE,
    FRAMING_ENVELOPE_DEFLATE,
    FRAMING_SSE_RAW,
    FRAMING_SSE_ENVELOPE,
    FRAMING_SSE_LIST,
    FRAMING_POLL,
    FRAMINGS,
};

struct framing_context {
    struct ws_deflater *deflater;
    uint32_t deflate_min_bytes; /* Shorter payloads are not worth it. */
    struct bytes text;          /* Scratch: the message before it is framed. */
    struct bytes packed;        /* Scratch: compressed. */
};

/* Appends the publication as one frame. Returns 0 or -ENOMEM (out unchanged). */
MUST_USE int framing_encode(
    struct framing_context *ctx, uint8_t framing, const struct publication *pub, struct bytes *out);

/* As ports.h: one event of several, and the frame around them. Envelopes only. */
MUST_USE int framing_encode_event(const struct publication *pub, struct bytes *out);
MUST_USE int framing_encode_events(
    struct framing_context *ctx, uint8_t framing, struct span events, struct bytes *out);

/* Appends a gap notice; nothing for framings without. */
MUST_USE int framing_encode_gap(
    struct framing_context *ctx, const struct gap *gap, struct bytes *out);
bool framing_wants_gaps(uint8_t framing);

/* Appends `{"channel":C,"cursor":K,"data":…}` without a frame around it. */
MUST_USE int framing_append_envelope(struct bytes *out, const struct publication *pub);

/* Appends `"data":…` and, where the payload is no JSON, `,"enc":…`. */
MUST_USE int framing_append_data(struct bytes *out, struct span payload);

void framing_context_fini(struct framing_context *ctx);

#endif
