/* Runs that are worked on, and what waits for them. What comes in becomes an *item* of its run and waits in the run's queue:
 *
 *   COLD -> LOADING -> WARM -> COMMITTING -> WARM …        one commit of a run at a time
 *                        ^         |
 *                        |         +-> COLD     another coordinator was faster: load, judge all anew
 *                        |         +-> PAUSED   the store failed: the same, a little later
 *
 * A step (flow_step.c) changes the run in memory and gathers ops; when the commit is refused that run is
 * thrown away with everything the ops said, and its items go back to the head of the queue. So nothing
 * here has to be undone, and nothing is told to anybody before it is stored.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "flow/flow_own.h"

enum {
    NODE_BYTES = 1000, /* Of a run and its workflow, about. */
    EDGE_BYTES = 60,
    OPS_MAX = 256,            /* Of one commit, about. */
    TRIES_MAX = 8,            /* Refusals of one item's commit, after which it waits a while. */
    FULL_INTERVAL_MS = 30000, /* Between two lines of the log that say so. */
};

/* ---- queues ---- */

static void queue_add(struct item_queue *queue, struct item *item)
{
    item->next = NULL;
    *(queue->last ? &queue->last->next : &queue->first) = item;
    queue->last = item;
}

static struct item *queue_take(struct item_queue *queue)
{
    struct item *item = queue->first;

    if (item) {
        queue->first = item->next;
        queue->last = queue->first ? queue->last : NULL;
        item->next = NULL;
    }
    return item;
}

static void queue_add_first(struct item_queue *queue, struct item *item)
{
    item->next = queue->first;
    queue->first = item;
    queue->last = queue->last ? queue->last : item;
}

/* All of `from` before what is in `to`. */
static void queue_prepend(struct item_queue *to, struct item_queue *from)
{
    if (from->last) {
        from->last->next = to->first;
        to->first = from->first;
        to->last = to->last ? to->last : from->last;
        *from = (struct item_queue){0};
    }
}

/* ---- runs in memory ---- */

void live_ready(struct live *live)
{
    struct flow *flow = live->flow;

    if (!live->ready) {
        live->ready = true;
        live->ready_next = NULL;
        *(flow->ready_last ? &flow->ready_last->ready_next : &flow->ready_first) = live;
        flow->ready_last = live;
    }
}

static void live_wake(struct live *live)
{
    if (live->idle) {
        struct flow *flow = live->flow;
        *(live->older ? &live->older->newer : &flow->idle_oldest) = live->newer;
        *(live->newer ? &live->newer->older : &flow->idle_newest) = live->older;
        live->newer = live->older = NULL;
        live->idle = false;
        flow->idle_count -= 1;
        flow->idle_bytes -= live->idle_bytes;
    }
}

/* Lets go of the run as it is in memory. */
static void live_forget(struct live *live)
{
    run_free(live->run);
    live->run = NULL;
    live->known_seq = 0;
    live->state = LIVE_COLD;
}

static void live_free(struct live *live)
{
    struct flow *flow = live->flow;

    live_wake(live);
    live_forget(live);
    workflow_unref(live->workflow);
    changes_fini(&live->changes);
    table_remove(&flow->runs, &live->item);
    mem_free(live);
}

static bool live_equal(const struct table_item *item, const void *key)
{
    const struct live *live = (const struct live *)item;
    return span_equal(span_of(live->id, live->id_len), *(const struct span *)key);
}

static struct live *live_get(struct flow *flow, struct span id)
{
    uint64_t hash = flow_hash(flow, id.data, id.len);
    struct live *live = (struct live *)table_find(&flow->runs, hash, live_equal, &id);

    if (live || id.len > FLOW_RUN_ID_MAX) {
        return live;
    }
    live = mem_try_zalloc(sizeof(*live));
    if (!live) {
        return NULL;
    }
    live->item.hash = hash;
    live->flow = flow;
    live->id_len = id.len;
    memcpy(live->id, id.data, id.len);
    if (table_add(&flow->runs, &live->item) != 0) {
        mem_free(live);
        return NULL;
    }
    return live;
}

/* About what it takes while it rests: most runs read their workflow from the store, each its own. */
static size_t size_of(const struct live *live)
{
    const struct workflow *workflow = live->run->workflow;

    return sizeof(*live) + workflow->node_count * NODE_BYTES + workflow->edge_count * EDGE_BYTES;
}

