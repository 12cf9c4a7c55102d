/* That we live, who does not, what is due: asked once a beat, once a second, once in a long while. */
#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "link/redis_flow_own.h"
#include "link/redis_flow_reply.h"
#include "rt/clock.h"
#include "rt/loop.h"

enum {
    POLL_MS = 1000,  /* Timers of others are seen so soon. */
    AGAIN_MS = 2000, /* A timer that was told comes again. */
    TIMERS_MAX = 256,
    SWEEP_STEP_MS = 20,
    SWEEP_MS_MAX = 3600 * 1000, /* An IR lives for a day. */
};

static uint64_t wall_ms(void)
{
    return clock_wall_ns() / 1000000;
}

bool redis_flow_alive(const struct redis_flow *flow)
{
    return flow->beaten_ms && loop_now_ms(flow->loop) - flow->beaten_ms < flow->options.dead_ms / 2;
}

/* ---- asking ---- */

static void write_beat(struct redis_flow *flow)
{
    struct command *command = redis_flow_call(flow, REDIS_FLOW_BEAT);

    command_str(command, flow->name);
    command_number(command, flow->options.dead_ms);
    command_str(command, flow->fresh ? "1" : "0");
    for (size_t i = 0; i < flow->reader_count; i++) {
        if (flow->readers[i].stream) {
            command_str(command, flow->readers[i].stream);
            command_str(command, flow->readers[i].group);
        }
    }
    flow->beat_ms = loop_now_ms(flow->loop);
}

int redis_flow_lease_write(struct redis_flow *flow, const struct ask *ask)
{
    struct command *command = &flow->command;

    switch ((enum ask_kind)ask->kind) {
    case ASK_BEAT:
        write_beat(flow);
        return command->err;
    case ASK_TIMERS:
        redis_flow_call(flow, REDIS_FLOW_TIMERS);
        command_number(command, wall_ms());
        command_number(command, AGAIN_MS);
        command_number(command, TIMERS_MAX);
        command_number(command, flow->options.retention_ms);
        return command->err;
    case ASK_SWEEP:
        redis_flow_call(flow, REDIS_FLOW_SWEEP);
        command_number(command, flow->sweep_offset);
        command_number(command, SWEEP_RUNS);
        command_number(command, flow->options.retention_ms);
        return command->err;
    case ASK_LEAVE:
        redis_flow_call(flow, REDIS_FLOW_LEAVE);
        command_str(command, flow->name);
        return command->err;
    default:
        return -EINVAL;
    }
}

/* ---- answers ---- */

static void due(struct timer *timer, void *ctx)
{
    (void)timer;
    redis_flow_tick(ctx);
}

static void beaten(struct redis_flow *flow, struct span reply)
{
    struct span *words = NULL;
    size_t count = 0;
    uint64_t died = 0;

    flow->beating = false;
    if (!reply.len || redis_flow_words(reply, &words, &count) != 0) {
        return;
    }
    flow->fresh = false;
    flow->beaten_ms = flow->beat_ms;
    if (count > 0 && redis_flow_number(words[0], &died) && died > 0) {
        flow->stats.reclaimed += died;
        LOG(LOG_INFO, "flow.took_over", LOG_S("coordinator", flow->name), LOG_U("dead", died));
    }
    for (size_t i = 1; i < count; i++) {
        redis_flow_look_again(flow, words[i]);
    }
    mem_free(words);
}

/* "{run_id}:{node}"; a node's id has no colon. */
static void tell_timer(struct redis_flow *flow, struct span member)
{
    const uint8_t *colon = member.len ? memrchr(member.data, ':', member.len) : NULL;

    if (colon && !flow->draining) {
        size_t len = (size_t)(colon - member.data);
        flow->in.on_timer(
            flow->in.ctx, span_of(member.data, len), span_of(colon + 1, member.len - len - 1));
    }
}

static void polled(struct redis_flow *flow, struct span reply)
{
    struct span *words = NULL;
    size_t count = 0;

    flow->polling = false;
    if (!reply.len || redis_flow_words(reply, &words, &count) != 0) {
        return;
    }
    if (count >= 2) {
        uint64_t next;
        if (redis_flow_number(words[0], &next)) {
            redis_flow_timer_set(flow, next);
        }
        if (span_equal(words[1], span_str("1"))) {
            flow->poll_ms = 0;
            timer_start(flow->loop, &flow->due_timer, 0, due, flow);
        }
    }
    for (size_t i = 2; i < count; i++) {
        tell_timer(flow, words[i]);
    }
    mem_free(words);
}

static void swept(struct redis_flow *flow, struct span reply)
{
    uint64_t now_ms = loop_now_ms(flow->loop);
    uint64_t quarter = flow->options.retention_ms / 4;
    uint64_t round_ms = quarter < SWEEP_MS_MAX ? quarter : (uint64_t)SWEEP_MS_MAX;
    uint64_t looked = 0;

    flow->sweeping = false;
    if (reply.len && redis_flow_committed(reply, &looked) == 0 && looked == SWEEP_RUNS) {
        flow->sweep_offset += SWEEP_RUNS;
        flow->sweep_ms = now_ms + SWEEP_STEP_MS;
    } else {
        flow->sweep_offset = 0;
        flow->sweep_ms = now_ms + (round_ms > SWEEP_STEP_MS ? round_ms : (uint64_t)SWEEP_STEP_MS);
    }
}

void redis_flow_lease_done(struct redis_flow *flow, const struct ask *ask, struct span reply)
{
    switch ((enum ask_kind)ask->kind) {
    case ASK_BEAT:
        beaten(flow, reply);
        return;
    case ASK_TIMERS:
        polled(flow, reply);
        return;
    case ASK_SWEEP:
        swept(flow, reply);
        return;
    default:
        flow->left = true;
        return;
    }
}

/* ---- when ---- */

/* Looks at the timers when the next one is due, if that is before they are looked at anyway. */
void redis_flow_timer_set(struct redis_flow *flow, uint64_t at_ms)
{
    uint64_t now_ms = wall_ms();
    uint64_t wait_ms = at_ms > now_ms ? at_ms - now_ms : 0;

    if (wait_ms >= POLL_MS) {
        return;
    }
    uint64_t poll_ms = loop_now_ms(flow->loop) + wait_ms + 1;
    if (poll_ms < flow->poll_ms) {
        flow->poll_ms = poll_ms;
        timer_start(flow->loop, &flow->due_timer, wait_ms + 1, due, flow);
    }
}

void redis_flow_tick(struct redis_flow *flow)
{
    uint64_t now_ms = loop_now_ms(flow->loop);

    if (flow->phase != PHASE_UP || flow->leaving) {
        return;
    }
    if (!flow->beating && (flow->fresh || now_ms - flow->beat_ms >= flow->options.beat_ms)) {
        flow->beating = redis_flow_ask(flow, ASK_BEAT, NULL, 0) == 0;
    }
    if (!flow->polling && now_ms >= flow->poll_ms) {
        flow->polling = redis_flow_ask(flow, ASK_TIMERS, NULL, 0) == 0;
        flow->poll_ms = now_ms + POLL_MS;
    }
    if (!flow->sweeping && now_ms >= flow->sweep_ms) {
        flow->sweeping = redis_flow_ask(flow, ASK_SWEEP, NULL, 0) == 0;
    }
    if (flow->groups_due) {
        flow->groups_due = false;
        for (uint32_t i = 0; i <= flow->type_count; i++) {
            flow->groups_due |= redis_flow_ask(flow, ASK_GROUP, NULL, i) != 0;
        }
    }
}
