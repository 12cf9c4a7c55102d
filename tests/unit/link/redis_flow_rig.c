#include "tests/unit/link/redis_flow_rig.h"
#include "tests/support/unit.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>

#include "rt/loop.h"

enum { SOCKET_KIND = 3, RESOLVE_KIND = 4, PATIENCE_MS = 20000 };

static void on_task(void *ctx, struct flow_task *task)
{
    struct rig *rig = ctx;

    assert_true(rig->task_count < RIG_HELD_MAX);
    rig->tasks[rig->task_count++] = task;
    rig->again_count += task->again;
}

static void on_signal(void *ctx, struct flow_signal *signal)
{
    struct rig *rig = ctx;

    assert_true(rig->signal_count < RIG_HELD_MAX);
    rig->signals[rig->signal_count++] = signal;
}

static void on_timer(void *ctx, struct span run_id, struct span node)
{
    struct rig *rig = ctx;

    rig->timer_count += 1;
    snprintf(rig->timer, sizeof(rig->timer), "%.*s:%.*s", (int)run_id.len, run_id.data,
        (int)node.len, node.data);
}

static void on_state(void *ctx, bool up, const char *why)
{
    struct rig *rig = ctx;

    rig->up = up;
    rig->ups += up;
    rig->downs += !up;
    snprintf(rig->why, sizeof(rig->why), "%s", why);
}

struct redis_flow_options rig_options(const char *name)
{
    static const struct redis_flow_type types[] = {
        {"transform", true}, {"http", true}, {"delay", true}, {"search", false}};
    struct redis_flow_options options = redis_flow_options_default();

    options.name = name;
    options.types = types;
    options.type_count = sizeof(types) / sizeof(*types);
    options.later_ms = 200;
    return options;
}

void rig_start(
    struct rig *rig, const struct server *server, const struct redis_flow_options *options)
{
    struct redis_options redis = server_options(server);
    const struct flow_events_in in = {rig, on_task, on_signal, on_timer, on_state};
    char err[256] = "";

    *rig = (struct rig){0};
    redis.reconnect_min_ms = 20;
    redis.reconnect_max_ms = 100;
    assert_int_equal(loop_create(&rig->loop), 0);
    if (redis_flow_create(rig->loop, SOCKET_KIND, RESOLVE_KIND, &redis, options, &rig->flow, err,
            sizeof(err)) != 0) {
        fail_msg("%s", err);
    }
    rig->store = redis_flow_store(rig->flow);
    redis_flow_start(rig->flow, &in);
}

void rig_turn(struct rig *rig)
{
    loop_poll(rig->loop, 5);
    redis_flow_turn(rig->flow);
}

void rig_run_ms(struct rig *rig, uint32_t ms)
{
    uint64_t end_ms = now_ms() + ms;

    while (now_ms() < end_ms) {
        rig_turn(rig);
    }
}

void rig_wait(struct rig *rig, const uint32_t *count, uint32_t at_least)
{
    uint64_t end_ms = now_ms() + PATIENCE_MS;

    while (*count < at_least) {
        if (now_ms() > end_ms) {
            fail_msg("waited in vain for %u, there are %u; %s", at_least, *count, rig->why);
        }
        rig_turn(rig);
    }
}

void rig_up(struct rig *rig)
{
    uint64_t end_ms = now_ms() + PATIENCE_MS;

    while (!rig->up) {
        if (now_ms() > end_ms) {
            fail_msg("the store does not come up: %s", rig->why);
        }
        rig_turn(rig);
    }
}

void rig_die(struct rig *rig)
{
    redis_flow_shut(rig->flow);
    redis_flow_destroy(rig->flow);
    loop_destroy(rig->loop);
}

void rig_stop(struct rig *rig)
{
    while (!redis_flow_leave(rig->flow)) {
        rig_turn(rig);
    }
    rig_die(rig);
}

static void committed(struct flow_commit *commit)
{
    *(uint32_t *)commit->owner += 1;
}

uint64_t rig_commit(struct rig *rig, const char *run, uint64_t version, const struct flow_op *ops,
    uint32_t op_count, int err)
{
    uint32_t done = 0;
    struct flow_commit commit = {
        .done = committed,
        .owner = &done,
        .run_id = s(run),
        .user = s("u"),
        .version = version,
        .ops = ops,
        .op_count = op_count,
    };

    rig->store.commit(rig->store.ctx, &commit);
    rig_wait(rig, &done, 1);
    assert_int_equal(commit.err, err);
    return commit.ret_version;
}

void rig_begin(struct rig *rig, const char *run)
{
    const struct flow_op ops[] = {
        {.kind = FLOW_OPEN, .id = s("u"), .name = s("tag"), .body = s("{\"ir\":1}"), .n = 1000},
        {.kind = FLOW_EMIT, .id = s("t1")},
        {.kind = FLOW_QUEUE,
            .id = s("t1"),
            .name = s("transform"),
            .node = s("a"),
            .body = s("{\"id\":\"t1\"}")},
        {.kind = FLOW_HEADER, .body = s("{\"status\":\"running\"}"), .n = 1},
        {.kind = FLOW_NODE, .node = s("a"), .body = s("{\"state\":\"queued\"}")},
        {.kind = FLOW_EVENT, .body = s("{\"type\":\"workflow_started\"}")},
    };

    assert_int_equal(rig_commit(rig, run, 0, ops, sizeof(ops) / sizeof(*ops), 0), 1);
}

static size_t print(const redisReply *reply, char *out, size_t cap)
{
    size_t len = 0;

    switch (reply->type) {
    case REDIS_REPLY_INTEGER:
        return (size_t)snprintf(out, cap, "%lld", reply->integer);
    case REDIS_REPLY_NIL:
        return (size_t)snprintf(out, cap, "(nil)");
    case REDIS_REPLY_ARRAY:
        len = (size_t)snprintf(out, cap, "[");
        for (size_t i = 0; i < reply->elements; i++) {
            len += (size_t)snprintf(out + len, cap - len, "%s", i ? " " : "");
            len += print(reply->element[i], out + len, cap - len);
        }
        return len + (size_t)snprintf(out + len, cap - len, "]");
    default:
        return (size_t)snprintf(out, cap, "%s", reply->str);
    }
}

void rig_ask(struct server *server, const char *words, char *out, size_t cap)
{
    char text[512];
    const char *argv[32];
    int argc = 0;

    snprintf(text, sizeof(text), "%s", words);
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
        argv[argc++] = word;
    }
    redisReply *reply = server_ask(server, argc, argv, NULL);
    assert_true(print(reply, out, cap) < cap);
    freeReplyObject(reply);
}

void rig_expect(struct server *server, const char *words, const char *answer)
{
    char text[4096];

    rig_ask(server, words, text, sizeof(text));
    if (strcmp(text, answer) != 0) {
        fail_msg("%s: %s; expected %s", words, text, answer);
    }
}
