#include "role/admin.h"

#include <stdio.h>
#include <string.h>

#include "role/gateway.h"

static void reply_text(struct http_exchange *x, int status, const char *text)
{
    http_reply(x, status, "text/plain; charset=utf-8", text, strlen(text));
}

void admin_health(struct http_exchange *x)
{
    reply_text(x, 200, "OK");
}

void admin_healthz(struct http_exchange *x)
{
    const struct gateway_shard *gs = gateway_shard_of(x->app);

    reply_text(x, gs->broker_up ? 200 : 503, gs->broker_up ? "ok" : "redis down");
}

void admin_ready(struct http_exchange *x)
{
    const struct conn_server *server = x->app;
    const struct gateway_shard *gs = gateway_shard_of(server);
    char text[COORDINATOR_WHY_MAX + 32];

    if (server->draining) {
        reply_text(x, 503, "not ready: draining");
    } else if (!gs->broker_up) {
        snprintf(text, sizeof(text), "not ready: %s", gs->broker_why);
        reply_text(x, 503, text);
    } else if (gs->gateway->coordinator && !gs->coordinator_up) {
        snprintf(text, sizeof(text), "not ready: %s", gs->coordinator_why);
        reply_text(x, 503, text);
    } else {
        reply_text(x, 200, "ready");
    }
}
