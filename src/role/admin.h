/* What operators and their tools ask the gateway: health, readiness, figures, connections. */
#ifndef ROLE_ADMIN_H
#define ROLE_ADMIN_H

#include "http/session.h"

/* Route handlers. */
void admin_health(struct http_exchange *x);  /* 200 OK as long as the process answers. */
void admin_healthz(struct http_exchange *x); /* 200 ok, or 503 "redis down". */
void admin_ready(struct http_exchange *x);   /* 200, or 503 with the reason. */

#endif
