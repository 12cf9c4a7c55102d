/* What commits of runs take in Redis: build/release/bench/bench_redis_flow PORT [commits [under way]]
 *
 * Each commit is a usual step of a run: a token consumed and one emitted, its task queued and the last
 * one taken back, two nodes' records, the header, a result with its content, two events. Then the same
 * without its events, without its task, and so on: what each part costs is the difference. The times are
 * Redis's own word. The database is emptied first. */
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "base/check.h"
#include "base/mem.h"
#include "link/redis_flow.h"
#include "rt/clock.h"
#include "rt/loop.h"

enum { OPS_MAX = 16, SOCKET_KIND = 1, RESOLVE_KIND = 2, RUN_STEPS = 20 };

/* One run at a time in each. */
struct slot {
    struct flow_commit commit;
    struct bench *bench;
    struct flow_op ops[OPS_MAX];
    char run[64], token[96], next[96], ref[80], body[300];
    uint32_t steps;
};

enum without { NOTHING, EVENTS, QUEUES, BLOBS, NODES };

struct bench {
    struct loop *loop;
    struct redis_flow *flow;
    struct flow_store store;
    redisContext *control;
    enum without without;
    bool up;
    uint64_t asked, done, goal, runs;
    struct slot *slots;
};

static struct span text_of(const char *text)
{
    return span_str(text);
}

static const char record[] =
    "{\"state\":\"completed\",\"visit\":1,\"attempt\":1,\"hop\":2,\"queued_ms\":1790000000000,"
    "\"finished_ms\":1790000000100,\"payload_ref\":\"sha256:"
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"edges\":[1,2]}";
static const char header[] =
    "{\"run_id\":\"01999999-0000-7000-8000-000000000000\",\"tag\":\"flight-search\",\"user\":"
    "\"u1\","
    "\"status\":\"running\",\"workflow_ref\":\"sha256:"
    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\",\"inputs_ref\":\"sha256:"
    "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc\",\"created_ms\":"
    "1790000000000,"
    "\"counter\":1,\"emits\":5,\"consumes\":4,\"events\":12}";
static const char event[] =
    "{\"type\":\"node_completed\",\"run_id\":\"01999999-0000-7000-8000-000000000000\",\"node_id\":"
    "\"search_flights\",\"status\":\"completed\",\"counter\":2,\"result_ref\":\"sha256:"
    "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd\",\"timestamp\":1790000000}";

static void ask(struct slot *slot);

static void begin_run(struct slot *slot)
{
    struct bench *bench = slot->bench;
    uint32_t n = 0;

    snprintf(slot->run, sizeof(slot->run), "01999999-0000-7000-8000-%012" PRIu64, bench->runs++);
    snprintf(slot->next, sizeof(slot->next), "%s:n:1:0", slot->run);
    slot->steps = 0;
    slot->ops[n++] = (struct flow_op){.kind = FLOW_OPEN,
        .id = text_of("u1"),
        .name = text_of("t"),
        .body = text_of("{}"),
        .n = 1790000000000};
    slot->ops[n++] = (struct flow_op){.kind = FLOW_EMIT, .id = text_of(slot->next)};
    slot->ops[n++] = (struct flow_op){.kind = FLOW_HEADER, .body = text_of(header), .n = 1};
    slot->commit.version = 0;
    slot->commit.op_count = n;
}

static void step_run(struct slot *slot)
{
    struct bench *bench = slot->bench;
    uint32_t n = 0;

    slot->steps += 1;
    snprintf(slot->token, sizeof(slot->token), "%s", slot->next);
    snprintf(slot->next, sizeof(slot->next), "%.64s:n:1:%u", slot->run, slot->steps);
    snprintf(slot->ref, sizeof(slot->ref), "sha256:%s%016" PRIx64,
        "000000000000000000000000000000000000000000000000", bench->asked);
    snprintf(slot->body, sizeof(slot->body),
        "{\"id\":\"%s\",\"run_id\":\"%s\",\"from_node\":\"a\",\"to_node\":\"b\",\"payload_ref\":\"%"
        "s\","
        "\"hop\":3,\"metadata\":{}}",
        slot->next, slot->run, slot->ref);
    slot->ops[n++] = (struct flow_op){.kind = FLOW_CONSUME, .id = text_of(slot->token)};
    slot->ops[n++] = (struct flow_op){.kind = FLOW_EMIT, .id = text_of(slot->next)};
    if (bench->without != QUEUES) {
        slot->ops[n++] = (struct flow_op){
            .kind = FLOW_UNQUEUE, .name = text_of("search"), .node = text_of("node_b")};
        slot->ops[n++] = (struct flow_op){.kind = FLOW_QUEUE,
            .id = text_of(slot->next),
            .name = text_of("search"),
            .node = text_of("node_b"),
            .body = text_of(slot->body)};
    }
    slot->ops[n++] = (struct flow_op){.kind = FLOW_HEADER, .body = text_of(header), .n = 1};
    if (bench->without != NODES) {
        slot->ops[n++] =
            (struct flow_op){.kind = FLOW_NODE, .node = text_of("node_a"), .body = text_of(record)};
        slot->ops[n++] =
            (struct flow_op){.kind = FLOW_NODE, .node = text_of("node_b"), .body = text_of(record)};
    }
    if (bench->without != BLOBS) {
        slot->ops[n++] = (struct flow_op){
            .kind = FLOW_OUTPUT, .node = text_of("node_a"), .id = text_of(slot->ref)};
        slot->ops[n++] =
            (struct flow_op){.kind = FLOW_BLOB, .id = text_of(slot->ref), .body = text_of(record)};
    }
    if (bench->without != EVENTS) {
        slot->ops[n++] = (struct flow_op){.kind = FLOW_EVENT, .body = text_of(event)};
        slot->ops[n++] = (struct flow_op){.kind = FLOW_EVENT, .body = text_of(event)};
    }
    slot->commit.op_count = n;
}

