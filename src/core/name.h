/* Channel names: UTF-8 without control characters, `namespace:rest`.
 *
 * The namespace is 1..64 of [a-z0-9_-], the rest 1..255 bytes (wire.md "Channel").
 */
#ifndef CORE_NAME_H
#define CORE_NAME_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

enum {
    NAME_NAMESPACE_MAX = 64,
    NAME_REST_MAX = 255,
    NAME_MAX_BYTES = NAME_NAMESPACE_MAX + 1 + NAME_REST_MAX,
};

/* NULL when the name is good, else a sentence that says what is wrong (static). */
const char *name_check(struct span name);

/* The part before the first ':', or an empty span. */
struct span name_namespace(struct span name);

#endif
