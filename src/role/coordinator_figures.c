#include "role/coordinator_figures.h"

#include <errno.h>

#include "base/mem.h"
#include "ctl/config.h"
#include "link/http_client.h"
#include "link/redis_flow.h"
#include "role/coordinator_own.h"
#include "store/flow_db.h"

struct figures_letter {
    struct coordinator_letter letter;
    void (*hear)(struct gateway_shard *gs, uint64_t peer, const struct figures_flow *flow);
    uint64_t peer;
    uint16_t shard;
    struct figures_flow flow;
};

/* ---- on the coordinator's thread ---- */

static void put_flow(struct figures_flow *to, const struct flow_stats *from)
{
    *to = (struct figures_flow){
        .on = true,
        .up = from->up,
        .runs_started = from->runs_started,
        .runs_completed = from->runs_completed,
        .runs_failed = from->runs_failed,
        .runs_cancelled = from->runs_cancelled,
        .nodes_completed = from->nodes_completed,
        .nodes_failed = from->nodes_failed,
        .nodes_retried = from->nodes_retried,
        .tokens_emitted = from->tokens_emitted,
        .tokens_consumed = from->tokens_consumed,
        .events = from->events,
        .signals = from->signals,
        .signals_stale = from->signals_stale,
        .signals_dead = from->signals_dead,
        .tasks = from->tasks,
        .tasks_stale = from->tasks_stale,
        .tasks_dead = from->tasks_dead,
        .commits = from->commits,
        .conflicts = from->conflicts,
        .commit_failed = from->commit_failed,
        .runs_cached = from->runs_cached,
        .runs_busy = from->runs_busy,
        .cache_bytes = from->cache_bytes,
        .steps = from->step_us.count,
        .step_seconds = (double)from->step_us.sum * 1e-6,
    };
    for (int i = 0; i < FIGURES_STEP_BUCKETS; i++) {
        to->steps_below[i] = hist_count_at_most(&from->step_us, UINT64_C(16) << i);
    }
}

static void put_http(struct figures_flow *to, const struct http_client *client)
{
    struct http_client_stats from;

    http_client_stats(client, &from);
    to->http_requests = from.requests;
    to->http_failures = from.failures;
    to->http_refused = from.refused_private;
    to->http_active = from.active;
    to->http_waiting = from.waiting;
}

static void put_db(struct figures_flow_db *to, const struct coordinator *coordinator)
{
    struct flow_db_stats from;

    flow_db_stats(coordinator->db, &from);
    *to = (struct figures_flow_db){
        .transactions = from.transactions,
        .failed = from.failed,
        .published = from.published,
        .publish_failed = from.publish_failed,
        .reaped = from.reaped,
        .dead = from.dead,
        .file_bytes = from.file_bytes,
        .bytes_max = coordinator->config->flow.disk_bytes,
        .wal_pages = from.wal_pages,
        .tasks_waiting = from.tasks_waiting,
        .timers = from.timers,
        .unpublished_runs = from.unpublished_runs,
        .full = from.full,
    };
}

static void put_redis(struct figures_flow_redis *to, const struct redis_flow *redis)
{
    const struct redis_flow_stats from = redis_flow_stats(redis);

    *to = (struct figures_flow_redis){
        .on = true,
        .reconnects = from.reconnects,
        .reloads = from.reloads,
        .refused = from.refused,
        .tasks_again = from.tasks_again,
        .requests = from.requests,
        .dead = from.dead,
        .reclaimed = from.reclaimed,
        .unanswered = from.unanswered,
        .tasks_under_way = from.tasks_under_way,
        .signals_under_way = from.signals_under_way,
    };
}

static void hear_back(struct shard *shard, struct mail_call *call)
{
    struct figures_letter *letter = (struct figures_letter *)call;

    letter->hear(gateway_of_shard(shard), letter->peer, &letter->flow);
    mem_free(letter);
}

static void hear_ask(struct coordinator *coordinator, struct coordinator_letter *base)
{
    struct figures_letter *letter = (struct figures_letter *)base;

    if (!coordinator) {
        mem_free(letter);
        return;
    }
    struct flow_stats *stats = mem_alloc(sizeof(*stats)); /* Large for a stack. */
    flow_stats(coordinator->flow, stats);
    put_flow(&letter->flow, stats);
    mem_free(stats);
    put_http(&letter->flow, coordinator->http);
    if (coordinator->redis) {
        put_redis(&letter->flow.redis, coordinator->redis);
    } else {
        put_db(&letter->flow.db, coordinator);
    }
    coordinator_to_shard(coordinator, letter->shard, hear_back, &letter->letter);
}

/* ---- on the shard ---- */

int coordinator_figures_ask(struct gateway_shard *gs, uint64_t peer,
    void (*hear)(struct gateway_shard *gs, uint64_t peer, const struct figures_flow *flow))
{
    struct figures_letter *letter = mem_try_zalloc(sizeof(*letter));

    if (!letter) {
        return -ENOMEM;
    }
    letter->letter.hear = hear_ask;
    letter->hear = hear;
    letter->peer = peer;
    letter->shard = gs->index;
    coordinator_post(gs->gateway->coordinator, &letter->letter);
    return 0;
}
