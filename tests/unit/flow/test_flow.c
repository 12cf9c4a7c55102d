/* The coordinator's runtime on its embedded store, in memory, with time of the test's making: questions go in, answers and
 * the events of runs come out. */
#include "flow/flow.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/flow_db.h"
#include "tests/support/unit.h"

struct rig {
    struct flow *flow;
    struct flow_db *db;
    struct flow_store store;
    uint64_t now_ms;
    json_t *reply;
    char *text; /* Of the reply. */
    int code;
    char etag[200];
};

static struct rig rig;

static void on_task(void *ctx, struct flow_task *task)
{
    struct flow_events_in in = flow_events_in(rig.flow);
    (void)ctx;
    in.on_task(in.ctx, task);
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
    struct flow_events_in in = flow_events_in(rig.flow);
    (void)ctx;
    in.on_state(in.ctx, up, why);
}

static uint64_t clock_us(void)
{
    return rig.now_ms * 1000;
}

static int set_up(void **state)
{
    struct flow_db_options db = flow_db_options_default();
    char why[FLOW_DB_WHY_MAX];
    const struct flow_options options = {
        .inputs_bytes_max = 1000,
        .result_bytes_max = 4000,
        .task_timeout_ms = 60000,
        .runs_max = 2,
        .runs_bytes_max = 100000,
        .cache_bytes_max = 1 << 20,
        .seed = 7,
    };
    const struct flow_needs needs = {.store = &rig.store, .clock_us = clock_us};

    (void)state;
    rig = (struct rig){.now_ms = 1790000000000};
    assert_int_equal(flow_create(&options, &needs, &rig.flow), 0);
    db.in = (struct flow_events_in){NULL, on_task, on_signal, on_timer, on_state};
    db.retention_ms = 3600000;
    assert_int_equal(flow_db_open(&db, &rig.db, why), 0);
    rig.store = flow_db_store(rig.db);
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
    json_decref(rig.reply);
    free(rig.text);
    return 0;
}

/* Until nothing can go on without more time. */
static void settle(void)
{
    bool more = true;

    for (int i = 0; more && i < 100000; i++) {
        more = flow_db_turn(rig.db, rig.now_ms);
        more = flow_turn(rig.flow, rig.now_ms) == 0 || more;
        more = flow_db_next_ms(rig.db, rig.now_ms) == 0 || more;
    }
    assert_false(more);
}

static void pass(uint64_t ms)
{
    rig.now_ms += ms;
    settle();
}

static void answered(struct flow_ask *ask)
{
    rig.code = ask->code;
    json_decref(rig.reply);
    free(rig.text);
    rig.text = mem_strndup(ask->reply.len ? (const char *)ask->reply.data : "", ask->reply.len);
    rig.reply = json_loadb((const char *)ask->reply.data, ask->reply.len, JSON_DECODE_ANY, NULL);
    snprintf(rig.etag, sizeof(rig.etag), "%s", ask->etag);
    bytes_fini(&ask->reply);
    *(bool *)ask->owner = true;
}

/* Asks, and waits for the answer. Returns its code. */
static int ask_full(struct flow_ask ask)
{
    bool done = false;

    ask.done = answered;
    ask.owner = &done;
    flow_ask(rig.flow, &ask);
    settle();
    assert_true(done);
    return rig.code;
}

static int ask(enum flow_question what, const char *name, const char *body)
{
    return ask_full((struct flow_ask){
        .what = what, .name = span_str(name), .body = span_str(body), .user = span_str("ann")});
}

static const char *reply_text(const char *member)
{
    const char *text = json_string_value(json_object_get(rig.reply, member));
    return text ? text : "";
}

static const char *error_code(void)
{
    return json_string_value(json_object_get(json_object_get(rig.reply, "error"), "code"));
}

static void put(const char *tag, const char *definition)
{
    if (ask(FLOW_ASK_PUT, tag, definition) > 201) {
        fail_msg("%s", rig.text);
    }
}

