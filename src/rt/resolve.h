/* Resolve: names to addresses without stopping the loop.
 *
 * A short-lived thread asks the system's resolver and the answer comes back as a call on the loop's
 * thread. Numeric addresses, "localhost" and unix paths are answered at once, inside the call.
 */
#ifndef RT_RESOLVE_H
#define RT_RESOLVE_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

struct loop;
struct resolve;

/* addresses: numeric "ip:port" texts, best first (borrowed); count 0 and a sentence in why when
 * the name has none. */
typedef void resolve_fn(void *ctx, const char *const *addresses, size_t count, const char *why);

/* Resolves "name:port". fn is called exactly once unless cancelled; the handle dies then. When the
 * answer is known at once, fn has been called before this returns and *ret_resolve is NULL. kind:
 * the loop kind that resolve uses for its wake descriptors; nobody else may handle it. Returns 0,
 * -EINVAL (not "name:port") or another negative errno; fn was not called then. */
MUST_USE int resolve_start(struct loop *loop, uint8_t kind, const char *name_port, resolve_fn *fn,
    void *ctx, struct resolve **ret_resolve);

/* fn will not be called. Takes the handle; NULL is fine. Never waits, although the thread may still
 * be asking. Every handle must be cancelled or answered before its loop is destroyed. */
void resolve_cancel(struct resolve *resolve);

#endif
