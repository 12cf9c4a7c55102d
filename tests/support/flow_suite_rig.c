#include "tests/support/flow_suite_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rt/clock.h"

enum { PATIENCE_S = 10, TURNS = 30 };

static void on_task(void *ctx, struct flow_task *task)
{
    struct suite *suite = ctx;

    assert_true(suite->task_count < SUITE_TASKS_KEPT);
    suite->tasks[suite->task_count++] = task;
}

static void on_signal(void *ctx, struct flow_signal *signal)
{
    struct suite *suite = ctx;

    suite->store.release_signal(suite->store.ctx, signal, FLOW_DROP, "");
}

static void copy(char *out, size_t cap, struct span in)
{
    assert_true(in.len < cap);
    if (in.len) {
        memcpy(out, in.data, in.len);
    }
    out[in.len] = '\0';
}

static void on_timer(void *ctx, struct span run_id, struct span node)
{
    struct suite *suite = ctx;

    assert_true(suite->timer_count < SUITE_TIMERS_KEPT);
    struct suite_timer *timer = &suite->timers[suite->timer_count++];
    copy(timer->run_id, sizeof(timer->run_id), run_id);
    copy(timer->node, sizeof(timer->node), node);
}

static void on_state(void *ctx, bool up, const char *why)
{
    (void)why;
    ((struct suite *)ctx)->up = up;
}

void suite_open(struct suite *suite, const struct flow_suite_port *port)
{
    *suite = (struct suite){.port = port};
    suite->in = (struct flow_events_in){suite, on_task, on_signal, on_timer, on_state};
    port->open(port->ctx, &suite->in, &suite->store);
    suite_until(suite, &suite->up);
}

void suite_close(struct suite *suite)
{
    while (suite->task_count) {
        suite_release(suite, 0, FLOW_DROP, "");
    }
    suite->port->close(suite->port->ctx);
}

static uint64_t deadline_ns(void)
{
    return clock_now_ns() + PATIENCE_S * 1000000000ull;
}

void suite_until(struct suite *suite, const bool *done)
{
    uint64_t deadline = deadline_ns();

    while (!*done) {
        assert_true(clock_now_ns() < deadline);
        suite->port->pump(suite->port->ctx);
    }
}

void suite_turns(struct suite *suite)
{
    for (uint32_t i = 0; i < TURNS; i++) {
        suite->port->pump(suite->port->ctx);
    }
}

static void until_count(struct suite *suite, const uint32_t *count, uint32_t wanted)
{
    uint64_t deadline = deadline_ns();

    while (*count < wanted) {
        assert_true(clock_now_ns() < deadline);
        suite->port->pump(suite->port->ctx);
    }
}

void suite_until_tasks(struct suite *suite, uint32_t count)
{
    until_count(suite, &suite->task_count, count);
}

void suite_until_timers(struct suite *suite, uint32_t count)
{
    until_count(suite, &suite->timer_count, count);
}

void suite_release(struct suite *suite, uint32_t index, enum flow_release how, const char *why)
{
    assert_true(index < suite->task_count);
    struct flow_task *task = suite->tasks[index];
    suite->task_count -= 1;
    memmove(&suite->tasks[index], &suite->tasks[index + 1],
        (suite->task_count - index) * sizeof(struct flow_task *));
    suite->store.release_task(suite->store.ctx, task, how, why);
}

/* ---- commits ---- */

static struct span text(const char *str)
{
    return str ? span_str(str) : span_of(NULL, 0);
}

struct flow_op op_open(const char *user, const char *tag, uint64_t now_ms)
{
    static const char ir[] =
        "{\"nodes\":{\"a\":{\"type\":\"transform\",\"config\":{},\"dependencies\":[],"
        "\"dependents\":[],\"is_terminal\":true}},\"metadata\":{\"username\":\"u\",\"tag\":\"t\"}}";

    return (struct flow_op){
        .kind = FLOW_OPEN, .id = text(user), .name = text(tag), .body = text(ir), .n = now_ms};
}

struct flow_op op_header(const char *json, uint64_t counter)
{
    return (struct flow_op){.kind = FLOW_HEADER, .body = text(json), .n = counter};
}

struct flow_op op_node(const char *node, const char *json)
{
    return (struct flow_op){.kind = FLOW_NODE, .node = text(node), .body = text(json)};
}

struct flow_op op_event(const char *json)
{
    return (struct flow_op){.kind = FLOW_EVENT, .body = text(json)};
}

struct flow_op op_token(enum flow_op_kind kind, const char *token)
{
    return (struct flow_op){.kind = kind, .id = text(token)};
}

struct flow_op op_queue(const char *node, const char *type, const char *token, const char *body)
{
    return (struct flow_op){.kind = FLOW_QUEUE,
        .node = text(node),
        .name = text(type),
        .id = text(token),
        .body = text(body)};
}

struct flow_op op_unqueue(const char *node, const char *type)
{
    return (struct flow_op){.kind = FLOW_UNQUEUE, .node = text(node), .name = text(type)};
}

struct flow_op op_blob(const char *ref, const char *body)
{
    return (struct flow_op){.kind = FLOW_BLOB, .id = text(ref), .body = text(body)};
}

struct flow_op op_timer(const char *node, uint64_t due_ms)
{
    return (struct flow_op){.kind = FLOW_TIMER, .node = text(node), .n = due_ms};
}

struct flow_op op_plain(enum flow_op_kind kind, const char *node, const char *id, const char *body)
{
    return (struct flow_op){.kind = kind, .node = text(node), .id = text(id), .body = text(body)};
}

struct flow_op op_close(const char *status, uint64_t now_ms)
{
    return (struct flow_op){.kind = FLOW_CLOSE, .name = text(status), .n = now_ms};
}

