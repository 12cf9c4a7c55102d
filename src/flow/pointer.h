/* Pointer: JSON pointers (RFC 6901) into parsed JSON.
 *
 * "" is the whole value, "/a/0" the first of its member a; in a name ~1 is a slash and ~0 a tilde.
 * Indexes have no sign and no leading zero, and "-" (behind the last one) is nothing.
 *
 * Pure, without allocation.
 */
#ifndef FLOW_POINTER_H
#define FLOW_POINTER_H

#include <jansson.h>
#include <stdbool.h>

#include "base/attr.h"
#include "base/bytes.h"

/* The value, borrowed, or NULL when there is none (or pointer is no pointer). root may be NULL. */
const json_t *pointer_get(const json_t *root, struct span pointer);

/* Is this a pointer? */
bool pointer_valid(struct span pointer);

/* Walks the segments of a valid pointer: start with *cursor = the pointer. Gives them as they are
 * written, with their tildes. False at the end. */
bool pointer_next(struct span *cursor, struct span *ret_segment);

/* Does a segment name this? */
bool pointer_names(struct span segment, struct span name);

#endif
