/* The envelope of a room's message in Redis: {"room":R,"from":C,"data":"text"}, and
 * "enc":"base64" behind it when the data is not text. Other services read and write it too, so the
 * members keep this order and nothing is added. No I/O, no clock.
 */
#ifndef LINK_REDIS_ENVELOPE_H
#define LINK_REDIS_ENVELOPE_H

#include "base/attr.h"
#include "base/bytes.h"

/* Appends the bare data of an envelope to out. Returns 0, -EBADMSG (not an envelope: no JSON
 * object, no string named data, an unknown or broken encoding) or -ENOMEM; out is unchanged then.
 */
MUST_USE int redis_envelope_decode(struct span envelope, struct bytes *out);

/* Appends an envelope to out. Returns 0, -EILSEQ (room or from is not UTF-8) or -ENOMEM; out is
 * unchanged then. */
MUST_USE int redis_envelope_encode(
    struct bytes *out, struct span room, struct span from, struct span data);

#endif
