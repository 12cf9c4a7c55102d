/* Filter: which events a subscriber wants, by their type.
 *
 * A text such as "node_failed,workflow_*": names, or beginnings of names with one '*' at their end. An
 * event's type is the string member "type" of its payload; an event without one passes no filter. The
 * type is read once for a publication and matched once for a class of subscribers.
 */
#ifndef CORE_FILTER_H
#define CORE_FILTER_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/bytes.h"

enum { FILTER_NAME_MAX = 64, FILTER_NAMES_MAX = 32, FILTER_TEXT_MAX = 1024 };

/* NULL, or a sentence that says what is wrong with the text. An empty one is no filter. */
const char *filter_check(struct span text);

/* Does this type pass? */
bool filter_match(struct span text, struct span type);

/* The type of an event; empty when it has none. Valid as long as the payload and scratch are. */
struct span filter_type(struct span payload, struct bytes *scratch);

#endif
