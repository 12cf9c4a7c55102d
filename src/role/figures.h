/* Figures: what all shards count, gathered for GET /metrics and GET /admin/stats. */
#ifndef ROLE_FIGURES_H
#define ROLE_FIGURES_H

#include "http/session.h"

/* Route handlers. */
void figures_metrics(struct http_exchange *x);
void figures_stats(struct http_exchange *x);

#endif