/* Nothing waits for it now. A run that is over is not asked for often, and one that is kept may be out of
 * date: what is kept is a saving, and bounded. */
static void live_rest(struct live *live)
{
    struct flow *flow = live->flow;

    if (live->waiting.first || live->parked || live->state > LIVE_WARM || live->idle) {
        return;
    }
    if (!live->run || live->run->status != RUN_RUNNING || flow->draining) {
        live_free(live);
        return;
    }
    live->older = flow->idle_newest;
    *(live->older ? &live->older->newer : &flow->idle_oldest) = live;
    flow->idle_newest = live;
    live->idle = true;
    live->idle_bytes = size_of(live);
    changes_fini(&live->changes);
    flow->idle_count += 1;
    flow->idle_bytes += live->idle_bytes;
    while (flow->idle_oldest && (flow->idle_count > flow->options.runs_max ||
                                    flow->idle_bytes > flow->options.runs_bytes_max)) {
        live_free(flow->idle_oldest);
    }
}

/* A store that is full may be so for long, and every run of it asks. */
static uint64_t pause_ms(uint32_t failures)
{
    return failures < 5 ? (uint64_t)FLOW_RETRY_MS << failures : FLOW_RETRY_MAX_MS;
}

void live_pause(struct live *live)
{
    struct flow *flow = live->flow;

    if (live->state == LIVE_WARM || live->state == LIVE_COLD) {
        live_forget(live);
        live->state = LIVE_PAUSED;
        live->retry_ms = flow->now_ms + pause_ms(live->failures++);
        flow->paused += 1;
        flow->wake_ms = live->retry_ms < flow->wake_ms ? live->retry_ms : flow->wake_ms;
    }
}

/* ---- items ---- */

struct item *item_new(struct flow *flow, enum item_kind kind)
{
    struct item *item = mem_try_zalloc(sizeof(*item));

    if (item) {
        item->flow = flow;
        item->kind = kind;
        item->seq = ++flow->seq;
        item->since_us = flow->clock_us ? flow->clock_us() : 0;
        flow->under_way += 1;
    }
    return item;
}

void item_free(struct item *item)
{
    item->flow->under_way -= 1;
    mem_free(item->token);
    mem_free(item->node);
    json_decref(item->message);
    run_free(item->fresh);
    bytes_fini(&item->inputs);
    json_decref(item->held);
    json_decref(item->result);
    mem_free(item->get);
    mem_free(item);
}

bool item_send(struct item *item, struct span run_id)
{
    struct live *live = live_get(item->flow, run_id);

    if (!live) {
        return false;
    }
    item->live = live;
    live_wake(live);
    queue_add(&live->waiting, item);
    live_ready(live);
    return true;
}

bool item_timer_waits(struct flow *flow, struct span run_id, struct span node)
{
    uint64_t hash = flow_hash(flow, run_id.data, run_id.len);
    struct live *live = (struct live *)table_find(&flow->runs, hash, live_equal, &run_id);

    for (struct item *item = live ? live->waiting.first : NULL; item; item = item->next) {
        if (item->kind == ITEM_TIMER && span_equal(span_str(item->node), node)) {
            return true;
        }
    }
    return false;
}

void item_resume(struct item *item)
{
    item->live->parked -= 1;
    queue_add_first(&item->live->waiting, item);
    live_ready(item->live);
}

void item_finish(struct item *item, enum flow_release how, const char *why)
{
    struct flow *flow = item->flow;

    if (item->task && how == FLOW_DEAD) {
        in_dead_task(flow, item->task, why);
    } else if (item->task) {
        flow->store->release_task(flow->store->ctx, item->task, how, why);
        flow->stats.tasks_stale += how == FLOW_DROP;
    }
    if (item->signal && how == FLOW_DEAD) {
        in_dead_signal(flow, item->signal, why);
    } else if (item->signal) {
        flow->store->release_signal(flow->store->ctx, item->signal, how, why);
        flow->stats.signals_stale += how == FLOW_DROP;
    }
    item_free(item);
}

/* ---- loading ---- */

