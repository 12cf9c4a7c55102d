#include "role/gateway_options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/check.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/name.h"
#include "role/gateway.h"
#include "rt/fds.h"

static const enum outbox_policy policies[] = {
    [CONFIG_DROP_OLDEST] = OUTBOX_DROP_OLDEST,
    [CONFIG_DROP_NEWEST] = OUTBOX_DROP_NEWEST,
    [CONFIG_CONFLATE] = OUTBOX_CONFLATE,
    [CONFIG_DISCONNECT] = OUTBOX_DISCONNECT,
};

static const enum durability durabilities[] = {
    [CONFIG_DURABILITY_NONE] = DURABILITY_NONE,
    [CONFIG_ASYNC] = DURABILITY_ASYNC,
    [CONFIG_SYNC] = DURABILITY_SYNC,
};

static void fill_namespace(struct ns_settings *ns, const struct config_namespace *from)
{
    snprintf(ns->name, sizeof(ns->name), "%s", from->name);
    ns->policy = (uint8_t)policies[from->policy];
    ns->outbox_messages = from->outbox_messages;
    ns->outbox_bytes = from->outbox_bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)from->outbox_bytes;
    ns->history_messages = from->history_messages;
    ns->history_bytes = from->history_bytes;
    ns->history_age_ms = from->history_age_ms;
    ns->durability = (uint8_t)durabilities[from->durability];
}

/* Who numbers is settled at the start: a reload leaves it. */
static bool is_shared(const struct config *config, const struct config_namespace *from)
{
    return config->broker == CONFIG_BROKER_REDIS && from->history == CONFIG_HISTORY_REDIS;
}

static uint32_t index_of(const struct core_settings *settings, const char *name)
{
    for (uint32_t i = 0; i < settings->ns_count; i++) {
        if (strcmp(settings->ns[i].name, name) == 0) {
            return i;
        }
    }
    return settings->ns_count;
}

static void draw_identity(struct core_settings *settings)
{
    uint64_t random[3];

    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
        check_failed("getrandom() gives 24 bytes", __FILE__, __LINE__);
    }
    settings->store_id = random[0] & ((1ull << 40) - 1);
    settings->hash_key = (struct hash_key){random[1], random[2]};
}

static struct core_settings *settings_of(
    const struct config *config, const struct core_settings *before)
{
    struct core_settings *settings = mem_zalloc(sizeof(*settings));

    if (before) {
        *settings = *before;
    } else {
        draw_identity(settings);
        snprintf(settings->ns[0].name, sizeof(settings->ns[0].name), "default");
        settings->ns_count = 1;
    }
    settings->shard_count = (uint16_t)config_shard_count(config);
    settings->history_bytes_total = config->history_bytes_total / settings->shard_count;
    settings->overload_bytes = config->overload_bytes;
    settings->replay_page_bytes = REPLAY_PAGE_BYTES;
    for (uint32_t i = 0; i < config->namespaces.count; i++) {
        const struct config_namespace *from = &config->namespaces.items[i];
        uint32_t at = index_of(settings, from->name);
        if (at == CORE_NAMESPACES_MAX) {
            LOG(LOG_WARN, "config.namespaces", LOG_S("ignored", from->name),
                LOG_U("limit", CORE_NAMESPACES_MAX));
            continue;
        }
        if (at == settings->ns_count) {
            settings->ns_count += 1;
            settings->ns[at].shared = !before && is_shared(config, from);
        } else if (!before) {
            settings->ns[at].shared = is_shared(config, from);
        }
        fill_namespace(&settings->ns[at], from);
    }
    return settings;
}

/* 64 descriptors are for everything else: logs, links, listeners, the refused. */
static uint32_t connection_limit(const struct config *config, uint32_t fd_limit)
{
    uint32_t tables = config->fd_tables ? config_shard_count(config) : 1;
    uint64_t possible = (uint64_t)(fd_limit > 128 ? fd_limit - 64 : fd_limit / 2) * tables;

    if (config->max_connections && config->max_connections < possible) {
        return config->max_connections;
    }
    return possible > UINT32_MAX ? UINT32_MAX : (uint32_t)possible;
}

static struct conn_options options_of(const struct config *config, uint32_t fd_limit)
{
    struct http_limits limits = http_limits_default();

