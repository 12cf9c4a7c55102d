/* `fanout demo`: the gateway as `fanout serve` runs it and a coordinator, with a page to try them out. */
#include <stdio.h>
#include <string.h>

#include "base/attr.h"
#include "base/check.h"
#include "role/admin.h"
#include "role/broker.h"
#include "role/coordinator.h"
#include "role/gateway.h"
#include "role/gateway_listen.h"
#include "role/page.h"
#include "role/role.h"
#include "role/serve.h"

static const struct route page_routes[] = {
    {"/", ROUTE_GET, page_handler},
    {"/assets/{}", ROUTE_GET, page_handler},
    {"/theme.js", ROUTE_GET, page_handler},
    {"/plain", ROUTE_GET, page_handler},
    {"/style.css", ROUTE_GET, page_handler},
    {"/app.js", ROUTE_GET, page_handler},
    {"/icon.svg", ROUTE_GET, page_handler},
    {"/favicon.ico", ROUTE_GET, page_handler},
    {0},
};

enum { ROUTES_MAX = 64 };

static void add_rows(struct route out[ROUTES_MAX], size_t *count, const struct route *rows)
{
    for (; rows->pattern; rows++) {
        CHECK(*count + 1 < ROUTES_MAX);
        out[(*count)++] = *rows;
    }
}

static bool is_health(const struct route *row)
{
    return row->handler == admin_healthz;
}

/* Where both have a path the first row is found: a run's events are asked of the coordinator, which leaves
 * those it does not know to the gateway; how the gateway is, is the gateway's to say. */
static void join_routes(struct route out[ROUTES_MAX])
{
    size_t count = 0;

    for (const struct route *row = serve_routes; row->pattern; row++) {
        if (is_health(row)) {
            out[count++] = *row;
        }
    }
    add_rows(out, &count, coordinator_routes);
    add_rows(out, &count, serve_routes);
    add_rows(out, &count, page_routes);
}

/* Where a browser on this machine finds us; empty when we listen on unix sockets alone. */
static void base_address(const struct gateway *gateway, char *out, size_t cap)
{
    const struct config_listens *listen = &gateway->snapshot->config->listen;
    const char *host = NULL;

    out[0] = '\0';
    for (uint32_t i = listen->count; i-- > 0;) {
        host = listen->items[i].unix_path ? host : listen->items[i].host;
    }
    if (!gateway->port) {
        return;
    }
    if (!host || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0) {
        host = "127.0.0.1";
    }
    snprintf(out, cap, strchr(host, ':') ? "http://[%s]:%u" : "http://%s:%u", host, gateway->port);
}

static void print_broker(const struct config *config)
{
    if (config->broker == CONFIG_BROKER_REDIS) {
        printf("  Broker   %s: what is published there arrives here, e.g.\n"
               "           redis-cli PUBLISH workflow:events:alice '{\"message\":\"hello\"}'\n",
            broker_describe(config));
        return;
    }
    printf("  Broker   embedded, in this process. Redis publishers are not heard;\n"
           "           to hear them: fanout demo --redis-host 127.0.0.1\n");
}

static void greet(const struct gateway *gateway)
{
    const struct config *config = gateway->snapshot->config;
    char base[300], listen[256];

    base_address(gateway, base, sizeof(base));
    if (base[0]) {
        printf("\nThe fanout demo is running. Open its page in a browser:\n\n"
               "  Page     %s/%s\n"
               "  Publish  curl -d '{\"channel\":\"user:alice\",\"data\":{\"message\":\"hello\"}}' "
               "%s/api/v1/publish\n"
               "  Run      curl -H 'X-User-ID: alice' -d "
               "'{\"tag\":\"flight-search\",\"inputs\":{\"city\":\"NYC\"}}' %s/api/v1/runs\n",
            base, strcmp(page_kind, "app") == 0 ? "" : "   (the plain one: built without Node)",
            base, base);
    } else {
        gateway_listen_text(config, 0, listen, sizeof(listen));
        printf(
            "\nThe fanout demo is running on %s; a browser needs a TCP address: --listen :8084\n\n",
            listen);
    }
    print_broker(config);
    printf("  Stop     Ctrl-C\n\n");
    fflush(stdout);
}

static const char help_head[] =
    "fanout demo: a gateway and a coordinator to try out, with a page that shows what they do\n"
    "\n"
    "Usage: fanout demo [flags]\n"
    "\n"
    "It is `fanout serve` with a page at /; the address is printed at the start. The API of\n"
    "`fanout coordinator` is on the same port, with sample workflows.\n"
    "\n"
    "Examples\n"
    "  fanout demo\n"
    "  fanout demo --listen 127.0.0.1:9000 --redis-host 127.0.0.1\n"
    "\n";

int role_demo(int argc, char **argv)
{
    static struct route routes[ROUTES_MAX];
    static const struct gateway_role demo = {
        .name = "demo",
        .settings = CONFIG_DEMO,
        .routes = routes,
        .started = greet,
        .help = help_head,
        .coordinates = true,
    };

    join_routes(routes);
    return serve_run(&demo, argc, argv);
}
