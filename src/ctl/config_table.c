#include "ctl/config_table.h"

#include "ctl/config.h"

/* An offset that compiles only when the member has the type its row promises. A type in _Generic()
 * cannot stand in parentheses. NOLINTBEGIN(bugprone-macro-parentheses) */
#define TYPED(owner, member, kind)                                                                 \
    (offsetof(owner, member) + 0 * sizeof(_Generic(((owner *)0)->member, kind : 1)))
#define BOOL(m) .type = CONFIG_TYPE_BOOL, .field = TYPED(struct config, m, bool)
#define INT(m) .type = CONFIG_TYPE_INT, .field = TYPED(struct config, m, uint32_t)
#define SIZE(m) .type = CONFIG_TYPE_SIZE, .field = TYPED(struct config, m, uint64_t)
#define TIME(m) .type = CONFIG_TYPE_DURATION, .field = TYPED(struct config, m, uint64_t)
#define STRING(m) .type = CONFIG_TYPE_STRING, .field = TYPED(struct config, m, char *)
#define SECRET(m) .type = CONFIG_TYPE_SECRET, .field = TYPED(struct config, m, char *)
#define ENUM(m) .type = CONFIG_TYPE_ENUM, .field = TYPED(struct config, m, unsigned)
#define NS(kind, ctype, m) .type = (kind), .field = TYPED(struct config_namespace, m, ctype)
/* NOLINTEND(bugprone-macro-parentheses) */

#define GATEWAYS (CONFIG_SERVE | CONFIG_DEMO | CONFIG_CONFIG)
#define SERVERS (GATEWAYS | CONFIG_COORDINATOR)
#define COORDINATORS (CONFIG_COORDINATOR | CONFIG_DEMO | CONFIG_CONFIG)
#define ALL (SERVERS | CONFIG_PUB | CONFIG_SUB | CONFIG_BENCH)

#define LISTEN .group = CONFIG_GROUP_LISTEN, .roles = SERVERS
#define BROKER .group = CONFIG_GROUP_BROKER, .roles = ALL
#define STORE .group = CONFIG_GROUP_BROKER, .roles = SERVERS
#define LINK .group = CONFIG_GROUP_BROKER, .roles = GATEWAYS
#define LIMITS .group = CONFIG_GROUP_LIMITS, .roles = GATEWAYS, .reload = true
#define CAPACITY .group = CONFIG_GROUP_LIMITS, .roles = SERVERS, .reload = true
#define HTTP .group = CONFIG_GROUP_HTTP, .roles = SERVERS, .reload = true
#define WS .group = CONFIG_GROUP_WS, .roles = GATEWAYS, .reload = true
#define TCP .group = CONFIG_GROUP_TCP, .roles = SERVERS
#define NAMESPACES .group = CONFIG_GROUP_NAMESPACES, .roles = GATEWAYS
#define PLACE .group = CONFIG_GROUP_NAMESPACES, .roles = SERVERS
#define WORKFLOWS .group = CONFIG_GROUP_WORKFLOWS, .roles = COORDINATORS
#define OUTSIDE .group = CONFIG_GROUP_WORKFLOWS, .roles = CONFIG_COORDINATOR | CONFIG_CONFIG
#define LOGGING .group = CONFIG_GROUP_LOG, .roles = ALL, .reload = true

#define KIB 1024ull
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define TIB (1024 * GIB)
#define SECOND 1000ull
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)

const char *const config_group_titles[CONFIG_GROUP_COUNT] = {
    [CONFIG_GROUP_LISTEN] = "Listening and threads",
    [CONFIG_GROUP_BROKER] = "Broker",
    [CONFIG_GROUP_LIMITS] = "Limits",
    [CONFIG_GROUP_HTTP] = "HTTP",
    [CONFIG_GROUP_WS] = "WebSocket",
    [CONFIG_GROUP_TCP] = "TCP",
    [CONFIG_GROUP_NAMESPACES] = "Namespaces and history",
    [CONFIG_GROUP_WORKFLOWS] = "Workflows",
    [CONFIG_GROUP_LOG] = "Log",
};

