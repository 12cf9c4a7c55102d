/* Metrics: figures as Prometheus text, format 0.0.4.
 *
 * Every name begins with fanout_ (or process_, as all exporters have it) and is in base units; the
 * plain names rooms, clients and dropped_messages stand beside them for contracts.md 2. Names, once
 * published, keep their meaning: dashboards and alerts hang on them.
 */
#ifndef CTL_METRICS_H
#define CTL_METRICS_H

#include "base/attr.h"
#include "base/bytes.h"
#include "ctl/figures.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Appends all families. Returns 0 or -ENOMEM. */
MUST_USE int metrics_append(struct bytes *out, const struct figures *figures);

/* Appends `name="value"` with the value escaped. Returns 0 or -ENOMEM. */
MUST_USE int metrics_append_label(struct bytes *out, const char *name, const char *value);

#endif
