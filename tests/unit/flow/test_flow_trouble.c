/* The runtime and a store that fails at once, as Redis does while it is away. Proves: what steps before had changed is
 * worked out again, nothing is lost, and nothing is waited for afterwards. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "flow/flow.h"
#include "store/flow_db.h"

#define REF "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

struct rig {
    struct flow *flow;
    struct flow_db *db;
    struct flow_store real, store;
    uint64_t now_ms;
    uint32_t blob_fails; /* So many questions for a blob fail before they are asked. */
    uint32_t released;   /* Signals. */
    char text[4000];     /* Of the last answer. */
    int code;
};

static struct rig rig;

/* Somebody else works on it. */
static void on_task(void *ctx, struct flow_task *task)
{
    (void)ctx;
    rig.real.release_task(rig.real.ctx, task, FLOW_LATER, NULL);
}

static void on_signal(void *ctx, struct flow_signal *signal)
{
    (void)ctx;
    (void)signal;
    fail();
}

static void on_timer(void *ctx, struct span run_id, struct span node)
{
    struct flow_events_in in = flow_events_in(rig.flow);
    (void)ctx;
    in.on_timer(in.ctx, run_id, node);
}

static void on_state(void *ctx, bool up, const char *why)
{
    (void)ctx;
    (void)up;
    (void)why;
}

static void blob(void *ctx, struct flow_get *get)
{
    if (rig.blob_fails) {
        rig.blob_fails -= 1;
        get->err = -ENOTCONN;
        get->done(get);
        return;
    }
    rig.real.blob(ctx, get);
}

static void release_signal(
    void *ctx, struct flow_signal *signal, enum flow_release how, const char *why)
{
    (void)ctx;
    (void)signal;
    (void)why;
    assert_int_equal(how, FLOW_DONE);
    rig.released += 1;
}

static int set_up(void **state)
{
    struct flow_db_options db = flow_db_options_default();
    char why[FLOW_DB_WHY_MAX];
    const struct flow_options options = {.inputs_bytes_max = 1000,
        .result_bytes_max = 4000,
        .task_timeout_ms = 60000,
        .runs_max = 10,
        .runs_bytes_max = 1 << 20,
        .cache_bytes_max = 1 << 20,
        .seed = 7};
    const struct flow_needs needs = {.store = &rig.store};

    (void)state;
    rig = (struct rig){.now_ms = 1790000000000};
    assert_int_equal(flow_create(&options, &needs, &rig.flow), 0);
    db.in = (struct flow_events_in){NULL, on_task, on_signal, on_timer, on_state};
    db.retention_ms = 3600000;
    assert_int_equal(flow_db_open(&db, &rig.db, why), 0);
    rig.real = rig.store = flow_db_store(rig.db);
    rig.store.blob = blob;
    rig.store.release_signal = release_signal;
    rig.store.outside_workers = true;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    flow_drain(rig.flow);
    flow_turn(rig.flow, rig.now_ms);
    flow_db_shut(rig.db);
    flow_turn(rig.flow, rig.now_ms);
    assert_true(flow_idle(rig.flow));
    flow_destroy(rig.flow);
    flow_db_destroy(rig.db);
    return 0;
}

/* Returns what the flow's last turn did. */
static uint64_t settle(void)
{
    uint64_t wait = 0;

    for (int i = 0; i < 50; i++) {
        flow_db_turn(rig.db, rig.now_ms);
        wait = flow_turn(rig.flow, rig.now_ms);
    }
    return wait;
}

static void answered(struct flow_ask *ask)
{
    rig.code = ask->code;
    snprintf(rig.text, sizeof(rig.text), "%.*s", (int)ask->reply.len,
        ask->reply.len ? (const char *)ask->reply.data : "");
    bytes_fini(&ask->reply);
}

static void ask(enum flow_question what, const char *name, const char *body, int code)
{
    struct flow_ask question = {.done = answered,
        .what = what,
        .name = span_str(name),
        .body = span_str(body),
        .user = span_str("ann")};

    rig.code = 0;
    flow_ask(rig.flow, &question);
    settle();
    if (rig.code != code) {
        fail_msg("%d: %s", rig.code, rig.text);
    }
}

static void give(struct flow_signal *signal, char *text, size_t cap, const char *run,
    const char *node, const char *result)
{
    struct flow_events_in in = flow_events_in(rig.flow);

    snprintf(text, cap,
        "{\"version\":\"1.0\",\"job_id\":\"%s:%s:1:1\",\"run_id\":\"%s\",\"node_id\":\"%s\","
        "\"status\":\"completed\",%s}",
        run, node, run, node, result);
    *signal = (struct flow_signal){.body = span_str(text)};
    in.on_signal(in.ctx, signal);
}

static void a_step_behind_others_finds_the_store_gone(void **state)
{
    struct flow_signal first, second;
    char texts[2][600], run[40];

    (void)state;
    ask(FLOW_ASK_PUT, "two",
        "{\"nodes\":[{\"id\":\"a\",\"type\":\"agent\"},{\"id\":\"b\",\"type\":\"agent\"}],"
        "\"edges\":[]}",
        201);
    ask(FLOW_ASK_START, "two", "{}", 201);
    assert_int_equal(sscanf(rig.text, "{\"run_id\":\"%36[^\"]", run), 1);
    rig.blob_fails = 3;
    give(&first, texts[0], sizeof(texts[0]), run, "a", "\"result_data\":{\"x\":1}");
    give(&second, texts[1], sizeof(texts[1]), run, "b", "\"result_ref\":\"" REF "\"");
    assert_true(settle() <= 250); /* It waits for the store. */
    for (int i = 0; i < 20; i++) {
        rig.now_ms += 1000;
        settle();
    }
    assert_int_equal(rig.blob_fails, 0);
    assert_int_equal(rig.released, 2);
    ask(FLOW_ASK_EVENTS, run, "", 200);
    assert_non_null(strstr(rig.text, "\"node_completed\""));
    assert_non_null(strstr(rig.text, "is not in the store"));
    assert_non_null(strstr(rig.text, "\"status\":\"failed\"}\n"));
    assert_true(settle() > 250); /* It waits for nothing any more. */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_step_behind_others_finds_the_store_gone, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
