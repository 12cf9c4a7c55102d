/* Bench plan: the options of `fanout bench`, and what follows from them: how many processes and
 * threads, which client hears which channel, where requests go. */
#ifndef ROLE_BENCH_PLAN_H
#define ROLE_BENCH_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "role/args.h"
#include "role/bench_probe.h"
#include "role/client_url.h"

enum bench_mode { BENCH_USERS, BENCH_ROOM, BENCH_CHANNELS };
enum bench_via { BENCH_HTTP, BENCH_REDIS, BENCH_WS };
enum bench_scenario {
    BENCH_STEADY,
    BENCH_CONNECT_STORM,
    BENCH_IDLE_MEMORY,
    BENCH_SATURATE,
};

enum {
    BENCH_CLIENTS_PER_PROCESS = 18000, /* Descriptors are commonly limited to 20,000. */
    BENCH_SENDERS_MAX = 256,
    BENCH_PATH_MAX = 1024,
};

/* As given on the command line. */
struct bench_options {
    const char *url, *subscribe_url, *publish_url, *redis;
    const char *mode, *publish, *scenario, *pid;
    const char *json_file, *html_file, *name;
    struct arg_list headers;
    uint64_t clients, rooms, publishers, slow, threads, processes, inflight, rounds, size;
    double rate, duration, warmup, hold;
    bool quiet, spread, allow_loss;
};

/* A place to send requests to; the template holds %d (channel) and %c (client). */
struct bench_target {
    struct client_url url;
    char path[BENCH_PATH_MAX];
};

struct bench_plan {
    const struct bench_options *options;
    enum bench_mode mode;
    enum bench_via via;
    enum bench_scenario scenario;
    uint64_t channel_count;
    uint32_t process_count, threads_per_process, lane_count;
    uint32_t sender_count;
    bool publishes; /* The scenario sends messages. */
    bool spread;    /* Source addresses 127.0.0.2 and up, one a process. */
    double rate;    /* 0: as fast as the senders are answered. */
    struct bench_target subscribe;
    struct bench_target publish; /* HTTP and WebSocket. */
    char redis_channel[BENCH_PATH_MAX];
    bool redis_room; /* The payload travels in a room envelope. */
    bool ws_command; /* WebSocket: as a fanout.v1 command, else as a bare message. */
    int pids[BENCH_PIDS_MAX];
    size_t pid_count;
};

/* Fills in the defaults, before the command line is read. */
void bench_options_init(struct bench_options *options);
extern const struct arg bench_args[];
extern const size_t bench_arg_count;

/* Works the plan out; options are borrowed. Returns 0, or -EINVAL with a sentence without a full
 * stop in err. */
MUST_USE int bench_plan_make(
    const struct bench_options *options, struct bench_plan *ret_plan, char err[ARGS_ERR_MAX]);

/* The channel that a client listens to. */
static inline uint64_t bench_plan_channel(const struct bench_plan *plan, uint64_t client)
{
    return client % plan->channel_count;
}

/* Clients [first, end) of a lane. */
void bench_plan_span(
    const struct bench_plan *plan, uint32_t lane, uint64_t *ret_first, uint64_t *ret_end);

/* Replaces %d by the channel and %c by the client; %% is a percent sign. Returns the length, or
 * -ENAMETOOLONG. */
MUST_USE int bench_expand(
    const char *template, uint64_t channel, uint64_t client, char *out, size_t cap);

const char *bench_mode_name(enum bench_mode mode);
const char *bench_via_name(enum bench_via via);
const char *bench_scenario_name(enum bench_scenario scenario);

#endif
