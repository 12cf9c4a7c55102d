#include "role/bench_plan.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define AT(field) offsetof(struct bench_options, field)

const struct arg bench_args[] = {
    {.help = "What to do"},
    {"scenario", ARG_TEXT, AT(scenario), "NAME",
        "steady (default): publish at a rate, measure latency and loss\n"
        "saturate: offer more than fits; what counts is deliveries/s\n"
        "connect-storm: handshakes/s and what one costs the server\n"
        "idle-memory: what an idle connection costs the server",
        "steady|saturate|connect-storm|idle-memory"},
    {"name", ARG_TEXT, AT(name), "TEXT", "title of the report", NULL},
    {.help = "Server"},
    {"url", ARG_TEXT, AT(url), "URL", "the gateway (http://127.0.0.1:8084)", NULL},
    {"subscribe-url", ARG_TEXT, AT(subscribe_url), "URL",
        "where clients connect instead, for other servers;\n"
        "%d is the channel's number, %c the client's",
        NULL},
    {"publish-url", ARG_TEXT, AT(publish_url), "URL", "where messages are posted instead, with %d",
        NULL},
    {"header", ARG_LIST, AT(headers), "LINE", "send this header with every request; repeatable",
        NULL},
    {"pid", ARG_TEXT, AT(pid), "PID[,PID]", "measure CPU and memory of these processes", NULL},
    {.help = "Clients"},
    {"clients", ARG_COUNT, AT(clients), "N", "WebSocket subscribers (1000)", NULL, 1},
    {"mode", ARG_TEXT, AT(mode), "MODE",
        "room (default): clients share --rooms rooms\n"
        "users: everyone has a channel of their own\n"
        "channels: as room, with envelope frames",
        "users|room|channels"},
    {"rooms", ARG_COUNT, AT(rooms), "N", "rooms or channels that the clients share (1)", NULL, 1},
    {"slow", ARG_COUNT, AT(slow), "N", "the first N clients never read", NULL, 0},
    {"inflight", ARG_COUNT, AT(inflight), "N", "handshakes under way at a time (128)", NULL, 1},
    {.help = "Messages"},
    {"rate", ARG_RATE, AT(rate), "N", "messages a second, open loop (100; saturate: 2000)", NULL,
        0},
    {"size", ARG_SIZE, AT(size), "BYTES", "payload (128)", NULL, 0},
    {"duration", ARG_TIME, AT(duration), "TIME", "measured time (10s)", NULL, 0.1},
    {"warmup", ARG_TIME, AT(warmup), "TIME", "before it, not counted (1s)", NULL, 0},
    {"publish", ARG_TEXT, AT(publish), "HOW", "http (default), redis or ws", "http|redis|ws"},
    {"publishers", ARG_COUNT, AT(publishers), "N",
        "connections that publish; HTTP has one request in flight\n"
        "on each (http 8, saturate 32; redis and ws 1)",
        NULL, 1},
    {"redis", ARG_TEXT, AT(redis), "URL", "the Redis of --publish redis (redis://127.0.0.1:6379)",
        NULL},
    {.help = "Generator"},
    {"threads", ARG_COUNT, AT(threads), "N", "load threads in each process (1)", NULL, 1},
    {"processes", ARG_COUNT, AT(processes), "N", "load processes (one for each 18,000 clients)",
        NULL, 1},
    {"spread", ARG_FLAG, AT(spread), NULL,
        "connect from 127.0.0.2 and up, one address a process\n"
        "(on by itself when there are several)",
        NULL},
    {"hold", ARG_TIME, AT(hold), "TIME", "stay idle after connecting (idle-memory 2s)", NULL, 0},
    {"rounds", ARG_COUNT, AT(rounds), "N", "connect-storm: connect them all N times (1)", NULL, 1},
    {.help = "Output"},
    {"json", ARG_TEXT, AT(json_file), "FILE", "everything, as JSON; - is stdout", NULL},
    {"html", ARG_TEXT, AT(html_file), "FILE", "a self-contained page with plots", NULL},
    {"quiet", ARG_FLAG, AT(quiet), NULL, "no progress on stderr", NULL},
    {"allow-loss", ARG_FLAG, AT(allow_loss), NULL, "lost messages are no failure", NULL},
};
const size_t bench_arg_count = COUNT_OF(bench_args);

static const char *const mode_names[] = {"users", "room", "channels"};
static const char *const via_names[] = {"http", "redis", "ws"};
static const char *const scenario_names[] = {"steady", "connect-storm", "idle-memory", "saturate"};