static void commit_done(struct flow_commit *commit)
{
    *(bool *)commit->owner = true;
}

int suite_commit(struct suite *suite, const char *run_id, uint64_t version,
    const struct flow_op *ops, uint32_t op_count, uint64_t *ret_version)
{
    bool done = false;
    struct flow_commit commit = {
        .done = commit_done,
        .owner = &done,
        .run_id = text(run_id),
        .user = text("test-user"),
        .version = version,
        .ops = ops,
        .op_count = op_count,
    };

    for (uint32_t i = 0; i < op_count; i++) {
        if (ops[i].kind == FLOW_OPEN) {
            commit.user = ops[i].id;
        }
    }
    suite->store.commit(suite->store.ctx, &commit);
    suite_until(suite, &done);
    if (commit.err == 0 && ret_version) {
        *ret_version = commit.ret_version;
    }
    return commit.err;
}

const char *suite_header(char out[SUITE_TEXT_MAX], const char *run_id, const char *user,
    const char *tag, const char *status, uint64_t now_ms)
{
    snprintf(out, SUITE_TEXT_MAX,
        "{\"run_id\":\"%s\",\"tag\":\"%s\",\"user\":\"%s\",\"status\":\"%s\",\"workflow_ref\":\"\","
        "\"inputs_ref\":\"\",\"created_ms\":%llu,\"finished_ms\":0,\"counter\":0,\"emits\":0,"
        "\"consumes\":0,\"events\":0,\"nodes\":1}",
        run_id, tag, user, status, (unsigned long long)now_ms);
    return out;
}

uint64_t suite_run(
    struct suite *suite, const char *run_id, const char *user, const char *tag, uint64_t now_ms)
{
    char header[SUITE_TEXT_MAX];
    uint64_t version = 0;

    suite_header(header, run_id, user, tag, "running", now_ms);
    assert_int_equal(suite_commit(suite, run_id, 0,
                         OPS(op_open(user, tag, now_ms), op_header(header, 0)), &version),
        0);
    assert_true(version > 0);
    return version;
}

/* ---- reading ---- */

struct loading {
    struct suite_loaded *loaded;
    bool done;
};

static int by_id(const void *a, const void *b)
{
    return strcmp(
        (*(const char(*)[2][SUITE_TEXT_MAX])a)[0], (*(const char(*)[2][SUITE_TEXT_MAX])b)[0]);
}

static void load_done(struct flow_load *load)
{
    struct loading *loading = load->owner;
    struct suite_loaded *to = loading->loaded;

    loading->done = true;
    to->err = load->err;
    if (load->err) {
        return;
    }
    to->version = load->version;
    copy(to->header, sizeof(to->header), load->header);
    copy(to->ir, sizeof(to->ir), load->ir);
    assert_true(load->node_count <= COUNT_OF(to->nodes));
    to->node_count = load->node_count;
    for (uint32_t i = 0; i < load->node_count; i++) {
        copy(to->nodes[i][0], SUITE_TEXT_MAX, load->nodes[i].node);
        copy(to->nodes[i][1], SUITE_TEXT_MAX, load->nodes[i].body);
    }
    qsort(to->nodes, to->node_count, sizeof(to->nodes[0]), by_id);
}

struct suite_loaded *suite_load(struct suite *suite, const char *run_id)
{
    struct loading loading = {.loaded = calloc(1, sizeof(struct suite_loaded))};
    struct flow_load load = {
        .done = load_done, .owner = &loading, .run_id = text(run_id), .want_ir = true};

    assert_non_null(loading.loaded);
    suite->store.load(suite->store.ctx, &load);
    suite_until(suite, &loading.done);
    return loading.loaded;
}

struct getting {
    char *out;
    bool done;
};

static void get_done(struct flow_get *get)
{
    struct getting *getting = get->owner;

    getting->done = true;
    getting->out[0] = '\0';
    if (get->err == 0) {
        copy(getting->out, SUITE_TEXT_MAX, get->body);
    }
}

int suite_get(struct suite *suite, suite_get_fn *fn, const char *key, size_t bytes_max,
    char out[SUITE_TEXT_MAX])
{
    struct getting getting = {.out = out};
    struct flow_get get = {
        .done = get_done, .owner = &getting, .key = text(key), .bytes_max = bytes_max};

    fn(suite->store.ctx, &get);
    suite_until(suite, &getting.done);
    return get.err;
}

struct reading {
    struct suite_events *to;
    bool done;
};

static void events_done(struct flow_events *events)
{
    struct reading *reading = events->owner;
    struct suite_events *to = reading->to;
    size_t len = 0;

    reading->done = true;
    *to = (struct suite_events){.err = events->err};
    if (events->err) {
        return;
    }
    to->total = events->total;
    to->count = events->count;
    copy(to->header, sizeof(to->header), events->header);
    for (uint32_t i = 0; i < events->count; i++) {
        copy(to->text + len, sizeof(to->text) - len - 1, events->bodies[i]);
        len += events->bodies[i].len;
        to->text[len++] = '\n';
    }
    to->text[len] = '\0';
}

void suite_events(struct suite *suite, const char *run_id, uint64_t since, uint64_t limit,
    struct suite_events *ret_events)
{
    struct reading reading = {.to = ret_events};
    struct flow_events events = {.done = events_done,
        .owner = &reading,
        .run_id = text(run_id),
        .since = since,
        .limit = limit};

    suite->store.events(suite->store.ctx, &events);
    suite_until(suite, &reading.done);
}

uint64_t suite_now(const struct suite *suite)
{
    return suite->port->now_ms(suite->port->ctx);
}

uint64_t suite_r1(struct suite *suite)
{
    return suite_run(suite, "r1", "alice", "flights", suite_now(suite));
}
