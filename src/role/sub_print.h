/* How `fanout sub` shows what arrives: one line each, coloured for people or JSON for programs.
 *
 * Pure functions on bytes: a peer's payload can neither break the line nor steer the terminal.
 */
#ifndef ROLE_SUB_PRINT_H
#define ROLE_SUB_PRINT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"

enum sub_kind { SUB_EVENT, SUB_STATE, SUB_GAP };

/* A frame, understood. Spans are raw JSON values of the frame ({NULL, 0}: absent), except data of a
 * raw socket, which is the payload itself. */
struct sub_item {
    enum sub_kind kind;
    bool raw; /* From a raw socket: channel is plain text, data the payload. */
    struct span channel, cursor, data, enc, state, gap;
    struct span whole;
};

/* Reads one envelope, state or gap notice; anything else is an event with whole as its data. */
struct sub_item sub_item_read(struct span frame);

/* Calls fn for each frame of an array, or once when the text is none. */
typedef void sub_item_fn(void *ctx, const struct sub_item *item);
void sub_items(struct span frame, sub_item_fn *fn, void *ctx);

/* Appends the line for people, with '\n'. wall_ns: when it came. */
void sub_print_human(struct bytes *out, const struct sub_item *item, uint64_t wall_ns, bool colour);

/* Appends the envelope as one line of JSON, with '\n'; made from a raw payload as wire.md says:
 * JSON as it is but for line ends between values, text as a string, other bytes as base64. */
void sub_print_json(struct bytes *out, const struct sub_item *item);

/* Appends a valid JSON text byte for byte, perhaps coloured; control bytes as term_append_safe(). */
void sub_print_value(struct bytes *out, struct span json, bool colour);

#endif
