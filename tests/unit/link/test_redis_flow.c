/* The suite for every store of runs, on Redis. */
#include "tests/support/flow_store_suite.h"
#include "tests/support/unit.h"
#include "tests/unit/link/redis_fixture.h"

#include <stdio.h>

#include "link/redis_flow.h"
#include "rt/clock.h"
#include "rt/loop.h"

enum { SOCKET_KIND = 3, RESOLVE_KIND = 4, PASS_MS_MAX = 3000 };

struct rig {
    struct server server;
    struct loop *loop;
    struct redis_flow *flow;
};

static void open_store(void *ctx, const struct flow_events_in *in, struct flow_store *ret_store)
{
    static const struct redis_flow_type types[] = {
        {FLOW_SUITE_TYPE_A, true}, {FLOW_SUITE_TYPE_B, true}};
    struct rig *rig = ctx;
    struct redis_options redis = server_options(&rig->server);
    struct redis_flow_options options = redis_flow_options_default();
    char err[256] = "";

    server_do(&rig->server, "FLUSHALL");
    options.name = "suite";
    options.types = types;
    options.type_count = 2;
    options.tasks_max = FLOW_SUITE_TASKS_MAX;
    options.retention_ms = FLOW_SUITE_RETENTION_MS;
    assert_int_equal(loop_create(&rig->loop), 0);
    if (redis_flow_create(rig->loop, SOCKET_KIND, RESOLVE_KIND, &redis, &options, &rig->flow, err,
            sizeof(err)) != 0) {
        fail_msg("%s", err);
    }
    *ret_store = redis_flow_store(rig->flow);
    redis_flow_start(rig->flow, in);
}

static void close_store(void *ctx)
{
    struct rig *rig = ctx;

    redis_flow_shut(rig->flow);
    redis_flow_destroy(rig->flow);
    loop_destroy(rig->loop);
}

static void pump(void *ctx)
{
    struct rig *rig = ctx;

    loop_poll(rig->loop, 5);
    redis_flow_turn(rig->flow);
}

static uint64_t wall_ms(void *ctx)
{
    (void)ctx;
    return clock_wall_ns() / 1000000;
}

/* Nothing that is waited for takes longer here; what is late comes while the suite goes on. */
static void pass(void *ctx, uint64_t ms)
{
    uint64_t end_ms = now_ms() + (ms < PASS_MS_MAX ? ms : PASS_MS_MAX);

    while (now_ms() < end_ms) {
        pump(ctx);
    }
}

static uint64_t dead_count(void *ctx)
{
    struct rig *rig = ctx;

    return (uint64_t)server_do(&rig->server, "XLEN wf.dead");
}

int main(void)
{
    static struct rig rig;
    const struct flow_suite_port port = {
        .ctx = &rig,
        .open = open_store,
        .close = close_store,
        .pump = pump,
        .now_ms = wall_ms,
        .pass = pass,
        .dead_count = dead_count,
    };

    server_start(&rig.server, NULL, false);
    int failed = flow_store_suite("redis", &port);
    server_stop(&rig.server);
    return failed;
}
