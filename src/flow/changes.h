/* Changes: the ops of a commit while it is being made, with the bytes they point at.
 *
 * Nothing of it moves once it is in; the commit borrows all from here until it is answered.
 */
#ifndef FLOW_CHANGES_H
#define FLOW_CHANGES_H

#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "flow/ports.h"

struct changes_block;

struct changes {
    struct flow_op *ops;
    uint32_t count, cap;
    struct changes_block *blocks; /* The bytes; blocks never move. */
};

/* Starts as all zeroes. */
void changes_fini(struct changes *changes);
/* Empties it, and keeps its memory. */
void changes_reset(struct changes *changes);

/* Copies bytes in. Returns false without memory. *ret_span lives as long as the changes. */
MUST_USE bool changes_keep(struct changes *changes, struct span bytes, struct span *ret_span);

/* Adds an op; its spans are copied. Returns 0 or -ENOMEM. */
MUST_USE int changes_add(struct changes *changes, const struct flow_op *op);

#endif
