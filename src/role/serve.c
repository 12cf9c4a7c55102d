#include "role/serve.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/bytes.h"
#include "conn/history.h"
#include "conn/poll.h"
#include "conn/publish.h"
#include "conn/runs.h"
#include "conn/sse.h"
#include "conn/ws.h"
#include "ctl/config.h"
#include "role/admin.h"
#include "role/figures.h"
#include "role/gateway.h"
#include "role/listing.h"
#include "role/role.h"

/* clang-format off: a table, one row a line. */
const struct route serve_routes[] = {
    {"/ws", ROUTE_GET, ws_upgrade_handler},
    {"/sse", ROUTE_GET, sse_handler},
    {"/poll", ROUTE_GET, poll_handler},
    {"/api/v1/publish", ROUTE_POST, publish_handler},
    {"/api/v1/channels/{}", ROUTE_POST, publish_raw_handler},
    {"/api/v1/channels/{}/history", ROUTE_GET, history_handler},
    {"/api/v1/runs/{}/events", ROUTE_GET, runs_handler},
    {"/health", ROUTE_GET, admin_health},
    {"/healthz", ROUTE_GET, admin_healthz},
    {"/ready", ROUTE_GET, admin_ready},
    {"/metrics", ROUTE_GET, figures_metrics},
    {"/admin/stats", ROUTE_GET, figures_stats},
    {"/api/v1/connections", ROUTE_GET, listing_handler},
    {"/api/v1/connections/{}", ROUTE_DELETE, listing_cut},
    {0},
};
/* clang-format on */

static void print_lines(const struct config_lines *lines, const char *prefix)
{
    for (uint32_t i = 0; i < lines->count; i++) {
        fprintf(stderr, "fanout: %s%s\n", prefix, lines->items[i]);
    }
    if (lines->more_count) {
        fprintf(stderr, "fanout: … and %u more\n", lines->more_count);
    }
}

static int print_help(const char *head, enum config_role role)
{
    struct bytes text = {0};

    if (bytes_append_str(&text, head) != 0 || config_help(role, &text) != 0) {
        return 1;
    }
    fwrite(text.data, 1, text.len, stdout);
    bytes_fini(&text);
    return 0;
}

int serve_run(const struct gateway_role *role, int argc, char **argv)
{
    struct config_report report = {0};
    struct config *config;
    int err = config_load(role->settings, argc, argv, environ, &config, &report);

    print_lines(&report.faults, "");
    print_lines(&report.notices, "warning: ");
    config_report_fini(&report);
    if (err == 1) {
        return print_help(role->help, role->settings);
    }
    if (!err && role->check && role->check(config) != 0) {
        config_free(config);
        return 2;
    }
    return err ? 2 : gateway_run(role, config, argc, argv);
}

static const char help_head[] =
    "fanout serve: the gateway that clients connect to, over WebSocket, SSE and long polling\n"
    "\n"
    "Usage: fanout serve [flags]\n"
    "\n"
    "Without a REDIS_* variable or --redis-host it carries its own broker. Every flag may be a\n"
    "variable or a line of a file instead; `fanout config` shows what holds and why.\n"
    "\n"
    "Examples\n"
    "  fanout serve\n"
    "  fanout serve --listen 127.0.0.1:8084 --redis-host 127.0.0.1\n"
    "  fanout serve --config /etc/fanout.yaml\n"
    "\n"
    "Exit code: 0 drained after SIGTERM or SIGINT; 1 it could not start; 2 wrong usage.\n"
    "\n";

int role_serve(int argc, char **argv)
{
    static const struct gateway_role serve = {
        .name = "serve", .settings = CONFIG_SERVE, .routes = serve_routes, .help = help_head};

    return serve_run(&serve, argc, argv);
}