/* Starts, and gives the run's id; free() it. */
static char *start(const char *tag, const char *inputs)
{
    char body[2000];

    snprintf(body, sizeof(body), "{\"tag\":\"%s\",\"inputs\":%s}", tag, inputs);
    if (ask(FLOW_ASK_START, "", body) != 201) {
        fail_msg("%s", rig.text);
    }
    assert_string_equal(reply_text("status"), "running");
    return strdup(reply_text("run_id"));
}

/* The types of a run's events, "node_id" behind a slash where there is one, with blanks between. */
static char *story(const char *run)
{
    static char out[4000];
    size_t i;
    json_t *event;

    assert_int_equal(ask(FLOW_ASK_EVENTS, run, ""), 200);
    out[0] = 0;
    json_array_foreach(json_object_get(rig.reply, "events"), i, event)
    {
        const char *type = json_string_value(json_object_get(event, "type"));
        const char *node = json_string_value(json_object_get(event, "node_id"));
        size_t len = strlen(out);
        snprintf(out + len, sizeof(out) - len, "%s%s%s%s", i ? " " : "", type, node ? "/" : "",
            node ? node : "");
    }
    return out;
}

static json_t *event_at(size_t i)
{
    return json_array_get(json_object_get(rig.reply, "events"), i);
}

static json_t *node_of(const char *run, const char *id)
{
    size_t i;
    json_t *node;

    assert_int_equal(ask(FLOW_ASK_RUN, run, ""), 200);
    json_array_foreach(json_object_get(rig.reply, "nodes"), i, node)
    {
        if (strcmp(json_string_value(json_object_get(node, "id")), id) == 0) {
            return node;
        }
    }
    fail_msg("no node %s in %s", id, rig.text);
    return NULL;
}

static const char chain[] =
    "{\"nodes\":[{\"id\":\"search\",\"type\":\"transform\",\"config\":{\"output\":"
    "{\"to\":\"{{/inputs/city}}\"}}},{\"id\":\"format\",\"type\":\"transform\",\"config\":"
    "{\"output\":\"to {{/results/search/to}} for {{/run/user}}\"}}],"
    "\"edges\":[{\"from\":\"search\",\"to\":\"format\"}]}";

static void a_chain_of_two_tells_the_story_of_the_contract(void **state)
{
    (void)state;
    put("flights", chain);
    char *run = start("flights", "{\"city\":\"NYC\"}");

    assert_string_equal(story(run),
        "workflow_started node_started/search node_completed/search node_started/format "
        "node_completed/format workflow_completed");
    assert_string_equal(reply_text("status"), "completed");
    assert_int_equal(json_integer_value(json_object_get(event_at(0), "nodes")), 2);
    assert_int_equal(json_integer_value(json_object_get(event_at(2), "counter")), 1);
    assert_int_equal(json_integer_value(json_object_get(event_at(4), "counter")), 0);
    char *ref = strdup(json_string_value(json_object_get(event_at(4), "result_ref")));
    assert_int_equal(ask(FLOW_ASK_RESULT, ref, ""), 200);
    assert_string_equal(rig.text, "\"to NYC for ann\"");
    free(ref);
    free(run);
}

static void a_poll_is_told_that_nothing_is_new(void **state)
{
    char tag[210];

    (void)state;
    put("flights", chain);
    char *run = start("flights", "{\"city\":\"NYC\"}");
    story(run);
    snprintf(tag, sizeof(tag), "W/%s", rig.etag);
    assert_int_equal(ask_full((struct flow_ask){
                         .what = FLOW_ASK_EVENTS, .name = span_str(run), .tag = span_str(tag)}),
        304);
    assert_int_equal(ask_full((struct flow_ask){
                         .what = FLOW_ASK_EVENTS, .name = span_str(run), .since = 4, .limit = 1}),
        200);
    assert_int_equal(json_array_size(json_object_get(rig.reply, "events")), 1);
    assert_string_equal(json_string_value(json_object_get(event_at(0), "type")), "node_completed");
    free(run);
}

