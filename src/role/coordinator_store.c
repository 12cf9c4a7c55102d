/* Where runs are kept: in Redis, in a file, or in memory. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "ctl/config.h"
#include "flow/nodes.h"
#include "link/http_client.h"
#include "link/http_publisher.h"
#include "link/redis_flow.h"
#include "role/broker.h"
#include "role/coordinator_own.h"
#include "store/flow_db.h"

enum { NEVER_MS = 1000, PUBLISH_WAIT_MS = 1000 };

const char *coordinator_store_name(const struct coordinator *coordinator)
{
    return coordinator->config->broker == CONFIG_BROKER_REDIS ? "redis"
           : coordinator->dir[0]                              ? coordinator->dir
                                                              : "memory";
}

/* ---- in Redis ---- */

static bool is_listed(const struct redis_flow_type *rows, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* The types of the contract, and those that were named. What is not ours to work on has a stream all the
 * same. Returns how many. */
static size_t fill_types(const struct config_flow *config, char *names,
    struct redis_flow_type rows[REDIS_FLOW_TYPES_MAX])
{
    size_t count = 0;

    for (const struct node_type *type = node_types; type->name; type++) {
        rows[count++] = (struct redis_flow_type){
            type->name, config->builtin_workers && type->work != NODE_WORK_OUTSIDE};
    }
    for (char *rest = names, *name; (name = strsep(&rest, ",")) && count < REDIS_FLOW_TYPES_MAX;) {
        if (name[0] && !is_listed(rows, count, name)) {
            rows[count++] = (struct redis_flow_type){name, false};
        }
    }
    return count;
}

static int open_redis(struct coordinator *coordinator, char *why, size_t why_cap)
{
    const struct config *config = coordinator->config;
    const struct redis_options redis = broker_redis_options(&config->redis);
    struct redis_flow_options options = redis_flow_options_default();
    struct redis_flow_type rows[REDIS_FLOW_TYPES_MAX];
    char *names = mem_strdup(config->flow.task_types ? config->flow.task_types : "");

    options.name = coordinator->name;
    options.types = rows;
    options.type_count = fill_types(&config->flow, names, rows);
    options.retention_ms = config->flow.retention_ms;
    options.tasks_max = config->flow.tasks_max;
    options.sharded = config->redis.mode == CONFIG_REDIS_SHARDED;
    int err = redis_flow_create(coordinator->loop, COORDINATOR_KIND_REDIS, COORDINATOR_KIND_RESOLVE,
        &redis, &options, &coordinator->redis, why, why_cap);
    if (!err) {
        coordinator->store = redis_flow_store(coordinator->redis);
    }
    mem_free(names);
    return err;
}

/* ---- embedded ---- */

/* To the gateway that was named, or to the shards of this process. */
static int open_publisher(struct coordinator *coordinator, char *why, size_t why_cap)
{
    if (!coordinator->gateway->with->no_clients) {
        int err = inside_create(coordinator, &coordinator->inside);
        if (!err) {
            coordinator->publisher = inside_port(coordinator->inside);
        }
        return err;
    }
    return coordinator_outside_open(coordinator, why, why_cap);
}

static int open_file(struct coordinator *coordinator, const struct flow_events_in *in,
    const char *dir, char why[FLOW_DB_WHY_MAX])
{
    struct flow_db_options options = flow_db_options_default();

    options.dir = dir;
    options.in = *in;
    options.publisher = &coordinator->publisher;
    options.retention_ms = coordinator->config->flow.retention_ms;
    options.bytes_max = coordinator->config->flow.disk_bytes;
    options.tasks_max = coordinator->config->flow.tasks_max;
    int err = dir ? gateway_store_make_parents(dir) : 0;
    if (err) {
        snprintf(why, FLOW_DB_WHY_MAX, "cannot make %.200s: %s", dir, strerror(-err));
        return err;
    }
    return flow_db_open(&options, &coordinator->db, why);
}

static int open_embedded(
    struct coordinator *coordinator, const struct flow_events_in *in, char *why, size_t why_cap)
{
    char text[FLOW_DB_WHY_MAX] = "";
    int err = open_publisher(coordinator, why, why_cap);

    if (err) {
        return err;
    }
    err = open_file(coordinator, in, coordinator->dir[0] ? coordinator->dir : NULL, text);
    if (err && coordinator->dir[0] && coordinator->dir_usual && gateway_store_is_usual(err)) {
        LOG(LOG_WARN, "coordinator.in_memory", LOG_S("dir", coordinator->dir), LOG_S("why", text),
            LOG_S("hint", "runs end with the process; --data DIR says where to keep them"));
        coordinator->dir[0] = '\0';
        err = open_file(coordinator, in, NULL, text);
    }
    if (err) {
        snprintf(why, why_cap, "%s", text);
        return err;
    }
    coordinator->store = flow_db_store(coordinator->db);
    return 0;
}

/* ---- either ---- */

int coordinator_store_open(
    struct coordinator *coordinator, const struct flow_events_in *in, char *why, size_t why_cap)
{
    return coordinator->config->broker == CONFIG_BROKER_REDIS
               ? open_redis(coordinator, why, why_cap)
               : open_embedded(coordinator, in, why, why_cap);
}

void coordinator_store_start(struct coordinator *coordinator, const struct flow_events_in *in)
{
    if (coordinator->redis) {
        redis_flow_start(coordinator->redis, in);
    }
}

uint64_t coordinator_store_turn(struct coordinator *coordinator, uint64_t now_ms)
{
    return coordinator->db && flow_db_turn(coordinator->db, now_ms) ? 0 : NEVER_MS;
}

uint64_t coordinator_store_next(struct coordinator *coordinator, uint64_t now_ms)
{
    if (coordinator->redis) {
        redis_flow_turn(coordinator->redis);
        return NEVER_MS;
    }
    return flow_db_next_ms(coordinator->db, now_ms);
}

void coordinator_store_drain(struct coordinator *coordinator)
{
    if (coordinator->redis) {
        redis_flow_drain(coordinator->redis);
    }
}

/* What is not published yet is published at the next start: it is waited for a moment, no longer. */
bool coordinator_store_leave(struct coordinator *coordinator, uint64_t now_ms)
{
    struct flow_db_stats stats;

    if (coordinator->redis) {
        return redis_flow_leave(coordinator->redis);
    }
    flow_db_stats(coordinator->db, &stats);
    return stats.unpublished_runs == 0 || now_ms - coordinator->drain_ms > PUBLISH_WAIT_MS;
}

void coordinator_store_shut(struct coordinator *coordinator)
{
    if (coordinator->redis) {
        redis_flow_shut(coordinator->redis);
    }
    if (coordinator->db) {
        flow_db_shut(coordinator->db);
    }
    if (coordinator->inside) {
        inside_shut(coordinator->inside);
    }
    coordinator_outside_close(coordinator);
}

void coordinator_store_close(struct coordinator *coordinator)
{
    redis_flow_destroy(coordinator->redis);
    flow_db_destroy(coordinator->db);
    coordinator->redis = NULL;
    coordinator->db = NULL;
}