const char *bench_mode_name(enum bench_mode mode)
{
    return mode_names[mode];
}

const char *bench_via_name(enum bench_via via)
{
    return via_names[via];
}

const char *bench_scenario_name(enum bench_scenario scenario)
{
    return scenario_names[scenario];
}

static int index_of(const char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) {
            return (int)i;
        }
    }
    return 0; /* The table of flags let no other word through. */
}

void bench_options_init(struct bench_options *options)
{
    *options = (struct bench_options){
        .url = "http://127.0.0.1:8084",
        .redis = "redis://127.0.0.1:6379",
        .mode = "room",
        .publish = "http",
        .scenario = "steady",
        .clients = 1000,
        .rooms = 1,
        .size = 128,
        .threads = 1,
        .inflight = 128,
        .rounds = 1,
        .rate = -1,
        .hold = -1,
        .duration = 10,
        .warmup = 1,
    };
}

int bench_expand(const char *template, uint64_t channel, uint64_t client, char *out, size_t cap)
{
    size_t len = 0;

    for (const char *at = template; *at; at++) {
        char number[24] = {at[0], 0};
        if (at[0] == '%' && at[1] == '%') {
            at++;
        } else if (at[0] == '%' && (at[1] == 'd' || at[1] == 'c')) {
            snprintf(number, sizeof number, "%llu",
                (unsigned long long)(at[1] == 'd' ? channel : client));
            at++;
        }
        size_t piece = strlen(number);
        if (len + piece >= cap) {
            return -ENAMETOOLONG;
        }
        memcpy(out + len, number, piece);
        len += piece;
    }
    out[len] = 0;
    return (int)len;
}

static int read_target(const char *flag, const char *url, uint32_t schemes, const char *path,
    struct bench_target *target, char *err)
{
    char why[CLIENT_URL_ERR_MAX];

    if (client_url_parse(url, schemes, &target->url, why)) {
        snprintf(err, ARGS_ERR_MAX, "--%s: %.200s", flag, why);
        return -EINVAL;
    }
    if (target->url.tls) {
        snprintf(err, ARGS_ERR_MAX, "--%s: bench speaks no TLS; give the plain address", flag);
        return -EINVAL;
    }
    size_t base = strcspn(target->url.target, "?#");
    while (path && base && target->url.target[base - 1] == '/') {
        base--;
    }
    int len =
        path ? snprintf(target->path, BENCH_PATH_MAX, "%.*s%s", (int)base, target->url.target, path)
             : snprintf(target->path, BENCH_PATH_MAX, "%s%s",
                   target->url.target[0] == '/' ? "" : "/", target->url.target);
    if (len >= BENCH_PATH_MAX / 2) {
        snprintf(err, ARGS_ERR_MAX, "--%s is longer than %d bytes", flag, BENCH_PATH_MAX / 2);
        return -EINVAL;
    }
    return 0;
}

/* Where clients connect, and where messages go, by mode. */
static int choose_targets(struct bench_plan *plan, char *err)
{
    const struct bench_options *o = plan->options;
    static const char *const subscribe_paths[] = {
        "/ws?username=bench-%d", "/ws?room=bench-%d&client_id=c%c", "/ws?channel=bench:%d"};
    static const char *const publish_paths[] = {"/api/v1/channels/user:bench-%d",
        "/api/v1/channels/room:bench-%d", "/api/v1/channels/bench:%d"};
    static const char *const redis_channels[] = {
        "workflow:events:bench-%d", "room:bench-%d", "fanout:ch:bench:%d"};
    int result = o->subscribe_url ? read_target("subscribe-url", o->subscribe_url, CLIENT_WS, NULL,
                                        &plan->subscribe, err)
                                  : read_target("url", o->url, CLIENT_WS,
                                        subscribe_paths[plan->mode], &plan->subscribe, err);
    if (result || !plan->publishes) {
        return result;
    }
    if (plan->via == BENCH_REDIS) {
        char why[CLIENT_URL_ERR_MAX];
        if (client_url_parse(o->redis, CLIENT_REDIS, &plan->publish.url, why)) {
            snprintf(err, ARGS_ERR_MAX, "--redis: %.200s", why);
            return -EINVAL;
        }
        /* As with other servers' URLs: a path is the channel to publish on. */
        const char *path = plan->publish.url.target;
        bool own = path[0] == '/' && path[1] && strspn(path + 1, "0123456789") != strlen(path + 1);
        snprintf(plan->redis_channel, sizeof plan->redis_channel, "%s",
            own ? path + 1 : redis_channels[plan->mode]);
        plan->redis_room = !own && plan->mode == BENCH_ROOM;
        return 0;
    }
    bool ws = plan->via == BENCH_WS;
    uint32_t scheme = ws ? CLIENT_WS : CLIENT_HTTP;
    plan->ws_command = ws && plan->mode != BENCH_ROOM && !o->publish_url;
    if (o->publish_url) {
        return read_target("publish-url", o->publish_url, scheme, NULL, &plan->publish, err);
    }
    const char *path = !ws                ? publish_paths[plan->mode]
                       : plan->ws_command ? "/ws?channel=bench:publisher-%d"
                                          : "/ws?room=bench-%d&client_id=publisher";
    return read_target("url", o->url, scheme, path, &plan->publish, err);
}