static void what_is_not_known_or_not_good_is_said(void **state)
{
    (void)state;
    assert_int_equal(ask(FLOW_ASK_START, "", "{\"tag\":\"none\"}"), 404);
    assert_string_equal(error_code(), "unknown_workflow");
    assert_int_equal(ask(FLOW_ASK_START, "", "{\"tag\":"), 400);
    assert_string_equal(error_code(), "bad_json");
    assert_int_equal(ask(FLOW_ASK_START, "", "{}"), 400);
    assert_string_equal(error_code(), "bad_run");
    assert_int_equal(ask(FLOW_ASK_START, "x", "{\"inputs\":[1]}"), 400);
    assert_int_equal(ask(FLOW_ASK_RUN, "none", ""), 404);
    assert_int_equal(ask(FLOW_ASK_EVENTS, "none", ""), 404);
    assert_int_equal(ask(FLOW_ASK_CANCEL, "none", ""), 404);
    assert_int_equal(ask(FLOW_ASK_RESULT, "sha256:12", ""), 404);
    assert_int_equal(ask(FLOW_ASK_WORKFLOW, "none", ""), 404);
    assert_int_equal(ask(FLOW_ASK_DELETE, "none", ""), 404);
    assert_int_equal(ask(FLOW_ASK_PUT, "a b", chain), 400);
    assert_int_equal(ask(FLOW_ASK_PUT, "x", "{\"nodes\":[]}"), 400);
    assert_string_equal(error_code(), "bad_workflow");
    assert_true(json_array_size(json_object_get(rig.reply, "faults")) > 0);
    assert_int_equal(
        ask_full((struct flow_ask){.what = FLOW_ASK_RUNS, .status = span_str("x")}), 400);
}

static void inputs_and_results_have_bounds(void **state)
{
    char body[3000];

    (void)state;
    put("flights", chain);
    memset(body, 'x', sizeof(body));
    memcpy(body, "{\"tag\":\"flights\",\"inputs\":{\"city\":\"", 35);
    memcpy(body + 2000, "\"}}", 4);
    assert_int_equal(ask(FLOW_ASK_START, "", body), 413);
    put("big", "{\"nodes\":[{\"id\":\"a\",\"type\":\"transform\",\"config\":{\"output\":"
               "\"{{/inputs/x}}{{/inputs/x}}{{/inputs/x}}{{/inputs/x}}{{/inputs/x}}{{/inputs/x}}"
               "{{/inputs/x}}{{/inputs/x}}{{/inputs/x}}{{/inputs/x}}\"}}],\"edges\":[]}");
    memset(body, 'x', 900);
    memcpy(body, "{\"x\":\"", 6);
    memcpy(body + 900, "\"}", 3);
    char *run = start("big", body);
    assert_string_equal(
        story(run), "workflow_started node_started/a node_failed/a workflow_failed/a");
    if (!strstr(rig.text, "too large")) {
        fail_msg("%s", rig.text);
    }
    free(run);
}

/* Of the answer in hand, FLOW_ASK_RUN's; when: NULL, it has none. */
static void assert_edge(size_t index, const char *state, const char *when)
{
    const json_t *edge = json_array_get(json_object_get(rig.reply, "edges"), index);
    const json_t *given = json_object_get(edge, "when");

    assert_string_equal(json_string_value(json_object_get(edge, "state")), state);
    if (when) {
        assert_string_equal(json_string_value(given), when);
    } else {
        assert_null(given);
    }
}

