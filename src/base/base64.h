/* Base64 with the standard alphabet and padding (RFC 4648, section 4).
 *
 * Decoding is strict: padding must be there, unused bits must be zero, and no other byte may occur,
 * so each value has exactly one spelling.
 */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include <stddef.h>

#include "base/attr.h"
#include "base/bytes.h"

/* Appends the encoding of len bytes. Returns 0 or -ENOMEM (out unchanged). */
MUST_USE int base64_encode(struct bytes *out, const void *data, size_t len);

/* Appends the bytes that data spells. Returns 0, -EBADMSG or -ENOMEM (out unchanged). */
MUST_USE int base64_decode(struct bytes *out, const void *data, size_t len);

#endif
