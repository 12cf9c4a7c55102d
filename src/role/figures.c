#include "role/figures.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "ctl/figures.h"
#include "ctl/metrics.h"
#include "ctl/stats.h"
#include "role/broker.h"
#include "role/coordinator_figures.h"
#include "role/gateway.h"
#include "store/store.h"
#include "role/gather.h"
#include "rt/clock.h"

/* What one shard knows. */
struct figures_part {
    struct gather_part part;
    struct conn_stats conn;
    struct http_stats http;
    struct shard_stats core;
    struct ns_stats ns[CORE_NAMESPACES_MAX];
    struct figures_shard shard;
    int64_t open_fds;     /* Of the shard's own table; 0 when the asking shard sees them all. */
    struct shared shared; /* Counters only. */
    bool has_redis;
    struct redis_stats redis;
    struct figures_flow flow; /* In one part of all. */
};

static uint64_t furthest_behind(const struct shard *shard)
{
    uint64_t most = 0;

    for (uint16_t i = 0; i < shard->settings->shard_count; i++) {
        uint64_t bytes = shard->peers[i].in_flight;
        most = bytes > most ? bytes : most;
    }
    return most;
}

static bool fill(struct gateway_shard *gs, struct gather_part *base)
{
    struct figures_part *part = (struct figures_part *)base;
    const struct shard *shard = gs->server->shard;

    part->conn = gs->server->stats;
    part->http = *http_server_stats(gs->server->http);
    part->core = shard->stats;
    memcpy(part->ns, shard->ns_stats, gs->snapshot->settings->ns_count * sizeof(part->ns[0]));
    part->shared = shard->shared;
    part->shard = (struct figures_shard){
        .connections = gs->server->stats.clients,
        .turns = gs->turns,
        .busy_seconds = (double)gs->busy_ns * 1e-9,
        .unswept_bytes = shard->unswept_bytes,
        .lent_bytes = furthest_behind(shard),
    };
    if (gs->snapshot->config->fd_tables && base->shard != base->asker) {
        struct process_usage usage;
        process_usage_read(&usage);
        part->open_fds = usage.open_fds;
    }
    if (gs->index == 0 && gs->gateway->broker) {
        part->has_redis = true;
        broker_stats(gs->gateway->broker, &part->redis);
    }
    return true;
}

/* ---- adding up ---- */

static void add_connections(struct figures *f, const struct conn_stats *conn)
{
    static const uint8_t kinds[FIGURES_ENDPOINTS] = {
        CLIENT_USER, CLIENT_ROOM, CLIENT_CHANNELS, CLIENT_V1};
    uint32_t listening = 0;

    for (int i = 0; i < FIGURES_ENDPOINTS; i++) {
        f->websockets[i] += conn->websockets[kinds[i]];
        f->streams[i] += conn->streams[kinds[i]];
        listening += conn->websockets[kinds[i]] + conn->streams[kinds[i]];
    }
    f->polls += conn->polls;
    f->streams_opened += conn->streams_opened;
    f->polls_answered += conn->polls_answered;
    f->http_connections += conn->clients - listening - conn->polls;
    f->opened += conn->accepted;
    f->refused += conn->refused;
    f->closed += conn->closed;
    f->handshakes += conn->handshakes;
    f->bytes_in += conn->bytes_in;
    f->bytes_out += conn->bytes_out;
    f->messages_in += conn->messages_in;
    f->pings += conn->pings;
    f->idle_closed += conn->idle_closed;
    f->violations += conn->violations;
    f->cut_policy += conn->cut_policy;
    f->cut_operator += conn->cut_operator;
    f->slow_began += conn->slow_began;
    f->slow_now += conn->slow_began - conn->slow_ended;
    f->publish_lost += conn->publish_dropped;
    f->users += conn->user_channels;
    f->rooms += conn->room_channels;
    f->listened_channels += conn->channels;
}

static void add_http(struct http_stats *to, const struct http_stats *from)
{
    to->requests += from->requests;
    to->timeouts += from->timeouts;
    to->refused += from->refused;
    to->sessions += from->sessions;
    for (size_t i = 0; i < COUNT_OF(to->replies); i++) {
        to->replies[i] += from->replies[i];
    }
}

static void add_books(struct books *to, const struct books *from)
{
    to->accepted += from->accepted;
    to->delivered += from->delivered;
    to->queued += from->queued;
    to->pending += from->pending;
    for (int i = 0; i < DROP_REASONS; i++) {
        to->dropped[i] += from->dropped[i];
    }
}