static void a_branch_that_is_not_taken_holds_nobody_up(void **state)
{
    (void)state;
    put("branch", "{\"nodes\":[{\"id\":\"a\",\"type\":\"transform\"},{\"id\":\"cheap\",\"type\":"
                  "\"transform\","
                  "\"config\":{\"output\":1}},{\"id\":\"dear\",\"type\":\"transform\",\"config\":{"
                  "\"output\":2}},"
                  "{\"id\":\"z\",\"type\":\"aggregate\"}],\"edges\":[{\"from\":\"a\",\"to\":"
                  "\"cheap\",\"when\":"
                  "\"/price < 500\"},{\"from\":\"a\",\"to\":\"dear\",\"when\":\"else\"},"
                  "{\"from\":\"cheap\",\"to\":\"z\"},{\"from\":\"dear\",\"to\":\"z\"}]}");
    char *run = start("branch", "{\"price\":100}");
    json_t *node = node_of(run, "dear");
    assert_string_equal(json_string_value(json_object_get(node, "state")), "skipped");
    assert_edge(0, "taken", "/price < 500");
    assert_edge(1, "skipped", "else");
    assert_edge(2, "taken", NULL);
    node = node_of(run, "z");
    char *ref = strdup(json_string_value(json_object_get(node, "result_ref")));
    assert_int_equal(ask(FLOW_ASK_RESULT, ref, ""), 200);
    assert_string_equal(rig.text, "{\"cheap\":1}");
    free(ref);
    free(run);
}

static void a_loop_goes_round_so_often(void **state)
{
    (void)state;
    put("loop",
        "{\"nodes\":[{\"id\":\"a\",\"type\":\"transform\"},{\"id\":\"b\",\"type\":\"transform\"}],"
        "\"edges\":[{\"from\":\"a\",\"to\":\"b\"},{\"from\":\"b\",\"to\":\"a\","
        "\"max_iterations\":3}]}");
    char *run = start("loop", "{}");
    assert_int_equal(json_integer_value(json_object_get(node_of(run, "a"), "visits")), 4);
    assert_string_equal(reply_text("status"), "completed");
    free(run);
}

static void a_failed_attempt_is_tried_again_after_a_while(void **state)
{
    (void)state;
    put("again",
        "{\"nodes\":[{\"id\":\"a\",\"type\":\"fail\",\"config\":{\"times\":2,\"message\":\"no\"},"
        "\"retry\":{\"max_attempts\":3,\"backoff_ms\":1000}}],\"edges\":[]}");
    char *run = start("again", "{}");
    assert_string_equal(json_string_value(json_object_get(node_of(run, "a"), "state")), "backoff");
    pass(1200);
    assert_int_equal(json_integer_value(json_object_get(node_of(run, "a"), "attempt")), 3);
    pass(2400);
    assert_string_equal(story(run),
        "workflow_started node_started/a node_failed/a node_started/a node_failed/a node_started/a "
        "node_completed/a workflow_completed");
    assert_true(json_is_true(json_object_get(event_at(2), "will_retry")));
    free(run);
}

static void a_failure_is_handled_or_ends_the_run(void **state)
{
    (void)state;
    put("handled",
        "{\"nodes\":[{\"id\":\"a\",\"type\":\"fail\",\"config\":{\"message\":\"broken\"}},"
        "{\"id\":\"b\",\"type\":\"transform\",\"config\":{\"output\":\"{{/payload/error}}\"}}],"
        "\"edges\":[{\"from\":\"a\",\"to\":\"b\",\"when\":\"failed\"}]}");
    char *run = start("handled", "{}");
    assert_string_equal(story(run),
        "workflow_started node_started/a node_failed/a node_started/b node_completed/b "
        "workflow_completed");
    char *ref = strdup(json_string_value(json_object_get(event_at(4), "result_ref")));
    assert_int_equal(ask(FLOW_ASK_RESULT, ref, ""), 200);
    assert_string_equal(rig.text, "\"broken\"");
    free(ref);
    free(run);
}

static void a_delay_is_over_when_its_time_has_come(void **state)
{
    (void)state;
    put("delay",
        "{\"nodes\":[{\"id\":\"a\",\"type\":\"delay\",\"config\":{\"ms\":5000}}],\"edges\":[]}");
    char *run = start("delay", "{\"x\":1}");
    pass(4000);
    assert_string_equal(
        json_string_value(json_object_get(node_of(run, "a"), "waits_for")), "delay");
    pass(1500);
    assert_string_equal(
        story(run), "workflow_started node_started/a node_completed/a workflow_completed");
    char *ref = strdup(json_string_value(json_object_get(event_at(2), "result_ref")));
    assert_int_equal(ask(FLOW_ASK_RESULT, ref, ""), 200);
    assert_string_equal(rig.text, "{\"x\":1}");
    free(ref);
    free(run);
}