static void done(struct flow_commit *commit)
{
    struct slot *slot = commit->owner;
    struct bench *bench = slot->bench;

    if (commit->err) {
        fprintf(stderr, "a commit: %s\n", strerror(-commit->err));
        exit(1);
    }
    commit->version = commit->ret_version;
    bench->done += 1;
    if (bench->asked < bench->goal) {
        ask(slot);
    }
}

static void ask(struct slot *slot)
{
    struct bench *bench = slot->bench;

    bench->asked += 1;
    if (!slot->commit.version || slot->steps == RUN_STEPS) {
        begin_run(slot);
    } else {
        step_run(slot);
    }
    slot->commit.run_id = text_of(slot->run);
    bench->store.commit(bench->store.ctx, &slot->commit);
}

static void on_state(void *ctx, bool up, const char *why)
{
    ((struct bench *)ctx)->up = up;
    if (!up) {
        fprintf(stderr, "%s\n", why);
        exit(1);
    }
}

static void on_task(void *ctx, struct flow_task *task)
{
    struct bench *bench = ctx;

    bench->store.release_task(bench->store.ctx, task, FLOW_DROP, NULL);
}

static void on_signal(void *ctx, struct flow_signal *signal)
{
    struct bench *bench = ctx;

    bench->store.release_signal(bench->store.ctx, signal, FLOW_DROP, NULL);
}

static void on_timer(void *ctx, struct span run_id, struct span node)
{
    (void)ctx;
    (void)run_id;
    (void)node;
}

static void turn(struct bench *bench)
{
    loop_poll(bench->loop, 1);
    redis_flow_turn(bench->flow);
}

static double told(struct bench *bench, const char *section, const char *line, const char *name)
{
    redisReply *reply = redisCommand(bench->control, "INFO %s", section);
    const char *at = reply ? strstr(reply->str, line) : NULL;
    const char *value = at ? strstr(at, name) : NULL;
    double number = value ? strtod(value + strlen(name), NULL) : 0;

    freeReplyObject(reply);
    return number;
}

/* Microseconds so far, as Redis says: of the scripts by the clock, and of its thread by its CPU, which
 * other work on the machine disturbs less. */
static double script_us(struct bench *bench)
{
    return told(bench, "commandstats", "cmdstat_evalsha:", "usec=");
}

static double cpu_us(struct bench *bench)
{
    return 1e6 * (told(bench, "cpu", "used_cpu_sys_main_thread", ":") +
                     told(bench, "cpu", "used_cpu_user_main_thread", ":"));
}

static void measure(struct bench *bench, const char *what, uint32_t slots, uint64_t commits)
{
    bench->slots = mem_zalloc(slots * sizeof(*bench->slots));
    bench->asked = bench->done = 0;
    bench->goal = commits;
    double us = script_us(bench), cpu = cpu_us(bench);
    uint64_t start_ns = clock_now_ns();
    for (uint32_t i = 0; i < slots; i++) {
        struct slot *slot = &bench->slots[i];
        slot->bench = bench;
        slot->commit = (struct flow_commit){
            .done = done, .owner = slot, .user = text_of("u1"), .ops = slot->ops};
        ask(slot);
    }
    while (bench->done < bench->goal) {
        turn(bench);
    }
    double seconds = (double)(clock_now_ns() - start_ns) / 1e9;
    printf("%-34s %8.0f commits/s  %6.1f us in the script  %6.1f us of CPU\n", what,
        (double)commits / seconds, (script_us(bench) - us) / (double)commits,
        (cpu_us(bench) - cpu) / (double)commits);
    mem_free(bench->slots);
}

int main(int argc, char **argv)
{
    static const char *const names[] = {[NOTHING] = "a step",
        [EVENTS] = "without its two events",
        [QUEUES] = "without its task",
        [BLOBS] = "without its result",
        [NODES] = "without its nodes' records"};
    static const struct redis_flow_type types[] = {{"search", false}};
    struct bench bench = {0};
    struct redis_options redis = redis_options_default();
    struct redis_flow_options options = redis_flow_options_default();
    const struct flow_events_in in = {&bench, on_task, on_signal, on_timer, on_state};
    char err[256];
    uint64_t commits = argc > 2 ? strtoull(argv[2], NULL, 10) : 100000;
    uint32_t slots = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 64;

    if (argc < 2 || commits == 0 || slots == 0) {
        fprintf(stderr, "usage: bench_redis_flow PORT [commits [under way]]\n");
        return 2;
    }
    redis.host = "127.0.0.1";
    redis.port = (uint16_t)strtoul(argv[1], NULL, 10);
    options.name = "bench";
    options.types = types;
    options.type_count = COUNT_OF(types);
    bench.control = redisConnect("127.0.0.1", redis.port);
    freeReplyObject(redisCommand(bench.control, "FLUSHALL"));
    CHECK(loop_create(&bench.loop) == 0);
    if (redis_flow_create(bench.loop, SOCKET_KIND, RESOLVE_KIND, &redis, &options, &bench.flow, err,
            sizeof(err)) != 0) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }
    bench.store = redis_flow_store(bench.flow);
    redis_flow_start(bench.flow, &in);
    while (!bench.up) {
        turn(&bench);
    }
    for (enum without without = NOTHING; without <= NODES; without++) {
        bench.without = without;
        measure(&bench, names[without], slots, commits);
    }
    redis_flow_destroy(bench.flow);
    loop_destroy(bench.loop);
    redisFree(bench.control);
    return 0;
}