const struct config_option config_options[] = {
    {"listen", LISTEN, .type = CONFIG_TYPE_LISTENS, .field = offsetof(struct config, listen),
        .preset = ":8084", .preset_coordinator = ":8081", .env = {"ADDR"},
        .help = "Where to listen: host:port, :port, [v6]:port or unix:/path. Repeat it, or "
                "separate by commas, for several. ADDR beats PORT."},
    {"port", LISTEN, .type = CONFIG_TYPE_LISTEN_PORT, .env = {"PORT"}, .yields = 1,
        .max = UINT16_MAX, .help = "Short for listen: \":port\", on every address."},
    {"shards", LISTEN, INT(shards), .preset = "0", .max = 64,
        .help = "Threads that serve connections; 0 means as many as the process may use cores."},
    {"fd_tables", LISTEN, BOOL(fd_tables), .preset = "false",
        .help = "Give each shard a descriptor table of its own: more connections than one table "
                "may hold, and no contention in it."},
    {"pin", LISTEN, BOOL(pin), .preset = "false", .help = "Keep each shard's thread on one core."},
    {"drain_timeout", LISTEN, TIME(drain_timeout_ms), .preset = "10s", .max = HOUR, .reload = true,
        .help = "How long a stopping server waits for clients to take what is queued for them."},

    {"broker", STORE, ENUM(broker), .preset = "auto", .choices = {"auto", "embedded", "redis"},
        .help =
            "Where events come from, and where the coordinator keeps its runs. auto means redis "
            "as soon as a redis variable, flag or key is given, else embedded."},
    {"redis.url", BROKER, .type = CONFIG_TYPE_REDIS_URL, .env = {"REDIS_URL"}, .yields = 2,
        .help = "Everything at once: redis://user:password@host:port/db, rediss:// for TLS, or "
                "unix:///path?db=0. The single options below beat it."},
    {"redis.addr", BROKER, .type = CONFIG_TYPE_REDIS_ADDR, .env = {"REDIS_ADDR"}, .yields = 1,
        .help = "Short for redis.host and redis.port: host:port."},
    {"redis.host", BROKER, STRING(redis.host), .preset = "localhost", .env = {"REDIS_HOST"},
        .arg = "HOST", .help = "Name or address of the Redis server."},
    {"redis.port", BROKER, INT(redis.port), .preset = "6379", .env = {"REDIS_PORT"}, .min = 1,
        .max = UINT16_MAX, .help = "Port of the Redis server."},
    {"redis.unix", BROKER, STRING(redis.unix_path), .arg = "PATH",
        .help = "Socket of a local Redis server, instead of host and port."},
    {"redis.username", BROKER, STRING(redis.username), .arg = "NAME",
        .help = "User of Redis access control; not set means its default user."},
    {"redis.password", BROKER, SECRET(redis.password), .env = {"REDIS_PASSWORD"},
        .help = "Password. Others on the machine can read flags: prefer the environment or "
                "redis.password_file."},
    {"redis.password_file", BROKER, STRING(redis.password_file), .arg = "FILE",
        .help = "File that holds the password; a newline at its end does not count."},
    {"redis.db", BROKER, INT(redis.db), .preset = "0", .max = 65535,
        .help = "Number of the logical database."},
    {"redis.tls", BROKER, BOOL(redis.tls), .preset = "false", .help = "Speak TLS to Redis."},
    {"redis.tls_ca", BROKER, STRING(redis.tls_ca), .arg = "FILE",
        .help = "Authorities to trust, PEM; not set means those of the system."},
    {"redis.tls_cert", BROKER, STRING(redis.tls_cert), .arg = "FILE",
        .help = "Our certificate, PEM, where the server asks for one."},
    {"redis.tls_key", BROKER, STRING(redis.tls_key), .arg = "FILE",
        .help = "Private key of redis.tls_cert, PEM."},
    {"redis.tls_server_name", BROKER, STRING(redis.tls_server_name), .arg = "NAME",
        .help = "Name to expect in the server's certificate; not set means redis.host."},
    {"redis.tls_insecure", BROKER, BOOL(redis.tls_insecure), .preset = "false",
        .help = "Accept any certificate. For trying things out only."},
    {"redis.mode", LINK, ENUM(redis.mode), .preset = "pattern",
        .choices = {"pattern", "exact", "sharded"},
        .help = "pattern: one PSUBSCRIBE per mapping; exact: one SUBSCRIBE per channel in use; "
                "sharded: SSUBSCRIBE and SPUBLISH, Redis 7 or newer. Channels whose history is in "
                "Redis have two names in exact and sharded mode."},
    {"redis.canary_interval", LINK, TIME(redis.canary_interval_ms), .preset = "1s", .min = 200,
        .max = HOUR, .help = "How often a canary goes through Redis to prove that it delivers."},
    {"redis.reconnect_min", STORE, TIME(redis.reconnect_min_ms), .preset = "100ms", .min = 1,
        .max = HOUR, .help = "First wait after a lost link; it doubles from there, with jitter."},
    {"redis.reconnect_max", STORE, TIME(redis.reconnect_max_ms), .preset = "5s", .min = 1,
        .max = HOUR, .help = "Longest wait between two attempts."},
    {"redis.buffer_bytes", LINK, SIZE(redis.buffer_bytes), .preset = "64MiB", .min = MIB,
        .max = TIB,
        .help = "Bound of what was read from Redis and not yet handed over; past it "
                "drops are declared."},
    {"redis.mappings", LINK, .type = CONFIG_TYPE_MAPPINGS, .flag = "redis-mapping",
        .field = offsetof(struct config, redis.mappings),
        .help = "Redis channels to listen to and what they are called here, beside the built-in "
                "workflow:events:*=user:{1} and room:*=room:{1}. {1} is what the * matched. "
                "Patterns must not overlap."},

    {"max_connections", CAPACITY, INT(max_connections), .preset = "0",
        .help = "Connections at once; 0 means the descriptor limit less 64."},
    {"subscriptions_max", LIMITS, INT(subscriptions_max), .preset = "100", .min = 1, .max = 65535,
        .help = "Channels one connection may follow."},
    {"idle_timeout", LIMITS, TIME(idle_timeout_ms), .preset = "75s", .max = DAY,
        .help = "Close a client that gave no sign of life for this long; 0 means never."},
    {"overload_bytes", LIMITS, SIZE(overload_bytes), .preset = "8MiB", .min = 64 * KIB, .max = TIB,
        .help = "Bytes in flight from one shard to another before publishers are told to wait."},

    {"http.head_bytes", HTTP, SIZE(http.head_bytes), .preset = "16KiB", .min = KIB, .max = MIB,
        .help = "Largest request head; larger is answered with 431."},
    {"http.body_bytes", HTTP, SIZE(http.body_bytes), .preset = "1MiB", .max = GIB,
        .help = "Largest request body; larger is answered with 413."},
    {"http.head_timeout", HTTP, TIME(http.head_timeout_ms), .preset = "10s", .min = 100,
        .max = HOUR, .help = "How long a client may take to send a request head."},
    {"http.body_timeout", HTTP, TIME(http.body_timeout_ms), .preset = "30s", .min = 100,
        .max = HOUR, .help = "How long a client may take to send a request body."},
    {"http.keepalive_timeout", HTTP, TIME(http.keepalive_timeout_ms), .preset = "75s", .max = HOUR,
        .help = "How long a connection may stay open between two requests; 0 means no reuse."},

    {"ws.read_bytes_user", WS, SIZE(ws.read_bytes_user), .preset = "512", .min = 125, .max = GIB,
        .help = "Largest message from a client of ?username=; larger closes with 1009."},
    {"ws.read_bytes_room", WS, SIZE(ws.read_bytes_room), .preset = "1MiB", .min = 125, .max = GIB,
        .help = "Largest message from a client of ?room=."},
    {"ws.read_bytes_v1", WS, SIZE(ws.read_bytes_v1), .preset = "64KiB", .min = 125, .max = GIB,
        .help = "Largest message from a client of ?channel= and fanout.v1."},
    {"ws.ping_interval", WS, TIME(ws.ping_interval_ms), .preset = "25s", .min = 100, .max = HOUR,
        .help = "How often the server pings."},
    {"ws.handshake_timeout", WS, TIME(ws.handshake_timeout_ms), .preset = "10s", .min = 100,
        .max = HOUR, .help = "How long the way from accept to the first frame may take."},
    {"ws.compression", WS, BOOL(ws.compression), .preset = "true",
        .help = "Offer permessage-deflate to clients that ask for it."},
    {"ws.compression_min_bytes", WS, SIZE(ws.compression_min_bytes), .preset = "256", .max = GIB,
        .help = "Messages below this size go uncompressed."},

    {"tcp.notsent_lowat", TCP, SIZE(tcp.notsent_lowat_bytes), .preset = "32KiB", .min = KIB,
        .max = GIB,
        .help = "Unsent bytes the kernel may hold for a connection: beyond that, "
                "messages wait where policies can still act."},
    {"tcp.user_timeout", TCP, TIME(tcp.user_timeout_ms), .preset = "60s", .max = DAY,
        .help = "Give up a connection whose peer acknowledges nothing for this long; 0 leaves it "
                "to the kernel."},
    {"tcp.defer_accept", TCP, TIME(tcp.defer_accept_ms), .preset = "1s", .max = 60 * SECOND,
        .help = "The kernel hands a connection over when its first bytes are there, or after this "
                "long: one wake-up less for each. Whole seconds; 0 means at once."},
    {"tcp.backlog", TCP, INT(tcp.backlog), .preset = "65535", .min = 1, .max = 65535,
        .help = "Connections that may wait to be accepted; the system may allow less."},

    {"namespaces", NAMESPACES, .type = CONFIG_TYPE_NAMESPACES, .flag = "namespace",
        .field = offsetof(struct config, namespaces), .reload = true,
        .help = "Settings of the channels whose name starts with NAME and a colon. \"default\" is "
                "the template of all the others."},
    {"data", PLACE, STRING(data), .arg = "DIR", .env = {"STATE_DIRECTORY"},
        .help = "Directory of the durable history, and of the runs of workflows that are not in "
                "Redis; none keeps everything in memory. Not set means "
                "/var/lib/fanout/PORT for root, else ~/.local/state/fanout/PORT."},
    {"history_disk_bytes", NAMESPACES, SIZE(history_disk_bytes), .preset = "1GiB", .min = 64 * MIB,
        .max = TIB,
        .help =
            "What the durable history may take on disk; past it, the channel that was written to "
            "least recently is forgotten."},
    {"history_bytes_total", NAMESPACES, SIZE(history_bytes_total), .preset = "256MiB", .max = TIB,
        .reload = true,
        .help =
            "History of all channels that is held in memory; past it, the channel that was used "
            "least recently is forgotten, or read from disk."},

    {"workflows", WORKFLOWS, STRING(workflows), .arg = "DIR",
        .help = "Directory of workflow definitions: each NAME.json is put under the tag NAME at "
                "the start, and again when the file changes. A file that goes leaves the workflow "
                "stored."},
    {"gateway", OUTSIDE, STRING(gateway), .arg = "URL",
        .help = "Gateway that events of runs are published to, e.g. http://127.0.0.1:8084. A "
                "coordinator without Redis needs one; with Redis, Redis carries the events."},
    {"flow.name", WORKFLOWS, STRING(flow.name), .arg = "NAME",
        .help = "What this coordinator calls itself beside others on one Redis. Not set means "
                "host, process and a random number."},
    {"flow.task_types", WORKFLOWS, STRING(flow.task_types), .flag = "task-types", .arg = "NAMES",
        .help = "More types of node with a stream wf.tasks.TYPE of their own, separated by commas. "
                "Other unknown types go to wf.tasks.default."},
    {"flow.task_timeout", WORKFLOWS, TIME(flow.task_timeout_ms), .preset = "10m", .max = 365 * DAY,
        .help = "How long a worker outside may take for a task, unless its node says otherwise; 0 "
                "means as long as it likes."},
    {"flow.retention", WORKFLOWS, TIME(flow.retention_ms), .preset = "1d", .min = SECOND,
        .max = 365 * DAY, .help = "How long a run is kept after it is over."},
    {"flow.inputs_bytes", WORKFLOWS, SIZE(flow.inputs_bytes), .preset = "1MiB", .min = KIB,
        .max = GIB, .help = "Largest inputs of a run; larger are answered with 413."},
    {"flow.result_bytes", WORKFLOWS, SIZE(flow.result_bytes), .preset = "4MiB", .min = KIB,
        .max = GIB, .help = "Largest result of a node; a larger one fails it."},
    {"flow.builtin_workers", WORKFLOWS, BOOL(flow.builtin_workers), .preset = "true",
        .help = "Work on nodes of the built-in types in this process."},
    {"flow.tasks_max", WORKFLOWS, INT(flow.tasks_max), .preset = "256", .min = 1, .max = 65535,
        .help = "Tasks of built-in types this process has in hand at once."},
    {"flow.http_private", WORKFLOWS, BOOL(flow.http_private), .preset = "false",
        .help = "Let http nodes reach this machine and private networks; link-local addresses and "
                "metadata services they never do. Whoever may store a workflow can then ask "
                "anything of the network this process is in."},
    {"flow.disk_bytes", WORKFLOWS, SIZE(flow.disk_bytes), .preset = "1GiB", .min = MIB, .max = TIB,
        .help = "What runs that are not in Redis may take on disk, or in memory with data none; "
                "past it no run starts."},

    {"log.level", LOGGING, ENUM(log.level), .preset = "info",
        .choices = {"debug", "info", "warn", "error"}, .help = "Least level that is written."},
    {"log.format", LOGGING, ENUM(log.format), .preset = "logfmt", .choices = {"logfmt", "json"},
        .help = "How a line is written."},
};

