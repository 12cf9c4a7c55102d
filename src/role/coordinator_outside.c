/* Publishing to a gateway that is another process: its client, and whether it answers. */
#include <errno.h>
#include <stdio.h>

#include "ctl/config.h"
#include "link/http_client.h"
#include "link/http_publisher.h"
#include "role/coordinator_own.h"

enum { CONNECTIONS = 64, TIMEOUT_MS = 10000, PROBE_MS = 2000 };

int coordinator_outside_open(struct coordinator *coordinator, char *why, size_t why_cap)
{
    /* We name the address ourselves: it may be anywhere. */
    const struct http_client_options client = {
        .connections_max = CONNECTIONS,
        .connections_per_host_max = CONNECTIONS,
        .allow_private = HTTP_PRIVATE_ALLOW,
    };
    const struct http_publisher_options options = {
        .gateway = coordinator->config->gateway,
        .timeout_ms = TIMEOUT_MS,
    };
    char text[HTTP_PUBLISHER_WHY_MAX];
    int err = http_publisher_check(options.gateway, text);

    if (err) {
        snprintf(why, why_cap, "%s", text);
        return err;
    }
    err = http_client_create(
        coordinator->loop, COORDINATOR_KIND_PUBLISHER, &client, &coordinator->gateway_http);
    if (!err) {
        coordinator->gateway_port = http_client_port(coordinator->gateway_http);
        err = http_publisher_create(&options, &coordinator->gateway_port, &coordinator->outside);
    }
    if (!err) {
        coordinator->publisher = http_publisher_port(coordinator->outside);
    }
    return err;
}

static void probed(void *ctx, bool up, const char *why)
{
    struct coordinator *coordinator = ctx;

    if (coordinator->stopping) {
        return;
    }
    if (up && !coordinator->gateway_up) {
        LOG(LOG_INFO, "coordinator.gateway_up", LOG_S("gateway", coordinator->config->gateway));
    } else if (!up && (coordinator->gateway_up || !coordinator->gateway_why[0])) {
        LOG(LOG_WARN, "coordinator.gateway_down", LOG_S("gateway", coordinator->config->gateway),
            LOG_S("why", why));
    }
    coordinator->gateway_up = up;
    snprintf(coordinator->gateway_why, sizeof(coordinator->gateway_why), "%s",
        up              ? ""
        : why && why[0] ? why
                        : "the gateway does not answer");
}

uint64_t coordinator_outside_turn(struct coordinator *coordinator, uint64_t now_ms)
{
    uint64_t since = now_ms - coordinator->probed_ms;

    if (!coordinator->outside) {
        return PROBE_MS;
    }
    if (since < PROBE_MS) {
        return PROBE_MS - since;
    }
    coordinator->probed_ms = now_ms;
    if (http_publisher_probe(coordinator->outside, probed, coordinator) != 0) {
        return PROBE_MS; /* It is still asked; the request's own time will end it. */
    }
    return PROBE_MS;
}

void coordinator_outside_close(struct coordinator *coordinator)
{
    http_publisher_destroy(coordinator->outside);
    http_client_destroy(coordinator->gateway_http);
    coordinator->outside = NULL;
    coordinator->gateway_http = NULL;
}
