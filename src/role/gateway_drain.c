#include "role/gateway_drain.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "role/coordinator.h"
#include "role/gateway.h"
#include "role/gateway_listen.h"
#include "role/gateway_options.h"
#include "rt/loop.h"
#include "rt/mailbox.h"
#include "rt/thread.h"

static void drain_shard(struct shard *shard, struct mail_call *call)
{
    struct gateway_shard *gs = gateway_of_shard(shard);

    /* Half the time for the close frames, half for the slow to take what is theirs. */
    conn_server_drain(gs->server, gs->snapshot->config->drain_timeout_ms / 2);
    mem_free(call);
}

static void hear_drained(struct shard *shard, struct mail_call *call)
{
    struct gateway *gateway = gateway_of_shard(shard)->gateway;

    mem_free(call);
    gateway->drained_count += 1;
    if (gateway->drained_count == gateway_part_count(gateway)) {
        LOG(LOG_INFO, "drained");
        gateway_stop_all(gateway);
    }
}

void gateway_report_drained(struct gateway *gateway)
{
    struct mail_call *call = mem_zalloc(sizeof(*call));
    struct mail_chain chain = {0};

    call->fn = hear_drained;
    call->mail.kind = MAIL_CALL;
    mail_chain_add(&chain, &call->mail);
    mailbox_post(gateway->shards[0].mailbox, &chain);
}

static void drain_expired(struct timer *timer, void *ctx)
{
    struct gateway *gateway = ctx;

    (void)timer;
    LOG(LOG_WARN, "drain.timeout", LOG_U("connections", gauge_value(&gateway->connections)));
    gateway_stop_all(gateway);
}

/* A supervisor may tell the process and its group: what comes this close behind is the same signal. */
#define SAME_SIGNAL_NS 500000000ull

static void begin_drain(struct gateway *gateway, int signal)
{
    gateway->draining = true;
    gateway->drain_began_ns = loop_now_ns(gateway->shards[0].loop);
    gateway_unlisten(gateway);
    LOG(LOG_INFO, "drain", LOG_S("signal", strsignal(signal)),
        LOG_U("connections", gauge_value(&gateway->connections)),
        LOG_U("timeout_ms", gateway->snapshot->config->drain_timeout_ms));
    notify_service("STOPPING=1\nSTATUS=draining");
    timer_start(gateway->shards[0].loop, &gateway->drain_timer,
        gateway->snapshot->config->drain_timeout_ms, drain_expired, gateway);
    for (uint16_t i = 0; i < gateway->shard_count; i++) {
        struct mail_call *call = mem_zalloc(sizeof(*call));
        gateway_call(&gateway->shards[0], i, drain_shard, call);
    }
    if (gateway->coordinator) {
        coordinator_drain(gateway->coordinator);
    }
}

void gateway_on_signal(void *ctx, uint64_t id, uint32_t events)
{
    struct gateway *gateway = ctx;
    int signal;

    (void)id;
    (void)events;
    while ((signal = signals_take(gateway->signal_fd)) != 0) {
        if (signal == SIGHUP) {
            gateway_reload(gateway);
        } else if (signal == SIGTERM || signal == SIGINT) {
            if (gateway->draining) {
                if (loop_now_ns(gateway->shards[0].loop) - gateway->drain_began_ns <
                    SAME_SIGNAL_NS) {
                    continue;
                }
                LOG(LOG_WARN, "exit", LOG_S("reason", "second signal"));
                _exit(1);
            }
            begin_drain(gateway, signal);
        }
    }
}
