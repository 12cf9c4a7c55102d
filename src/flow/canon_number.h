/* Numbers as ECMAScript writes them (RFC 8785, 3.2.2.3; ECMA-262, Number::toString).
 *
 * The fewest digits that read back as the same double, and of those the nearest. Pure.
 */
#ifndef FLOW_CANON_NUMBER_H
#define FLOW_CANON_NUMBER_H

#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"

/* Past 2^53 it is the nearest double that is written. Returns 0 or -ENOMEM. */
MUST_USE int canon_append_integer(struct bytes *out, int64_t value);

/* Returns 0, -ERANGE (no finite number) or -ENOMEM. */
MUST_USE int canon_append_real(struct bytes *out, double value);

#endif