static void decide(const char *run, const char *node, const char *rest, int code)
{
    char body[1600];

    snprintf(body, sizeof(body), "{\"run_id\":\"%s\",\"node_id\":\"%s\",%s}", run, node, rest);
    assert_int_equal(ask(FLOW_ASK_APPROVAL, "", body), code);
}

static const char asking[] =
    "{\"nodes\":[{\"id\":\"ok\",\"type\":\"hitl\",\"config\":{\"message\":\"go, {{/run/user}}?\"}},"
    "{\"id\":\"z\",\"type\":\"transform\"}],\"edges\":[{\"from\":\"ok\",\"to\":\"z\"}]}";

static void a_human_is_asked_once(void **state)
{
    (void)state;
    put("ask", asking);
    char *run = start("ask", "{}");
    assert_string_equal(story(run), "workflow_started node_started/ok approval_requested/ok");
    assert_string_equal(json_string_value(json_object_get(event_at(2), "message")), "go, ann?");
    decide(run, "z", "\"approved\":true", 404);
    decide("none", "ok", "\"approved\":true", 404);
    decide(run, "ok", "\"approved\":1", 400);
    decide(run, "ok", "\"approved\":true,\"comment\":\"fine\",\"data\":[1]", 200);
    assert_string_equal(reply_text("status"), "approved");
    decide(run, "ok", "\"approved\":false", 409);
    assert_string_equal(error_code(), "already_decided");
    assert_string_equal(story(run),
        "workflow_started node_started/ok approval_requested/ok approval_decided/ok "
        "node_completed/ok node_started/z node_completed/z workflow_completed");
    char *ref = strdup(json_string_value(json_object_get(event_at(4), "result_ref")));
    assert_int_equal(ask(FLOW_ASK_RESULT, ref, ""), 200);
    assert_string_equal(
        rig.text, "{\"approved\":true,\"by\":\"ann\",\"comment\":\"fine\",\"data\":[1]}");
    free(ref);
    free(run);
}

static void a_rejection_fails_the_node_unless_it_says_otherwise(void **state)
{
    (void)state;
    put("ask", asking);
    char *run = start("ask", "{}");
    decide(run, "ok", "\"approved\":false,\"comment\":\"too dear\"", 200);
    assert_string_equal(story(run), "workflow_started node_started/ok approval_requested/ok "
                                    "approval_decided/ok node_failed/ok workflow_failed/ok");
    assert_non_null(strstr(rig.text, "rejected by ann: too dear"));
    free(run);
    run = start("ask", "{}");
    char body[1300] = "\"approved\":false,\"comment\":\"";
    for (int i = 0; i < 600; i++) {
        strcat(body, "\xc3\xa4");
    }
    strcat(body, "\"");
    decide(run, "ok", body, 200);
    story(run);
    const char *why = json_string_value(json_object_get(event_at(4), "error"));
    assert_int_equal(strlen(why), 999); /* Of 1000, and cut at a character. */
    assert_string_equal(why + 997, "\xc3\xa4");
    free(run);
    put("on",
        "{\"nodes\":[{\"id\":\"ok\",\"type\":\"hitl\",\"config\":{\"message\":\"go?\",\"on_"
        "reject\":"
        "\"continue\"}},{\"id\":\"no\",\"type\":\"transform\"}],\"edges\":[{\"from\":\"ok\",\"to\":"
        "\"no\",\"when\":\"/approved == false\"}]}");
    run = start("on", "{}");
    decide(run, "ok", "\"approved\":false", 200);
    assert_string_equal(reply_text("status"), "rejected");
    assert_string_equal(
        json_string_value(json_object_get(node_of(run, "no"), "state")), "completed");
    free(run);
}