const size_t config_option_count = COUNT_OF(config_options);

const struct config_option config_namespace_fields[] = {
    {"outbox_messages", NAMESPACES, NS(CONFIG_TYPE_INT, uint32_t, outbox_messages),
        .preset = "1024", .min = 1, .max = 1 << 24, .reload = true,
        .help = "Messages that may wait for one slow connection."},
    {"outbox_bytes", NAMESPACES, NS(CONFIG_TYPE_SIZE, uint64_t, outbox_bytes), .preset = "1MiB",
        .min = KIB, .max = TIB, .reload = true,
        .help = "Bytes that may wait for one slow connection."},
    {"policy", NAMESPACES, NS(CONFIG_TYPE_ENUM, unsigned, policy), .preset = "drop_oldest",
        .choices = {"drop_oldest", "drop_newest", "conflate", "disconnect"}, .reload = true,
        .help = "What happens to a message that finds no place. conflate keeps the newest for "
                "each conflate_key."},
    {"conflate_key", NAMESPACES, NS(CONFIG_TYPE_STRING, char *, conflate_key), .arg = "POINTER",
        .reload = true, .help = "JSON pointer to the key within a payload, e.g. /node_id."},
    {"history_messages", NAMESPACES, NS(CONFIG_TYPE_INT, uint32_t, history_messages),
        .preset = "256", .max = 1 << 24, .reload = true,
        .help = "Messages kept per channel; 0 keeps none. Of user 1000, of run 100000."},
    {"history_bytes", NAMESPACES, NS(CONFIG_TYPE_SIZE, uint64_t, history_bytes), .preset = "1MiB",
        .max = TIB, .reload = true, .help = "Bytes kept per channel. Of user 4MiB, of run 64MiB."},
    {"history_age", NAMESPACES, NS(CONFIG_TYPE_DURATION, uint64_t, history_age_ms), .preset = "10m",
        .min = SECOND, .max = 365 * DAY, .reload = true,
        .help = "How long a message is kept. Of user 24h, of run 168h."},
    {"durability", NAMESPACES, NS(CONFIG_TYPE_ENUM, unsigned, durability), .preset = "none",
        .choices = {"none", "async", "sync"},
        .help = "none: in memory. async: stored soon after it is delivered. sync: delivered and "
                "acknowledged after it is stored. Of user and run async."},
    {"history", NAMESPACES, NS(CONFIG_TYPE_ENUM, unsigned, history), .preset = "local",
        .choices = {"local", "redis"},
        .help = "Who keeps history and numbers messages: this process, or Redis for several."},
};

const size_t config_namespace_field_count = COUNT_OF(config_namespace_fields);
