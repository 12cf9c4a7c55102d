/* `fanout demo`: the gateway as `fanout serve` runs it, with a page to try it out. */
#include <stdio.h>
#include <string.h>

#include "base/attr.h"
#include "base/check.h"
#include "role/broker.h"
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
};

enum { ROUTES_MAX = 64 };

/* The gateway's rows, then the page's, then the row of zeroes that ends the table. */
static void join_routes(struct route out[ROUTES_MAX])
{
    size_t count = 0;

    while (serve_routes[count].pattern) {
        count += 1;
    }
    CHECK(count + COUNT_OF(page_routes) < ROUTES_MAX);
    memcpy(out, serve_routes, count * sizeof(*out));
    memcpy(out + count, page_routes, sizeof(page_routes));
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
               "%s/api/v1/publish\n",
            base, strcmp(page_kind, "app") == 0 ? "" : "   (the plain one: built without Node)",
            base);
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
    "fanout demo: a gateway to try out, with a page that shows what it does\n"
    "\n"
    "Usage: fanout demo [flags]\n"
    "\n"
    "It is `fanout serve` with a page at /; the address is printed at the start.\n"
    "\n"
    "Examples\n"
    "  fanout demo\n"
    "  fanout demo --listen 127.0.0.1:9000 --redis-host 127.0.0.1\n"
    "\n";

int role_demo(int argc, char **argv)
{
    static struct route routes[ROUTES_MAX];
    static const struct gateway_role demo = {
        .name = "demo", .routes = routes, .started = greet, .help = help_head};

    join_routes(routes);
    return serve_run(&demo, CONFIG_DEMO, argc, argv);
}