int bench_plan_make(
    const struct bench_options *options, struct bench_plan *ret_plan, char err[ARGS_ERR_MAX])
{
    struct bench_plan plan = {.options = options};

    plan.mode = (enum bench_mode)index_of(mode_names, COUNT_OF(mode_names), options->mode);
    plan.via = (enum bench_via)index_of(via_names, COUNT_OF(via_names), options->publish);
    plan.scenario =
        (enum bench_scenario)index_of(scenario_names, COUNT_OF(scenario_names), options->scenario);
    plan.publishes = plan.scenario == BENCH_STEADY || plan.scenario == BENCH_SATURATE;
    plan.rate = options->rate >= 0 ? options->rate : plan.scenario == BENCH_SATURATE ? 2000 : 100;
    plan.channel_count = plan.mode == BENCH_USERS ? options->clients : options->rooms;
    if (plan.channel_count > options->clients) {
        snprintf(err, ARGS_ERR_MAX, "--rooms %llu is more than --clients %llu",
            (unsigned long long)plan.channel_count, (unsigned long long)options->clients);
        return -EINVAL;
    }
    if (options->slow > options->clients) {
        snprintf(err, ARGS_ERR_MAX, "--slow %llu is more than --clients %llu",
            (unsigned long long)options->slow, (unsigned long long)options->clients);
        return -EINVAL;
    }
    uint64_t processes = options->processes ? options->processes
                                            : (options->clients + BENCH_CLIENTS_PER_PROCESS - 1) /
                                                  BENCH_CLIENTS_PER_PROCESS;
    if (processes * options->threads > 256 || options->threads > 64) {
        snprintf(err, ARGS_ERR_MAX, "%llu processes of %llu threads; expected at most 256 threads",
            (unsigned long long)processes, (unsigned long long)options->threads);
        return -EINVAL;
    }
    plan.process_count = (uint32_t)processes;
    plan.threads_per_process = (uint32_t)options->threads;
    plan.lane_count = plan.process_count * plan.threads_per_process;
    plan.spread = options->spread || processes > 1 || options->rounds > 1;
    uint64_t senders = options->publishers               ? options->publishers
                       : plan.via != BENCH_HTTP          ? 1
                       : plan.scenario == BENCH_SATURATE ? 32
                                                         : 8;
    if (senders > BENCH_SENDERS_MAX) {
        snprintf(err, ARGS_ERR_MAX, "--publishers is %llu; expected at most %d",
            (unsigned long long)senders, BENCH_SENDERS_MAX);
        return -EINVAL;
    }
    plan.sender_count = plan.publishes ? (uint32_t)senders : 0;
    if (options->pid) {
        int count = bench_pids_parse(options->pid, plan.pids);
        if (count < 0) {
            snprintf(err, ARGS_ERR_MAX, "--pid is \"%.60s\"; %s", options->pid,
                count == -ESRCH ? "no such process"
                                : "expected process ids, e.g. 1234 or 1234,1235");
            return -EINVAL;
        }
        plan.pid_count = (size_t)count;
    } else if (plan.scenario == BENCH_IDLE_MEMORY) {
        snprintf(err, ARGS_ERR_MAX,
            "idle-memory needs --pid: it measures the memory of the server's processes");
        return -EINVAL;
    }
    int result = choose_targets(&plan, err);
    if (result == 0) {
        *ret_plan = plan;
    }
    return result;
}

void bench_plan_span(
    const struct bench_plan *plan, uint32_t lane, uint64_t *ret_first, uint64_t *ret_end)
{
    uint64_t clients = plan->options->clients;

    *ret_first = clients * lane / plan->lane_count;
    *ret_end = clients * (lane + 1) / plan->lane_count;
}