static void loaded(struct flow_load *load)
{
    struct live *live = load->owner;
    struct flow *flow = live->flow;
    struct run *run = NULL;
    char why[200] = "its workflow cannot be compiled";

    flow->under_way -= 1;
    live->unreadable = false;
    int err = load->err;
    if (!err && !live->workflow) {
        err = workflow_from_ir(load->ir, &live->workflow);
    }
    if (!err) {
        err = run_restore(live->workflow, load, &run, why, sizeof(why));
    }
    if (err == -ENOENT || err == -EBADMSG || err == -EINVAL) {
        /* Nobody can go on with it: known, and known to be nothing. */
        live->state = LIVE_WARM;
        live->unreadable = err != -ENOENT;
        if (live->unreadable) {
            LOG(LOG_ERROR, "run.unreadable", LOG_S("run", live->id), LOG_S("error", why));
        }
    } else if (err) {
        live->state = LIVE_COLD;
        live_pause(live);
        return;
    } else {
        run->task_types = flow->options.task_types;
        run->task_timeout_ms = flow->options.task_timeout_ms;
        live->run = run;
        live->state = LIVE_WARM;
    }
    live_ready(live);
}

static void live_load(struct live *live)
{
    struct flow *flow = live->flow;

    live_forget(live);
    live->state = LIVE_LOADING;
    live->known_seq = flow->seq;
    live->load = (struct flow_load){
        .done = loaded,
        .owner = live,
        .run_id = span_of(live->id, live->id_len),
        .want_ir = live->workflow == NULL,
    };
    flow->under_way += 1;
    flow->store->load(flow->store->ctx, &live->load);
}

/* ---- committing ---- */

static void finish_committed(struct live *live)
{
    struct flow *flow = live->flow;
    uint64_t now_us = flow->clock_us ? flow->clock_us() : 0;
    struct item *item;

    while ((item = queue_take(&live->committing))) {
        hist_record(&flow->stats.step_us, now_us - item->since_us);
        if (item->ask) {
            ask_item_done(flow, item);
        }
        item_finish(item, FLOW_DONE, NULL);
    }
}

/* A request to begin a run that has begun: whoever asked twice gets one run. */
static void finish_existing(struct live *live)
{
    struct item *item = queue_take(&live->committing);

    if (item->ask) {
        ask_error(live->flow, item->ask, 409, "run_exists", "there is a run of this id already");
        item->ask = NULL;
    }
    item_finish(item, FLOW_DROP, NULL);
}

/* The store cannot be used: people are told, everything else waits. */
static void answer_waiting(struct item_queue *queue, int err)
{
    struct item_queue rest = {0};
    struct item *item;

    while ((item = queue_take(queue))) {
        if (item->ask) {
            ask_store_error(item->flow, item->ask, err);
            item->ask = NULL;
            item_finish(item, FLOW_DROP, NULL);
        } else {
            queue_add(&rest, item);
        }
    }
    *queue = rest;
}

/* Refused again and again, by others who are faster: a little later, then. used_up: alone in its commit, of a
 * run fresh from the store, whose record of used tokens says otherwise: that cannot heal. */
static void drop_poison(struct live *live, bool used_up)
{
    struct item_queue rest = {0};
    struct item *item;

    while ((item = queue_take(&live->committing))) {
        item->tries += 1;
        if (item->tries <= TRIES_MAX && !used_up) {
            queue_add(&rest, item);
            continue;
        }
        if (item->ask) {
            ask_error(live->flow, item->ask, 503, "busy", "the run changes too fast, try again");
            item->ask = NULL;
        }
        item_finish(item, used_up ? FLOW_DEAD : FLOW_LATER,
            used_up ? "the store has its token as used up, the run has it in flight"
                    : "its commit was refused again and again");
    }
    live->committing = rest;
}

/* Nothing else says so: the store answers, and the coordinator is ready. Redis is heard to be full by its link, which also
 * sees what is no commit. */
static void log_full(struct flow *flow, const struct live *live)
{
    uint64_t held;

    if (log_allow(&flow->full_limit, flow->now_ms, FULL_INTERVAL_MS, &held)) {
        LOG(LOG_WARN, "flow.store_full", LOG_S("run", live->id), LOG_U("repeats", held),
            LOG_S("text", "there is no room for its step: new runs are refused, others wait"));
    }
}

