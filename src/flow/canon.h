/* Canonical JSON (RFC 8785, JCS) and the references made of it.
 *
 * Members sorted by UTF-16 code units, numbers as ECMAScript writes them, no white space. A
 * result's reference is "sha256:" and the hash of that text, so that equal results are one.
 *
 * Pure.
 */
#ifndef FLOW_CANON_H
#define FLOW_CANON_H

#include <jansson.h>
#include <stdbool.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "flow/ports.h"

/* Appends. Returns 0, -ENOMEM, or -ERANGE: a number JSON cannot carry (no double is infinite that
 * jansson read), or more than JSON_DEPTH_MAX levels, which json_read() would not take back. An
 * integer past 2^53, for which ECMAScript's double is not exact, is written as that double, as RFC
 * 8785 has it. out keeps its content on failure. */
MUST_USE int canon_append(struct bytes *out, const json_t *value);

/* The reference of a text that is canonical already; ends with a NUL. */
void canon_ref(struct span text, char out[FLOW_REF_LEN + 1]);

/* canon_append() to an empty out, and its reference. Returns as canon_append(). */
MUST_USE int canon_blob(const json_t *value, struct bytes *out, char ref[FLOW_REF_LEN + 1]);

/* Reads "sha256:<64 hex>" or "cas://sha256:<64 hex>" as the former, in lower case. False: it is
 * none. */
bool canon_ref_parse(struct span text, char out[FLOW_REF_LEN + 1]);

/* Parses JSON as everything here takes it: duplicates refused, any value at the top, at most
 * JSON_DEPTH_MAX levels, NUL in strings allowed (but not in names), an integer past 64 bits read as
 * a double. Gives it, or NULL with one sentence (place and finding, UTF-8 without control bytes) in
 * why, and errno ENOMEM or EBADMSG. json_read.c */
json_t *json_read(struct span text, char *why, size_t why_cap);

#endif