static void add_core(struct shard_stats *to, const struct shard_stats *from)
{
    add_books(&to->books, &from->books);
    to->publications += from->publications;
    to->publication_bytes += from->publication_bytes;
    to->refused += from->refused;
    to->sweeps += from->sweeps;
    to->spans += from->spans;
    to->replayed += from->replayed;
    to->history_bytes += from->history_bytes;
    to->history_messages += from->history_messages;
    to->channels += from->channels;
    to->homes += from->homes;
    to->subscriptions += from->subscriptions;
    to->latency_sum_seconds += from->latency_sum_seconds;
    for (int i = 0; i < SHARD_LATENCY_BUCKETS; i++) {
        to->latency[i] += from->latency[i];
    }
}

static void add_namespace(struct ns_stats *to, const struct ns_stats *from)
{
    to->accepted += from->accepted;
    to->delivered += from->delivered;
    to->publications += from->publications;
    to->publication_bytes += from->publication_bytes;
    for (int i = 0; i < DROP_REASONS; i++) {
        to->dropped[i] += from->dropped[i];
    }
}

static void put_redis(struct figures_broker *to, const struct redis_stats *from)
{
    *to = (struct figures_broker){
        .redis = true,
        .up = from->state == REDIS_UP,
        .reconnects = from->reconnects,
        .outage_seconds = (double)from->outage_ms * 1e-3,
        .messages = from->messages,
        .message_bytes = from->message_bytes,
        .dropped_full = from->dropped_full,
        .dropped_channel = from->dropped_channel,
        .dropped_large = from->dropped_large,
        .dropped_lost = from->dropped_lost,
        .dropped_malformed = from->dropped_malformed,
        .published = from->published,
        .publish_failed = from->publish_failed,
        .publish_busy = from->publish_busy,
        .path_age_seconds = (double)from->canary_age_ms * 1e-3,
        .path_round_seconds = (double)from->canary_round_ms * 1e-3,
        .queue_bytes = from->queue_bytes,
        .queue_bytes_max = from->queue_bytes_max,
        .unanswered_bytes = from->unanswered_bytes,
        .subscriptions = from->subscriptions,
        .subscriptions_pending = from->subscriptions_pending,
    };
}

static void put_history(struct figures_shared *to, const struct redis_stats *from)
{
    const struct redis_history_stats *history = &from->history;

    to->on = from->has_history;
    to->appended = history->appended;
    to->duplicates = history->duplicates;
    to->append_failed = history->append_failed;
    to->numbered = history->numbered;
    to->twins = history->twins;
    to->pages = history->pages;
    to->page_events = history->page_events;
    to->read_failed = history->read_failed;
    to->reloads = history->reloads;
    to->renewals = history->renewals;
}

static void add_shared(struct figures_shared *to, const struct shared *from)
{
    to->ephemeral += from->ephemeral;
    to->holes += from->holes;
    to->filled += from->fetched;
    to->lost += from->lost;
    to->reads_open += from->letters;
}

static void put_store(struct figures_store *to, const struct gateway *gateway)
{
    struct store_stats from;

    if (!gateway->store) {
        return;
    }
    store_stats(gateway->store, &from);
    *to = (struct figures_store){
        .on = true,
        .failed = from.failed,
        .full = from.full,
        .records = from.records,
        .commits = from.commits,
        .trimmed = from.trimmed,
        .evicted = from.evicted,
        .reads = from.reads,
        .read_records = from.read_records,
        .refused = from.refused,
        .damaged = from.damaged,
        .pending_bytes = from.pending_bytes,
        .used_bytes = from.used_bytes,
        .disk_bytes_max = from.disk_bytes_max,
        .commit_seconds = (double)from.commit_ns * 1e-9,
        .read_seconds = (double)from.read_ns * 1e-9,
    };
}

static void put_fixed(struct figures *f, const struct gateway_shard *gs)
{
    const struct core_settings *settings = gs->snapshot->settings;

    f->version = FANOUT_VERSION;
    f->role = gs->gateway->role;
    f->start_time_seconds = (double)gs->gateway->started_wall_ns * 1e-9;
    f->uptime_seconds = (double)(clock_now_ns() - gs->gateway->started_ns) * 1e-9;
    process_usage_read(&f->process);
    f->connections_max = gs->snapshot->options.connections_max;
    f->history_bytes_max = settings->history_bytes_total * settings->shard_count;
    f->overload_bytes_max = settings->overload_bytes;
    f->shard_count = gs->gateway->shard_count;
    f->ns_count = settings->ns_count;
    for (uint32_t i = 0; i < settings->ns_count; i++) {
        const struct ns_settings *ns = &settings->ns[i];
        snprintf(f->ns[i].name, sizeof(f->ns[i].name), "%s", ns->name);
        f->ns[i].outbox_messages_max = ns->outbox_messages;
        f->ns[i].outbox_bytes_max = ns->outbox_bytes;
        f->ns[i].history_messages_max = ns->history_messages;
    }
}