    limits.head_bytes_max = config->http.head_bytes;
    limits.body_bytes_max = config->http.body_bytes;
    return (struct conn_options){
        .connections_max = connection_limit(config, fd_limit),
        .subscriptions_max = config->subscriptions_max,
        .ping_interval_ms = config->ws.ping_interval_ms,
        .sse_heartbeat_ms = 15000,
        .idle_timeout_ms = config->idle_timeout_ms,
        .keepalive_timeout_ms = config->http.keepalive_timeout_ms,
        .read_bytes_user = (uint32_t)config->ws.read_bytes_user,
        .read_bytes_room = (uint32_t)config->ws.read_bytes_room,
        .read_bytes_v1 = (uint32_t)config->ws.read_bytes_v1,
        .compression = config->ws.compression,
        .compression_min_bytes = (uint32_t)config->ws.compression_min_bytes,
        .http_limits = limits,
        .head_timeout_ms = config->http.head_timeout_ms,
        .body_timeout_ms = config->http.body_timeout_ms,
        .loop_kind_client = KIND_CLIENT,
        .loop_kind_listener = KIND_LISTENER,
    };
}

uint32_t gateway_conflation_key(const struct config *config, const struct core_settings *settings,
    struct span channel, struct span payload)
{
    const struct config_namespace *ns =
        config_namespace(config, (const char *)channel.data, name_namespace(channel).len);
    struct span value;

    if (ns->policy != CONFIG_CONFLATE || !ns->conflate_key ||
        json_pointer(payload.data, payload.len, span_str(ns->conflate_key), &value) != 0) {
        return 0;
    }
    uint32_t key = (uint32_t)hash_bytes(&settings->hash_key, value.data, value.len);
    return key ? key : 1;
}

struct snapshot *snapshot_create(struct config *config, struct snapshot *before, uint32_t fd_limit)
{
    struct snapshot *snapshot = mem_zalloc(sizeof(*snapshot));

    snapshot->before = before;
    snapshot->config = config;
    snapshot->settings = settings_of(config, before ? before->settings : NULL);
    snapshot->options = options_of(config, fd_limit);
    return snapshot;
}

void gateway_options_forget_durability(struct snapshot *snapshot)
{
    for (uint32_t i = 0; i < snapshot->settings->ns_count; i++) {
        snapshot->settings->ns[i].durability = DURABILITY_NONE;
    }
}

void snapshot_free_all(struct snapshot *snapshot)
{
    while (snapshot) {
        struct snapshot *before = snapshot->before;
        mem_free(snapshot->settings);
        config_free(snapshot->config);
        mem_free(snapshot);
        snapshot = before;
    }
}

/* ---- reload ---- */

struct reload_call {
    struct mail_call call;
    const struct snapshot *snapshot;
};

static void apply(struct shard *shard, struct mail_call *call)
{
    struct gateway_shard *gs = gateway_of_shard(shard);

    gs->snapshot = ((struct reload_call *)call)->snapshot;
    shard_reload(shard, gs->snapshot->settings);
    conn_server_reload(gs->server, &gs->snapshot->options);
    mem_free(call);
}

static void log_report(const struct config_report *report)
{
    for (uint32_t i = 0; i < report->faults.count; i++) {
        LOG(LOG_ERROR, "config.fault", LOG_S("error", report->faults.items[i]));
    }
    for (uint32_t i = 0; i < report->notices.count; i++) {
        LOG(LOG_WARN, "config.notice", LOG_S("notice", report->notices.items[i]));
    }
    for (uint32_t i = 0; i < report->changed.count; i++) {
        LOG(LOG_INFO, "config.changed", LOG_S("key", report->changed.items[i]));
    }
    for (uint32_t i = 0; i < report->restart.count; i++) {
        LOG(LOG_WARN, "config.needs_restart", LOG_S("key", report->restart.items[i]));
    }
}

static void mail_snapshot(struct gateway *gateway)
{
    for (uint16_t i = 0; i < gateway->shard_count; i++) {
        struct reload_call *reload = mem_zalloc(sizeof(*reload));
        reload->snapshot = gateway->snapshot;
        gateway_call(&gateway->shards[0], i, apply, &reload->call);
    }
}

void gateway_reload(struct gateway *gateway)
{
    struct config_report report = {0};
    struct config *config;
    int err = config_reload(gateway->snapshot->config, gateway->with->settings, gateway->argc,
        gateway->argv, environ, &config, &report);

    log_report(&report);
    if (err) {
        LOG(LOG_ERROR, "reload.failed", LOG_S("kept", "the settings in force"));
    } else {
        gateway->snapshot = snapshot_create(config, gateway->snapshot, fds_raise_limit());
        log_configure(config->log.level, config->log.format);
        mail_snapshot(gateway);
        LOG(LOG_INFO, "reload");
    }
    config_report_fini(&report);
}