static void a_run_is_cancelled_once(void **state)
{
    (void)state;
    put("ask", asking);
    char *run = start("ask", "{}");
    assert_int_equal(ask(FLOW_ASK_CANCEL, run, ""), 200);
    assert_string_equal(reply_text("status"), "cancelled");
    assert_int_equal(ask(FLOW_ASK_CANCEL, run, ""), 409);
    decide(run, "ok", "\"approved\":true", 409);
    assert_string_equal(error_code(), "run_over");
    assert_string_equal(
        story(run), "workflow_started node_started/ok approval_requested/ok workflow_cancelled");
    free(run);
}

static void a_question_to_a_human_may_run_out_of_time(void **state)
{
    (void)state;
    put("late", "{\"nodes\":[{\"id\":\"ok\",\"type\":\"hitl\",\"config\":{\"message\":\"go?\"},"
                "\"timeout_ms\":10000}],\"edges\":[]}");
    char *run = start("late", "{}");
    pass(11000);
    assert_string_equal(story(run), "workflow_started node_started/ok approval_requested/ok "
                                    "node_failed/ok workflow_failed/ok");
    decide(run, "ok", "\"approved\":true", 409);
    assert_string_equal(error_code(), "run_over");
    free(run);
    put("on", "{\"nodes\":[{\"id\":\"ok\",\"type\":\"hitl\",\"config\":{\"message\":\"go?\"},"
              "\"timeout_ms\":10000},{\"id\":\"more\",\"type\":\"hitl\",\"config\":{\"message\":"
              "\"really?\"}}],\"edges\":[{\"from\":\"ok\",\"to\":\"more\",\"when\":\"failed\"}]}");
    run = start("on", "{}");
    decide(run, "more", "\"approved\":true", 404);
    pass(11000);
    decide(run, "ok", "\"approved\":true", 409); /* Too late, and the run goes on. */
    assert_string_equal(error_code(), "already_decided");
    decide(run, "more", "\"approved\":true", 200);
    decide(run, "ok", "\"approved\":true", 409);
    assert_string_equal(error_code(), "run_over");
    decide(run, "more", "\"approved\":false", 409);
    assert_string_equal(error_code(), "already_decided");
    free(run);
}

static void outside_workers_need_redis(void **state)
{
    (void)state;
    put("out", "{\"nodes\":[{\"id\":\"a\",\"type\":\"agent\"}],\"edges\":[]}");
    assert_int_equal(ask(FLOW_ASK_START, "out", "{}"), 409);
    assert_string_equal(error_code(), "needs_workers");
}

static void runs_and_workflows_are_listed(void **state)
{
    (void)state;
    put("flights", chain);
    put("ask", asking);
    char *first = start("flights", "{\"city\":\"a\"}");
    pass(10);
    char *second = start("ask", "{}");
    assert_int_equal(ask_full((struct flow_ask){.what = FLOW_ASK_RUNS, .limit = 1}), 200);
    json_t *rows = json_object_get(rig.reply, "runs");
    assert_int_equal(json_array_size(rows), 1);
    assert_string_equal(
        json_string_value(json_object_get(json_array_get(rows, 0), "run_id")), second);
    assert_int_equal(
        ask_full((struct flow_ask){.what = FLOW_ASK_RUNS, .limit = 1, .after = span_str(second)}),
        200);
    rows = json_object_get(rig.reply, "runs");
    assert_string_equal(
        json_string_value(json_object_get(json_array_get(rows, 0), "run_id")), first);
    assert_int_equal(ask(FLOW_ASK_WORKFLOWS, "", ""), 200);
    assert_int_equal(json_array_size(json_object_get(rig.reply, "workflows")), 2);
    assert_int_equal(ask(FLOW_ASK_WORKFLOW, "flights", ""), 200);
    assert_non_null(json_object_get(json_object_get(rig.reply, "definition"), "nodes"));
    assert_int_equal(ask(FLOW_ASK_DELETE, "flights", ""), 204);
    assert_int_equal(ask(FLOW_ASK_WORKFLOW, "flights", ""), 404);
    free(first);
    free(second);
}

