/* Server-sent events, written (WHATWG HTML, 9.2).
 *
 * A field ends with its line, so a value of several lines becomes several `data` fields, which the
 * reader joins with line feeds: CR and CRLF reach it as LF.
 */
#ifndef PROTO_SSE_H
#define PROTO_SSE_H

#include "base/attr.h"
#include "base/bytes.h"

/* Appends one `data:` line for each line of the text, at least one. Returns 0 or -ENOMEM. */
MUST_USE int sse_append_data(struct bytes *out, struct span text);

/* Appends JSON as one `data:` line: line ends between its tokens become spaces. */
MUST_USE int sse_append_json(struct bytes *out, struct span json);

/* Takes the line ends out of JSON that stands from `start` on. */
void sse_flatten_json(struct bytes *out, size_t start);

#endif