/* Gives figures of the whole process, or NULL without memory. */
static struct figures *add_up(const struct gateway_shard *gs, const struct gather *gather)
{
    struct figures *f = mem_try_zalloc(sizeof(*f));

    if (!f) {
        return NULL;
    }
    put_fixed(f, gs);
    put_store(&f->store, gs->gateway);
    f->broker.up = true;
    for (uint16_t i = 0; i < gs->gateway->shard_count; i++) {
        const struct figures_part *part = (const struct figures_part *)gather_part(gather, i);
        add_connections(f, &part->conn);
        add_http(&f->http, &part->http);
        add_core(&f->core, &part->core);
        add_shared(&f->shared, &part->shared);
        for (uint32_t n = 0; n < f->ns_count; n++) {
            add_namespace(&f->ns[n].stats, &part->ns[n]);
        }
        f->shards[i] = part->shard;
        if (part->has_redis) {
            put_redis(&f->broker, &part->redis);
            put_history(&f->shared, &part->redis);
        }
        if (part->flow.on) {
            f->flow = part->flow;
        }
        f->process.open_fds += f->process.open_fds >= 0 ? part->open_fds : 0;
    }
    return f;
}

/* ---- answering ---- */

static void answer(struct gateway_shard *gs, struct http_exchange *x, const struct gather *gather,
    int (*append)(struct bytes *out, const struct figures *figures), const char *content_type)
{
    struct figures *figures = add_up(gs, gather);
    struct bytes *out = &gs->server->text;

    out->len = 0;
    if (!figures || append(out, figures) != 0) {
        http_reply_error(x, 503, "no_memory", "no memory for the answer");
    } else {
        http_reply(x, 200, content_type, out->data, out->len);
    }
    mem_free(figures);
}

static void answer_metrics(struct gateway_shard *gs, struct http_exchange *x, struct gather *gather)
{
    answer(gs, x, gather, metrics_append, METRICS_CONTENT_TYPE);
}

static void answer_stats(struct gateway_shard *gs, struct http_exchange *x, struct gather *gather)
{
    answer(gs, x, gather, stats_append, "application/json");
}

static void ask(struct http_exchange *x, const struct gather_question *question,
    const struct figures_flow *flow)
{
    struct gather *gather = gather_create(x, question, GATHER_ALL);

    if (!gather) {
        return;
    }
    if (flow) {
        struct figures_part *part = (struct figures_part *)gather_part(gather, 0);
        part->flow = *flow;
    }
    gather_send(gather);
}

static const struct gather_question metrics_question = {
    .part_size = sizeof(struct figures_part), .weight = 1, .fill = fill, .answer = answer_metrics};

/* The coordinator's figures are here: the shards' come next. */
static void hear_flow(struct gateway_shard *gs, uint64_t peer, const struct figures_flow *flow)
{
    struct client *client = conn_client_find(gs->server, peer);
    struct http_exchange *x =
        client && client->session ? http_session_exchange(client->session) : NULL;

    gs->gather_weight -= metrics_question.weight;
    if (x) {
        ask(x, &metrics_question, flow);
    }
}

void figures_metrics(struct http_exchange *x)
{
    struct gateway_shard *gs = gateway_shard_of(x->app);

    if (!gs->gateway->coordinator) {
        ask(x, &metrics_question, NULL);
    } else if (gs->gather_weight + metrics_question.weight > GATHER_WEIGHT_MAX) {
        http_reply_error(x, 503, "busy", "too many such requests are being answered; try again");
    } else if (coordinator_figures_ask(gs, x->peer, hear_flow) != 0) {
        http_reply_error(x, 503, "no_memory", "no memory for the request");
    } else {
        gs->gather_weight += metrics_question.weight;
    }
}

void figures_stats(struct http_exchange *x)
{
    static const struct gather_question question = {.part_size = sizeof(struct figures_part),
        .weight = 1,
        .fill = fill,
        .answer = answer_stats};
    ask(x, &question, NULL);
}