static uint32_t cached(void)
{
    struct flow_stats stats;

    flow_stats(rig.flow, &stats);
    return stats.runs_cached;
}

static void runs_that_rest_are_kept_within_bounds(void **state)
{
    char wide[20000] = "{\"nodes\":[{\"id\":\"d\",\"type\":\"delay\",\"config\":{\"ms\":60000}}";
    char edges[10000] = "\"edges\":[", one[80];
    char *runs[4];

    (void)state;
    put("ask", asking);
    for (int i = 0; i < 3; i++) {
        free(start("ask", "{}"));
    }
    assert_int_equal(cached(), 2); /* Of three. */
    for (int i = 0; i < 60; i++) {
        snprintf(one, sizeof(one), ",{\"id\":\"n%d\",\"type\":\"transform\"}", i);
        strcat(wide, one);
        snprintf(one, sizeof(one), "%s{\"from\":\"d\",\"to\":\"n%d\"}", i ? "," : "", i);
        strcat(edges, one);
    }
    strcat(wide, "],");
    strcat(wide, edges);
    strcat(wide, "]}");
    put("wide", wide);
    for (int i = 0; i < 4; i++) {
        runs[i] = start("wide", "{}");
        assert_int_equal(cached(), i ? 1 : 2); /* Two of these take too much. */
    }
    pass(61000);
    for (int i = 0; i < 4; i++) {
        story(runs[i]);
        assert_string_equal(reply_text("status"), "completed");
        free(runs[i]);
    }
}

/* Whatever allocation fails: the question is answered, or goes on once there is memory, and the run
 * ends as it should. */
static void without_memory_nothing_is_lost(void **state)
{
    (void)state;
    put("ask", asking);
    for (int fails = 0; fails < 300; fails += 7) {
        mem_fail_after(fails);
        bool done = false;
        struct flow_ask question = {.done = answered,
            .owner = &done,
            .what = FLOW_ASK_START,
            .name = span_str("ask"),
            .user = span_str("ann")};
        flow_ask(rig.flow, &question);
        for (int i = 0; i < 20; i++) {
            flow_db_turn(rig.db, rig.now_ms);
            flow_turn(rig.flow, rig.now_ms);
        }
        mem_fail_after(-1);
        pass(2000);
        pass(2000);
        assert_true(done);
        if (rig.code != 201 && rig.code != 503) {
            fail_msg("%d allocations: %d %s", fails, rig.code, rig.text);
        }
        if (rig.code == 201) {
            char *run = strdup(reply_text("run_id"));
            decide(run, "ok", "\"approved\":true", 200);
            story(run);
            assert_string_equal(reply_text("status"), "completed");
            free(run);
        }
    }
}

static void who_stops_says_so(void **state)
{
    (void)state;
    put("ask", asking);
    flow_drain(rig.flow);
    assert_int_equal(ask(FLOW_ASK_START, "ask", "{}"), 503);
    assert_string_equal(error_code(), "draining");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_chain_of_two_tells_the_story_of_the_contract),
        CASE(a_poll_is_told_that_nothing_is_new),
        CASE(what_is_not_known_or_not_good_is_said),
        CASE(inputs_and_results_have_bounds),
        CASE(a_branch_that_is_not_taken_holds_nobody_up),
        CASE(a_loop_goes_round_so_often),
        CASE(a_failed_attempt_is_tried_again_after_a_while),
        CASE(a_failure_is_handled_or_ends_the_run),
        CASE(a_delay_is_over_when_its_time_has_come),
        CASE(a_human_is_asked_once),
        CASE(a_rejection_fails_the_node_unless_it_says_otherwise),
        CASE(a_run_is_cancelled_once),
        CASE(a_question_to_a_human_may_run_out_of_time),
        CASE(outside_workers_need_redis),
        CASE(runs_and_workflows_are_listed),
        CASE(runs_that_rest_are_kept_within_bounds),
        CASE(without_memory_nothing_is_lost),
        CASE(who_stops_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
