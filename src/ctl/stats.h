/* Stats: the figures an operator looks at first, as JSON (GET /admin/stats). */
#ifndef CTL_STATS_H
#define CTL_STATS_H

#include "base/attr.h"
#include "base/bytes.h"
#include "ctl/figures.h"

/* Appends one object; "connections" counts clients that listen to events, not HTTP requests.
 * Returns 0 or -ENOMEM. */
MUST_USE int stats_append(struct bytes *out, const struct figures *figures);

#endif