static void committed(struct flow_commit *commit)
{
    struct live *live = commit->owner;
    struct flow *flow = live->flow;

    flow->under_way -= 1;
    live->state = LIVE_WARM;
    if (commit->err == 0) {
        flow->stats.commits += 1;
        live->run->version = commit->ret_version;
        live->failures = 0;
        live->singly = false;
        count_changes(flow, &live->changes);
        finish_committed(live);
        if (live->run->status != RUN_RUNNING) {
            work_end_http(live);
        }
    } else {
        live_forget(live);
        if (commit->err == -EEXIST && commit->version == 0) {
            finish_existing(live);
        } else if (commit->err == -ESTALE || commit->err == -EALREADY || commit->err == -EEXIST) {
            flow->stats.conflicts += 1;
            drop_poison(live, live->singly && commit->err == -EALREADY);
            live->singly = commit->err == -EALREADY || live->singly;
        } else {
            flow->stats.commit_failed += 1;
            if (commit->err == -ENOSPC && !flow->store->outside_workers) {
                log_full(flow, live);
            }
            answer_waiting(&live->committing, commit->err);
            live_pause(live);
        }
        queue_prepend(&live->waiting, &live->committing);
    }
    changes_reset(&live->changes);
    live_ready(live);
}

static void live_commit(struct live *live)
{
    struct flow *flow = live->flow;

    live->state = LIVE_COMMITTING;
    live->known_seq = flow->seq;
    live->commit = (struct flow_commit){
        .done = committed,
        .owner = live,
        .run_id = span_of(live->id, live->id_len),
        .user = span_str(live->run->user),
        .version = live->run->version,
        .ops = live->changes.ops,
        .op_count = live->changes.count,
    };
    flow->under_way += 1;
    flow->store->commit(flow->store->ctx, &live->commit);
}

/* ---- working ---- */

/* The run as the steps changed it is gone: everything of this commit is done again. */
static void undo_steps(struct live *live)
{
    changes_reset(&live->changes);
    queue_prepend(&live->waiting, &live->committing);
}

/* Without memory for a step its changes are half made. */
static void live_step_failed(struct live *live)
{
    live_forget(live);
    undo_steps(live);
    answer_waiting(&live->waiting, -ENOMEM);
    live_pause(live);
}

static void work_off(struct live *live)
{
    bool reload = false;

    while (live->waiting.first && !reload) {
        struct item *item = queue_take(&live->waiting);
        enum step step = item_step(live, item);
        /* The store failed at once when the step asked it for a value. */
        if (live->state == LIVE_PAUSED) {
            undo_steps(live);
            return;
        }
        if (step == STEP_CHANGED) {
            queue_add(&live->committing, item);
            if (live->singly || live->changes.count >= OPS_MAX) {
                break;
            }
        } else if (step == STEP_RELOAD || step == STEP_FAILED) {
            queue_add_first(&live->waiting, item);
            if (step == STEP_FAILED) {
                live_step_failed(live);
                return;
            }
            reload = true;
        }
    }
    if (live->committing.first) {
        live_commit(live); /* What needs the run anew sees it afterwards. */
    } else if (reload) {
        live_load(live);
    } else {
        live_rest(live);
    }
}

/* What was not begun is left to others, or to the next start. What came of a request that was made is waited for
 * while we stop, so it is not thrown away, unless the store fails. */
static void hand_back(struct live *live, bool all)
{
    struct item_queue done = {0};
    struct item *item;

    answer_waiting(&live->waiting, -ESHUTDOWN);
    while ((item = queue_take(&live->waiting))) {
        if (item->outcome != OUTCOME_NONE && !all) {
            queue_add(&done, item);
        } else {
            item_finish(item, FLOW_LATER, "this coordinator is stopping");
        }
    }
    live->waiting = done;
}

void live_turn(struct live *live)
{
    struct flow *flow = live->flow;

    if (live->state == LIVE_COMMITTING || live->state == LIVE_LOADING) {
        return;
    }
    bool paused = live->state == LIVE_PAUSED;
    if (paused) {
        if (!flow->draining && flow->now_ms < live->retry_ms) {
            return;
        }
        flow->paused -= 1;
        live->state = LIVE_COLD;
    }
    if (flow->draining) {
        hand_back(live, paused);
    }
    if (!live->waiting.first) {
        live_rest(live);
    } else if (live->state == LIVE_COLD && live->waiting.first->kind != ITEM_START) {
        live_load(live);
    } else {
        live->state = LIVE_WARM;
        work_off(live);
    }
}

static void free_items(struct item_queue *queue)
{
    struct item *item;

    while ((item = queue_take(queue))) {
        item_free(item);
    }
}

void lives_fini(struct flow *flow)
{
    size_t cursor = 0;
    struct live *live;

    while ((live = (struct live *)table_next(&flow->runs, &cursor))) {
        free_items(&live->waiting);
        free_items(&live->committing);
        live_free(live);
        cursor = 0;
    }
    table_fini(&flow->runs);
}
