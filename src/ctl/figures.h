/* Figures: what a gateway counts, gathered from all its shards, ready to be written down.
 *
 * Plain numbers, no pointers into anybody's state: role fills the struct from copies, metrics.h
 * writes it as Prometheus text, stats.h as JSON.
 */
#ifndef CTL_FIGURES_H
#define CTL_FIGURES_H

#include <stdbool.h>
#include <stdint.h>

#include "core/settings.h"
#include "core/shard.h"
#include "http/session.h"
#include "rt/process.h"

enum figures_endpoint {
    FIGURES_USER,
    FIGURES_ROOM,
    FIGURES_CHANNEL,
    FIGURES_V1,
    FIGURES_ENDPOINTS,
};

struct figures_ns {
    char name[65];
    struct ns_stats stats;
    uint64_t outbox_messages_max, outbox_bytes_max, history_messages_max;
};

struct figures_shard {
    uint32_t connections; /* HTTP included. */
    uint64_t turns;
    double busy_seconds;
    uint64_t unswept_bytes; /* Encoded, not swept yet. */
    uint64_t lent_bytes;    /* In flight to the shard that is furthest behind. */
};

struct figures_broker {
    bool redis; /* Otherwise embedded, and only `up` has a meaning. */
    bool up;
    uint64_t reconnects;
    double outage_seconds;
    uint64_t messages, message_bytes;
    uint64_t dropped_full, dropped_channel, dropped_large, dropped_lost, dropped_malformed;
    uint64_t published, publish_failed, publish_busy;
    double path_age_seconds, path_round_seconds;
    uint64_t queue_bytes, queue_bytes_max, unanswered_bytes;
    uint64_t subscriptions, subscriptions_pending;
};

/* Histories that Redis keeps. */
struct figures_shared {
    bool on;
    uint64_t appended, duplicates, append_failed, numbered, twins, ephemeral;
    uint64_t holes, filled, lost;
    uint64_t pages, page_events, read_failed, reads_open;
    uint64_t reloads, renewals;
};

/* The durable history. */
struct figures_store {
    bool on;
    bool failed, full;
    uint64_t records, commits, trimmed, evicted, read_records, reads, refused, damaged;
    uint64_t pending_bytes, used_bytes, disk_bytes_max;
    double commit_seconds, read_seconds;
};

/* The coordinator. */
enum { FIGURES_STEP_BUCKETS = 20 };

struct figures_flow_db {
    uint64_t transactions, failed, published, publish_failed, reaped, dead;
    uint64_t file_bytes, bytes_max, wal_pages;
    uint32_t tasks_waiting, timers, unpublished_runs;
    bool full;
};

struct figures_flow_redis {
    bool on; /* Otherwise the embedded store's count. */
    uint64_t reconnects, reloads, refused, tasks_again, requests, dead, reclaimed;
    uint32_t unanswered, tasks_under_way, signals_under_way;
};

struct figures_flow {
    bool on;
    bool up;
    uint64_t runs_started, runs_completed, runs_failed, runs_cancelled;
    uint64_t nodes_completed, nodes_failed, nodes_retried;
    uint64_t tokens_emitted, tokens_consumed, events;
    uint64_t signals, signals_stale, signals_dead;
    uint64_t tasks, tasks_stale, tasks_dead;
    uint64_t commits, conflicts, commit_failed;
    uint32_t runs_cached, runs_busy;
    uint64_t cache_bytes;
    uint64_t steps, steps_below[FIGURES_STEP_BUCKETS]; /* At most 2^i x 16 us. */
    double step_seconds;
    uint64_t http_requests, http_failures, http_refused;
    uint32_t http_active, http_waiting;
    struct figures_flow_db db;
    struct figures_flow_redis redis;
};

struct figures {
    const char *version;
    const char *role;
    double start_time_seconds, uptime_seconds;
    struct process_usage process;

    /* Connections. */
    uint32_t websockets[FIGURES_ENDPOINTS];
    uint32_t streams[FIGURES_ENDPOINTS]; /* SSE; never V1. */
    uint32_t polls;                      /* Waiting. */
    uint64_t streams_opened, polls_answered;
    uint32_t http_connections;
    uint32_t connections_max;
    uint64_t opened, refused, closed, handshakes;
    uint64_t bytes_in, bytes_out, messages_in;
    uint64_t pings, idle_closed, violations, cut_policy, cut_operator;
    uint64_t slow_began;
    uint64_t slow_now;
    uint64_t publish_lost; /* Of room clients, who cannot be told. */
    uint64_t users, rooms, listened_channels;
    struct http_stats http;

    /* The core's. */
    struct shard_stats core;
    uint64_t history_bytes_max;
    uint64_t overload_bytes_max;
    uint32_t ns_count;
    struct figures_ns ns[CORE_NAMESPACES_MAX];
    uint32_t shard_count;
    struct figures_shard shards[CORE_SHARDS_MAX];

    struct figures_store store;
    struct figures_flow flow;
    struct figures_broker broker;
    struct figures_shared shared;
};

/* Clients that stay connected: WebSockets and streams. */
static inline uint64_t figures_clients(const struct figures *figures)
{
    uint64_t sum = 0;
    for (int i = 0; i < FIGURES_ENDPOINTS; i++) {
        sum += figures->websockets[i] + figures->streams[i];
    }
    return sum;
}

#endif
