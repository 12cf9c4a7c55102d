/* `fanout coordinator`: runs workflows; its clients are those who start and look after runs. */
#include <stdio.h>

#include "role/coordinator.h"
#include "role/gateway.h"
#include "role/role.h"
#include "role/serve.h"

static const char help_head[] =
    "fanout coordinator: runs workflows, and tells their users about it while it does\n"
    "\n"
    "Usage: fanout coordinator [flags]\n"
    "\n"
    "Runs are kept in Redis as soon as a REDIS_* variable or --redis-host is given: then many\n"
    "coordinators can share them, workers in any language can join, and every gateway on that "
    "Redis\n"
    "hears their events. Without Redis they are kept in a file, and --gateway says where events "
    "go.\n"
    "`fanout demo` has a coordinator inside.\n"
    "\n"
    "Examples\n"
    "  fanout coordinator --redis-host 127.0.0.1 --workflows ./workflows\n"
    "  fanout coordinator --gateway http://127.0.0.1:8084\n"
    "  curl -X PUT -d @flight-search.json http://127.0.0.1:8081/api/v1/workflows/flight-search\n"
    "  curl -H 'X-User-ID: alice' -d '{\"tag\":\"flight-search\",\"inputs\":{\"city\":\"NYC\"}}' "
    "\\\n"
    "      http://127.0.0.1:8081/api/v1/runs\n"
    "\n"
    "Exit code: 0 drained after SIGTERM or SIGINT; 1 it could not start; 2 wrong usage.\n"
    "\n";

/* Events must reach somebody. */
static int check(const struct config *config)
{
    bool redis = config->broker == CONFIG_BROKER_REDIS;

    if (!redis && !config->gateway) {
        fprintf(stderr,
            "fanout: a coordinator without Redis has nobody to tell its events to: name a gateway "
            "with --gateway http://127.0.0.1:8084, or the Redis that gateways listen to with "
            "--redis-host; `fanout demo` is a gateway and a coordinator in one\n");
        return -1;
    }
    if (redis && config->gateway) {
        fprintf(stderr,
            "fanout: warning: gateway has no effect: with Redis, Redis carries the events\n");
    }
    return 0;
}

int role_coordinator(int argc, char **argv)
{
    static const struct gateway_role coordinator = {
        .name = "coordinator",
        .settings = CONFIG_COORDINATOR,
        .routes = coordinator_routes,
        .help = help_head,
        .check = check,
        .coordinates = true,
        .no_clients = true,
    };

    return serve_run(&coordinator, argc, argv);
}
