/* Configuration: one snapshot of every setting, in its final type.
 *
 * A value comes from a flag, else the environment, else the file, else the default, and remembers
 * which ("env REDIS_HOST", "fanout.yaml:12"). A snapshot never changes once it is given out, so
 * any thread may read it until its owner frees it; a reload builds another one. Nothing here
 * prints: faults and notices are sentences in a report, for the caller to show.
 *
 * Times are milliseconds, sizes are bytes. A string that is not set is NULL.
 */
#ifndef CTL_CONFIG_H
#define CTL_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/log.h"

struct bytes;

enum config_role {
    CONFIG_SERVE = 1,
    CONFIG_DEMO = 2,
    CONFIG_PUB = 4,
    CONFIG_SUB = 8,
    CONFIG_BENCH = 16,
    CONFIG_CONFIG = 32, /* `fanout config` itself: knows the flags of all servers. */
    CONFIG_COORDINATOR = 64,
};

enum config_broker { CONFIG_BROKER_AUTO, CONFIG_BROKER_EMBEDDED, CONFIG_BROKER_REDIS };
enum config_redis_mode { CONFIG_REDIS_PATTERN, CONFIG_REDIS_EXACT, CONFIG_REDIS_SHARDED };
enum config_policy {
    CONFIG_DROP_OLDEST,
    CONFIG_DROP_NEWEST,
    CONFIG_CONFLATE,
    CONFIG_DISCONNECT,
};
enum config_durability { CONFIG_DURABILITY_NONE, CONFIG_ASYNC, CONFIG_SYNC };
enum config_history { CONFIG_HISTORY_LOCAL, CONFIG_HISTORY_REDIS };

/* Where a value came from. */
struct config_origin {
    uint32_t rank; /* 0: the default; a higher rank beats a lower one. */
    char *text;    /* "flag --port"; NULL: the default. */
};

/* One address to listen on: a path, or a host (NULL: every address) and a port. */
struct config_listen {
    char *unix_path;
    char *host;
    uint16_t port; /* 0: the system picks one. */
};

struct config_listens {
    struct config_listen *items;
    uint32_t count;
};

/* Redis channels that match pattern are our channel, where {1} is what the * matched. */
struct config_mapping {
    char *pattern; /* At most one *; no other glob characters. */
    char *channel;
    char *origin; /* "fanout.yaml:12"; NULL: built in. */
};

struct config_mappings {
    struct config_mapping *items; /* The two built-in ones come first. */
    uint32_t count;
};

struct config_namespace {
    char *name;
    uint32_t outbox_messages;
    uint64_t outbox_bytes;
    enum config_policy policy;
    char *conflate_key; /* A JSON pointer; set when the policy is conflate. */
    uint32_t history_messages;
    uint64_t history_bytes;
    uint64_t history_age_ms;
    enum config_durability durability;
    enum config_history history;
    struct config_origin *origins; /* One per field, for config_print(). */
};

struct config_namespaces {
    struct config_namespace *items; /* Sorted by name; "default" is always there. */
    uint32_t count;
};

struct config_redis {
    char *host;
    uint32_t port;
    char *unix_path; /* When set, host and port do not count. */
    char *username;
    char *password;
    char *password_file; /* Already read into password. */
    uint32_t db;
    bool tls;
    bool tls_insecure;
    char *tls_ca;
    char *tls_cert;
    char *tls_key;
    char *tls_server_name;
    enum config_redis_mode mode;
    uint64_t canary_interval_ms;
    uint64_t reconnect_min_ms;
    uint64_t reconnect_max_ms;
    uint64_t buffer_bytes;
    struct config_mappings mappings;
};

struct config_http {
    uint64_t head_bytes;
    uint64_t body_bytes;
    uint64_t head_timeout_ms;
    uint64_t body_timeout_ms;
    uint64_t keepalive_timeout_ms;
};

struct config_ws {
    uint64_t read_bytes_user;
    uint64_t read_bytes_room;
    uint64_t read_bytes_v1;
    uint64_t ping_interval_ms;
    uint64_t handshake_timeout_ms;
    bool compression;
    uint64_t compression_min_bytes;
};

