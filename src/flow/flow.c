#include "flow/flow.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "flow/flow_own.h"

enum { IDLE_WAIT_MS = 1000 };

/* Runs whose time has come again. A walk through all, and so no sooner than the first of them is due. */
static void wake_paused(struct flow *flow)
{
    size_t cursor = 0;
    struct live *live;

    if (!flow->draining && flow->now_ms < flow->wake_ms) {
        return;
    }
    flow->wake_ms = UINT64_MAX;
    while (flow->paused && (live = (struct live *)table_next(&flow->runs, &cursor))) {
        if (live->state != LIVE_PAUSED) {
            continue;
        }
        if (flow->draining || flow->now_ms >= live->retry_ms) {
            live_ready(live);
        } else if (live->retry_ms < flow->wake_ms) {
            flow->wake_ms = live->retry_ms;
        }
    }
}

uint64_t flow_turn(struct flow *flow, uint64_t now_ms)
{
    flow->now_ms = now_ms;
    while (flow->asks_first) {
        struct flow_ask *ask = flow->asks_first;
        flow->asks_first = ask->next;
        flow->asks_last = flow->asks_first ? flow->asks_last : NULL;
        ask_begin(flow, ask);
    }
    if (flow->paused) {
        wake_paused(flow);
    }
    /* What becomes ready meanwhile has its turn in this one, too: a hop of a run in memory is no wait. */
    for (uint32_t i = 0; i < 10000 && flow->ready_first; i++) {
        struct live *live = flow->ready_first;
        flow->ready_first = live->ready_next;
        flow->ready_last = flow->ready_first ? flow->ready_last : NULL;
        live->ready = false;
        live_turn(live);
    }
    return flow->ready_first ? 0 : flow->paused ? FLOW_RETRY_MS : IDLE_WAIT_MS;
}

/* ---- life ---- */

static void on_state(void *ctx, bool up, const char *why)
{
    struct flow *flow = ctx;

    flow->up = up;
    snprintf(flow->stats.why, sizeof(flow->stats.why), "%s", up ? "" : why);
}

struct flow_events_in flow_events_in(struct flow *flow)
{
    return (struct flow_events_in){flow, in_task, in_signal, in_timer, on_state};
}

int flow_create(
    const struct flow_options *options, const struct flow_needs *needs, struct flow **ret_flow)
{
    struct flow *flow = mem_zalloc(sizeof(*flow));

    flow->options = *options;
    flow->store = needs->store;
    flow->http = needs->http;
    flow->clock_us = needs->clock_us;
    rng_init(&flow->rng, options->seed);
    flow->hash_key = (struct hash_key){rng_next(&flow->rng), rng_next(&flow->rng)};
    flow->scratch_nodes = mem_alloc(WORKFLOW_NODES_MAX * sizeof(*flow->scratch_nodes));
    snprintf(flow->stats.why, sizeof(flow->stats.why), "starting");
    *ret_flow = flow;
    return 0;
}

void flow_destroy(struct flow *flow)
{
    if (!flow) {
        return;
    }
    lives_fini(flow);
    values_fini(flow);
    start_fini(flow);
    bytes_fini(&flow->text);
    mem_free(flow->scratch_nodes);
    mem_free(flow);
}

void flow_drain(struct flow *flow)
{
    size_t cursor = 0;
    struct live *live;

    flow->draining = true;
    while ((live = (struct live *)table_next(&flow->runs, &cursor))) {
        live_ready(live);
    }
}

bool flow_idle(const struct flow *flow)
{
    return flow->under_way == 0 && !flow->asks_first;
}

void flow_ask(struct flow *flow, struct flow_ask *ask)
{
    ask->next = NULL;
    *(flow->asks_last ? &flow->asks_last->next : &flow->asks_first) = ask;
    flow->asks_last = ask;
}

void flow_stats(const struct flow *flow, struct flow_stats *ret_stats)
{
    *ret_stats = flow->stats;
    ret_stats->up = flow->up;
    ret_stats->runs_cached = (uint32_t)flow->runs.count;
    ret_stats->runs_busy = (uint32_t)flow->runs.count - flow->idle_count;
}