struct config_tcp {
    uint64_t notsent_lowat_bytes;
    uint64_t user_timeout_ms; /* 0: off. */
    uint64_t defer_accept_ms; /* 0: off. */
    uint32_t backlog;
};

struct config_log {
    enum log_level level;
    enum log_format format;
};

struct config_flow {
    char *name; /* NULL: one is made up. */
    char *task_types;
    uint64_t task_timeout_ms; /* 0: never. */
    uint64_t retention_ms;
    uint64_t inputs_bytes;
    uint64_t result_bytes;
    uint64_t disk_bytes;
    uint32_t tasks_max;
    bool builtin_workers;
    bool http_private;
};

struct config {
    struct config_listens listen;
    uint32_t shards; /* 0: see config_shard_count(). */
    bool fd_tables;
    bool pin;
    uint32_t max_connections;   /* 0: what the descriptor limit allows, less 64. */
    uint32_t subscriptions_max; /* Channels one connection may follow. */
    uint64_t idle_timeout_ms;   /* 0: never. */
    uint64_t drain_timeout_ms;
    struct config_http http;
    struct config_ws ws;
    struct config_tcp tcp;
    enum config_broker broker; /* Decided: never CONFIG_BROKER_AUTO. */
    struct config_redis redis;
    struct config_namespaces namespaces;
    uint64_t history_bytes_total;
    uint64_t overload_bytes; /* In flight from one shard to another. */
    char *data;              /* Directory; "none"; NULL: the platform's. */
    uint64_t history_disk_bytes;
    char *workflows; /* Directory; NULL: none. */
    char *gateway;   /* URL; NULL: none. */
    struct config_flow flow;
    struct config_log log;
    struct config_origin *origins; /* One per option, for config_print(). */
};

/* Sentences, one each, without a newline. */
struct config_lines {
    char **items;
    uint32_t count;
    uint32_t more_count; /* Not kept: past CONFIG_LINES_MAX, or without memory. */
};

enum { CONFIG_LINES_MAX = 100 };

/* Start with all zeroes; end with config_report_fini(). */
struct config_report {
    struct config_lines faults;  /* Why there is no snapshot. */
    struct config_lines notices; /* Worth a warning in the log. */
    struct config_lines changed; /* After a reload: keys that have a new value now. */
    struct config_lines restart; /* After a reload: keys whose new value waits for a restart. */
};

void config_report_fini(struct config_report *report);

/* Gives a new snapshot to the caller in *ret_config. argv[0] is the role's name and is skipped;
 * argv and env (NULL-terminated, "NAME=value") are borrowed.
 * Returns 0; 1 when --help was asked for (see config_help()); -EINVAL when report->faults says
 * why not; or -ENOMEM. *ret_config is written only on 0. */
MUST_USE int config_load(enum config_role role, int argc, char **argv, char **env,
    struct config **ret_config, struct config_report *report);

/* As config_load(), for a process that runs with `running`: an option that only a restart can
 * change keeps its running value in the new snapshot and is named in report->restart. */
MUST_USE int config_reload(const struct config *running, enum config_role role, int argc,
    char **argv, char **env, struct config **ret_config, struct config_report *report);

/* As config_load() from the text of a file alone; `name` is what messages call it. */
MUST_USE int config_load_text(const char *name, const void *text, size_t len,
    struct config **ret_config, struct config_report *report);

/* Takes config; NULL is fine. */
void config_free(struct config *config);

/* The settings of a channel's namespace, or those of "default"; live as long as config. */
const struct config_namespace *config_namespace(
    const struct config *config, const char *name, size_t len);

/* Threads to run: shards, or as many as this process may use cores; at most 64. */
uint32_t config_shard_count(const struct config *config);

enum config_format { CONFIG_TEXT, CONFIG_JSON, CONFIG_YAML };

/* Appends every effective value and its source; secrets read "***". Returns 0 or -ENOMEM. */
MUST_USE int config_print(
    const struct config *config, enum config_format format, struct bytes *out);

/* Appends the flags of a role, wrapped, with defaults and environment names. */
MUST_USE int config_help(enum config_role role, struct bytes *out);

/* Appends docs/config.md. */
MUST_USE int config_doc(struct bytes *out);

#endif
