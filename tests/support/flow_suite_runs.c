/* Commits, and what loads, blobs, approvals and events give back. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/flow_suite_rig.h"

/* ---- commits and loads ---- */

static void a_commit_opens_a_run_and_a_load_gives_it_back(void **state)
{
    struct suite *suite = *state;
    char header[SUITE_TEXT_MAX];
    uint64_t version = 0;

    suite_header(header, "r1", "alice", "flights", "running", suite_now(suite));
    assert_int_equal(suite_commit(suite, "r1", 0,
                         OPS(op_open("alice", "flights", suite_now(suite)), op_header(header, 2),
                             op_node("b", "{\"state\":\"idle\"}"),
                             op_node("a", "{\"state\":\"queued\",\"text\":\"\\u00e9 \xc3\xa9\"}")),
                         &version),
        0);
    struct suite_loaded *run = suite_load(suite, "r1");
    assert_int_equal(run->err, 0);
    assert_int_equal(run->version, version);
    assert_string_equal(run->header, header);
    assert_non_null(strstr(run->ir, "\"metadata\""));
    assert_int_equal(run->node_count, 2);
    assert_string_equal(run->nodes[0][0], "a");
    assert_string_equal(run->nodes[0][1], "{\"state\":\"queued\",\"text\":\"\\u00e9 \xc3\xa9\"}");
    assert_string_equal(run->nodes[1][0], "b");
    assert_string_equal(run->nodes[1][1], "{\"state\":\"idle\"}");
    free(run);
}

static void a_run_nobody_opened_is_not_there(void **state)
{
    struct suite *suite = *state;
    struct suite_events events;

    struct suite_loaded *run = suite_load(suite, "r1");
    assert_int_equal(run->err, -ENOENT);
    free(run);
    suite_events(suite, "r1", 0, 0, &events);
    assert_int_equal(events.err, -ENOENT);
    assert_int_equal(suite_commit(suite, "r1", 3, OPS(op_header("{}", 0)), NULL), -ESTALE);
}

static void a_second_opening_is_refused_and_leaves_no_trace(void **state)
{
    struct suite *suite = *state;
    struct suite_events events;

    uint64_t version = suite_r1(suite);
    assert_int_equal(suite_commit(suite, "r1", 0,
                         OPS(op_open("bob", "other", suite_now(suite)),
                             op_header("{\"other\":1}", 0), op_event(EVENT(1))),
                         NULL),
        -EEXIST);
    struct suite_loaded *run = suite_load(suite, "r1");
    assert_int_equal(run->version, version);
    assert_null(strstr(run->header, "other"));
    free(run);
    suite_events(suite, "r1", 0, 0, &events);
    assert_int_equal(events.total, 0);
}

static void a_commit_of_another_version_changes_nothing(void **state)
{
    struct suite *suite = *state;
    struct suite_events events;
    char out[SUITE_TEXT_MAX];

    uint64_t first = suite_r1(suite), second = 0;
    assert_int_equal(suite_commit(suite, "r1", first, OPS(op_node("a", "{\"n\":1}")), &second), 0);
    assert_true(second > first);
    assert_int_equal(
        suite_commit(suite, "r1", first,
            OPS(op_node("a", "{\"n\":2}"), op_header("{\"x\":1}", 9), op_event(EVENT(1)),
                op_blob(REF_A, "1"), op_timer("a", suite_now(suite)),
                op_queue("a", FLOW_SUITE_TYPE_A, "t", TOKEN("t", "a")),
                op_plain(FLOW_APPROVAL, "a", NULL, "{\"status\":\"pending\"}")),
            NULL),
        -ESTALE);
    assert_int_equal(
        suite_commit(suite, "r1", second + 100, OPS(op_header("{\"x\":1}", 9)), NULL), -ESTALE);
    suite_turns(suite);
    struct suite_loaded *run = suite_load(suite, "r1");
    assert_int_equal(run->version, second);
    assert_int_equal(run->node_count, 1);
    assert_string_equal(run->nodes[0][1], "{\"n\":1}");
    assert_null(strstr(run->header, "\"x\""));
    free(run);
    suite_events(suite, "r1", 0, 0, &events);
    assert_int_equal(events.total, 0);
    assert_int_equal(suite->task_count, 0);
    assert_int_equal(suite->timer_count, 0);
    assert_int_equal(suite_get(suite, suite->store.blob, REF_A, 0, out), -ENOENT);
    assert_int_equal(suite_get(suite, suite->store.approval, "r1:a", 0, out), -ENOENT);
}

/* What came meanwhile goes into one commit: the header, and a node's record, are those of the last step. */
static void of_several_steps_in_one_commit_the_last_word_counts(void **state)
{
    struct suite *suite = *state;
    uint64_t first = suite_r1(suite);

    assert_int_equal(
        suite_commit(suite, "r1", first,
            OPS(op_node("a", "{\"n\":1}"), op_header("{\"step\":1}", 2), op_event(EVENT(1)),
                op_node("a", "{\"n\":2}"), op_header("{\"step\":2}", 1), op_event(EVENT(2))),
            NULL),
        0);
    struct suite_loaded *run = suite_load(suite, "r1");
    assert_string_equal(run->header, "{\"step\":2}");
    assert_string_equal(run->nodes[0][1], "{\"n\":2}");
    free(run);
}

static void a_token_is_consumed_once(void **state)
{
    struct suite *suite = *state;
    struct suite_events events;

    uint64_t v = suite_r1(suite);
    assert_int_equal(suite_commit(suite, "r1", v,
                         OPS(op_token(FLOW_EMIT, "r1:a:1:1"), op_token(FLOW_EMIT, "r1:b:1:1"),
                             op_header("{\"n\":1}", 2)),
                         &v),
        0);
    assert_int_equal(suite_commit(suite, "r1", v,
                         OPS(op_token(FLOW_CONSUME, "r1:a:1:1"), op_header("{\"n\":2}", 1)), &v),
        0);
    assert_int_equal(suite_commit(suite, "r1", v,
                         OPS(op_token(FLOW_CONSUME, "r1:b:1:1"), op_token(FLOW_CONSUME, "r1:a:1:1"),
                             op_header("{\"n\":3}", 0), op_event(EVENT(1)), op_node("a", "{}")),
                         NULL),
        -EALREADY);
    struct suite_loaded *run = suite_load(suite, "r1");
    assert_int_equal(run->version, v);
    assert_string_equal(run->header, "{\"n\":2}");
    assert_int_equal(run->node_count, 0);
    free(run);
    suite_events(suite, "r1", 0, 0, &events);
    assert_int_equal(events.total, 0);
    /* What the refused commit consumed beside it is not used up. */
    assert_int_equal(suite_commit(suite, "r1", v,
                         OPS(op_token(FLOW_CONSUME, "r1:b:1:1"), op_header("{\"n\":4}", 0)), &v),
        0);
}

static void each_run_has_tokens_of_its_own(void **state)
{
    struct suite *suite = *state;

    uint64_t v1 = suite_r1(suite);
    uint64_t v2 = suite_run(suite, "r2", "alice", "flights", suite_now(suite));
    assert_int_equal(suite_commit(suite, "r1", v1, OPS(op_token(FLOW_CONSUME, "t")), &v1), 0);
    assert_int_equal(suite_commit(suite, "r2", v2, OPS(op_token(FLOW_CONSUME, "t")), &v2), 0);
    assert_int_equal(
        suite_commit(suite, "r1", v1, OPS(op_token(FLOW_CONSUME, "t")), NULL), -EALREADY);
}

static void a_node_s_record_is_replaced_and_others_stay(void **state)
{
    struct suite *suite = *state;

    uint64_t v = suite_r1(suite);
    assert_int_equal(
        suite_commit(suite, "r1", v,
            OPS(op_node("a", "{\"n\":1}"), op_node("b", "{\"n\":1}"), op_node("a", "{\"n\":2}")),
            &v),
        0);
    assert_int_equal(
        suite_commit(suite, "r1", v, OPS(op_node("b", "{\"longer\":\"than before\"}")), &v), 0);
    assert_int_equal(suite_commit(suite, "r1", v, OPS(op_node("c", "[1,[2,{}],\"]\"]")), &v), 0);
    struct suite_loaded *run = suite_load(suite, "r1");
    assert_int_equal(run->node_count, 3);
    assert_string_equal(run->nodes[0][1], "{\"n\":2}");
    assert_string_equal(run->nodes[1][1], "{\"longer\":\"than before\"}");
    assert_string_equal(run->nodes[2][1], "[1,[2,{}],\"]\"]");
    free(run);
}

static void ops_of_joins_and_outputs_are_taken(void **state)
{
    struct suite *suite = *state;

    uint64_t v = suite_r1(suite);
    assert_int_equal(
        suite_commit(suite, "r1", v,
            OPS(op_plain(FLOW_ARRIVE, "join", "a", NULL), op_plain(FLOW_ARRIVE, "join", "b", NULL),
                op_plain(FLOW_OUTPUT, "a", REF_A, NULL)),
            &v),
        0);
    assert_int_equal(
        suite_commit(suite, "r1", v,
            OPS(op_plain(FLOW_JOINED, "join", NULL, NULL),
                op_plain(FLOW_JOINED, "none", NULL, NULL), op_unqueue("a", FLOW_SUITE_TYPE_A),
                op_plain(FLOW_UNTIMER, "a", NULL, NULL)),
            &v),
        0);
}

enum { MANY = 200 };

struct many {
    uint32_t seen[MANY];
    uint32_t count, wrong;
    bool done;
};

static void many_loaded(struct flow_load *load)
{
    struct many *many = load->owner;

    many->done = true;
    many->count = load->err ? 0 : load->node_count;
    for (uint32_t i = 0; i < many->count; i++) {
        char id[16] = {0}, record[64] = {0};
        unsigned round, in_record, index;
        if (load->nodes[i].node.len >= sizeof(id) || load->nodes[i].body.len >= sizeof(record)) {
            many->wrong += 1;
            continue;
        }
        memcpy(id, load->nodes[i].node.data, load->nodes[i].node.len);
        memcpy(record, load->nodes[i].body.data, load->nodes[i].body.len);
        if (sscanf(id, "node%u", &index) != 1 ||
            sscanf(record, "{\"round\":%u,\"i\":%u}", &round, &in_record) != 2 ||
            index != in_record || index >= MANY || round != (index % 2 ? 1 : 2)) {
            many->wrong += 1;
            continue;
        }
        many->seen[index] += 1;
    }
}

static void a_run_of_many_nodes_keeps_them_all(void **state)
{
    struct suite *suite = *state;
    struct flow_op ops[MANY];
    char nodes[MANY][16], records[MANY][64];

    uint64_t v = suite_r1(suite);
    for (unsigned round = 0; round < 3; round++) {
        /* The last round touches every other one. */
        unsigned step = round == 2 ? 2 : 1, count = 0;
        for (unsigned i = 0; i < MANY; i += step) {
            snprintf(nodes[i], sizeof(nodes[i]), "node%u", i);
            snprintf(records[i], sizeof(records[i]), "{\"round\":%u,\"i\":%u}", round, i);
            ops[count++] = op_node(nodes[i], records[i]);
        }
        assert_int_equal(suite_commit(suite, "r1", v, ops, count, &v), 0);
    }
    struct many many = {0};
    struct flow_load load = {.done = many_loaded, .owner = &many, .run_id = span_str("r1")};
    suite->store.load(suite->store.ctx, &load);
    suite_until(suite, &many.done);
    assert_int_equal(many.count, MANY);
    assert_int_equal(many.wrong, 0);
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(many.seen[i], 1);
    }
}

struct queued {
    struct flow_commit commits[50];
    uint32_t answered, order_wrong;
};

static void queued_done(struct flow_commit *commit)
{
    struct queued *queued = commit->owner;

    queued->order_wrong += commit != &queued->commits[queued->answered];
    queued->answered += 1;
}

/* As the coordinator does it: many runs' steps are handed in before the first is answered. */
static void many_commits_under_way_are_answered_in_order(void **state)
{
    struct suite *suite = *state;
    struct queued queued = {0};
    char ids[COUNT_OF(queued.commits)][16];
    const struct flow_op ops[] = {
        op_open("u", "t", suite_now(suite)), op_header("{}", 1), op_event(EVENT(1))};

    for (uint32_t i = 0; i < COUNT_OF(queued.commits); i++) {
        snprintf(ids[i], sizeof(ids[i]), "run%u", i % 40); /* The last ten are there already. */
        queued.commits[i] = (struct flow_commit){.done = queued_done,
            .owner = &queued,
            .run_id = span_str(ids[i]),
            .user = span_str("u"),
            .ops = ops,
            .op_count = COUNT_OF(ops)};
        suite->store.commit(suite->store.ctx, &queued.commits[i]);
    }
    while (queued.answered < COUNT_OF(queued.commits)) {
        suite->port->pump(suite->port->ctx);
    }
    assert_int_equal(queued.order_wrong, 0);
    for (uint32_t i = 0; i < COUNT_OF(queued.commits); i++) {
        assert_int_equal(queued.commits[i].err, i < 40 ? 0 : -EEXIST);
    }
}

static void note_commit(struct flow_commit *commit)
{
    *(uint32_t *)commit->owner += 1;
}

static void of_two_commits_of_one_version_one_wins(void **state)
{
    struct suite *suite = *state;
    uint32_t answered = 0;
    const struct flow_op first[] = {op_header("{\"first\":1}", 0)};
    const struct flow_op second[] = {op_header("{\"second\":1}", 0)};

    uint64_t v = suite_r1(suite);
    struct flow_commit a = {.done = note_commit,
        .owner = &answered,
        .run_id = span_str("r1"),
        .user = span_str("alice"),
        .version = v,
        .ops = first,
        .op_count = 1};
    struct flow_commit b = a;
    b.ops = second;
    suite->store.commit(suite->store.ctx, &a);
    suite->store.commit(suite->store.ctx, &b);
    struct suite_loaded *run = suite_load(suite, "r1"); /* Comes behind both, and sees it. */
    assert_int_equal(answered, 2);
    assert_int_equal(a.err, 0);
    assert_int_equal(b.err, -ESTALE);
    assert_int_equal(run->version, a.ret_version);
    assert_string_equal(run->header, "{\"first\":1}");
    free(run);
}

/* ---- blobs and approvals ---- */

static void a_blob_is_found_by_its_reference(void **state)
{
    struct suite *suite = *state;
    char out[SUITE_TEXT_MAX];

    uint64_t v = suite_r1(suite);
    assert_int_equal(suite_commit(suite, "r1", v,
                         OPS(op_blob(REF_A, "{\"price\":1}"), op_blob(REF_A, "{\"price\":1}")), &v),
        0);
    /* Another run's result may be the same. */
    uint64_t v2 = suite_run(suite, "r2", "bob", "flights", suite_now(suite));
    assert_int_equal(suite_commit(suite, "r2", v2, OPS(op_blob(REF_A, "{\"price\":1}")), &v2), 0);
    assert_int_equal(suite_commit(suite, "r1", v, OPS(op_blob(REF_A, "{\"price\":1}")), &v), 0);
    assert_int_equal(suite_get(suite, suite->store.blob, REF_A, 0, out), 0);
    assert_string_equal(out, "{\"price\":1}");
    assert_int_equal(suite_get(suite, suite->store.blob, REF_A, 11, out), 0);
    assert_int_equal(suite_get(suite, suite->store.blob, REF_A, 10, out), -EMSGSIZE);
    assert_int_equal(suite_get(suite, suite->store.blob, REF_B, 0, out), -ENOENT);
    assert_int_equal(suite_get(suite, suite->store.blob, "sha256:zz", 0, out), -ENOENT);
    assert_int_equal(suite_get(suite, suite->store.blob, "", 0, out), -ENOENT);
}

struct large {
    const char *expected;
    size_t len;
    int err;
    bool done, same;
};

static void large_done(struct flow_get *get)
{
    struct large *large = get->owner;

    large->done = true;
    large->err = get->err;
    large->same = get->err == 0 && get->body.len == large->len &&
                  memcmp(get->body.data, large->expected, large->len) == 0;
}

static void a_large_blob_comes_back_whole(void **state)
{
    struct suite *suite = *state;
    enum { LEN = 3 << 20 };
    char *body = malloc(LEN + 1);

    assert_non_null(body);
    for (size_t i = 0; i < LEN; i++) {
        body[i] = (char)('a' + (i * 2654435761u >> 7) % 26);
    }
    body[0] = body[LEN - 1] = '"';
    body[LEN] = '\0';
    uint64_t v = suite_r1(suite);
    assert_int_equal(suite_commit(suite, "r1", v, OPS(op_blob(REF_A, body)), &v), 0);
    struct large large = {.expected = body, .len = LEN};
    struct flow_get get = {.done = large_done, .owner = &large, .key = span_str(REF_A)};
    suite->store.blob(suite->store.ctx, &get);
    suite_until(suite, &large.done);
    assert_int_equal(large.err, 0);
    assert_true(large.same);
    free(body);
}

static void an_approval_is_found_replaced_and_goes(void **state)
{
    struct suite *suite = *state;
    char out[SUITE_TEXT_MAX];

    uint64_t v = suite_r1(suite);
    assert_int_equal(suite_commit(suite, "r1", v,
                         OPS(op_plain(FLOW_APPROVAL, "ask", NULL, "{\"status\":\"pending\"}")), &v),
        0);
    assert_int_equal(suite_get(suite, suite->store.approval, "r1:ask", 0, out), 0);
    assert_string_equal(out, "{\"status\":\"pending\"}");
    assert_int_equal(
        suite_commit(suite, "r1", v,
            OPS(op_plain(FLOW_APPROVAL, "ask", NULL, "{\"status\":\"approved\"}")), &v),
        0);
    assert_int_equal(suite_get(suite, suite->store.approval, "r1:ask", 0, out), 0);
    assert_string_equal(out, "{\"status\":\"approved\"}");
    assert_int_equal(
        suite_commit(suite, "r1", v,
            OPS(op_plain(FLOW_APPROVAL, "ask", NULL, ""), op_plain(FLOW_APPROVAL, "no", NULL, "")),
            &v),
        0);
    assert_int_equal(suite_get(suite, suite->store.approval, "r1:ask", 0, out), -ENOENT);
    assert_int_equal(suite_commit(suite, "r1", v,
                         OPS(op_plain(FLOW_APPROVAL, "ask", NULL, "{\"status\":\"pending\"}")), &v),
        0);
    assert_int_equal(suite_get(suite, suite->store.approval, "r1:ask", 0, out), 0);
    assert_int_equal(suite_get(suite, suite->store.approval, "r1:other", 0, out), -ENOENT);
    assert_int_equal(suite_get(suite, suite->store.approval, "r2:ask", 0, out), -ENOENT);
    assert_int_equal(suite_get(suite, suite->store.approval, "nonsense", 0, out), -ENOENT);
}

/* ---- events ---- */

static void events_come_back_in_order_from_anywhere(void **state)
{
    struct suite *suite = *state;
    struct suite_events events;

    uint64_t v = suite_r1(suite);
    suite_events(suite, "r1", 0, 0, &events);
    assert_int_equal(events.err, 0);
    assert_int_equal(events.total, 0);
    assert_int_equal(events.count, 0);
    assert_int_equal(
        suite_commit(suite, "r1", v, OPS(op_event(EVENT(1)), op_event(EVENT(2))), &v), 0);
    assert_int_equal(suite_commit(suite, "r1", v, OPS(op_header("{\"h\":1}", 1)), &v), 0);
    assert_int_equal(
        suite_commit(suite, "r1", v,
            OPS(op_event(EVENT(3)), op_node("a", "{}"), op_event(EVENT(4)), op_event(EVENT(5))),
            &v),
        0);
    suite_events(suite, "r1", 0, 0, &events);
    assert_int_equal(events.total, 5);
    assert_int_equal(events.count, 5);
    assert_string_equal(events.header, "{\"h\":1}");
    assert_string_equal(
        events.text, EVENT(1) "\n" EVENT(2) "\n" EVENT(3) "\n" EVENT(4) "\n" EVENT(5) "\n");
    suite_events(suite, "r1", 1, 3, &events);
    assert_int_equal(events.total, 5);
    assert_string_equal(events.text, EVENT(2) "\n" EVENT(3) "\n" EVENT(4) "\n");
    suite_events(suite, "r1", 3, 100, &events);
    assert_string_equal(events.text, EVENT(4) "\n" EVENT(5) "\n");
    suite_events(suite, "r1", 5, 0, &events);
    assert_int_equal(events.count, 0);
    suite_events(suite, "r1", UINT64_MAX, 0, &events);
    assert_int_equal(events.err, 0);
    assert_int_equal(events.count, 0);
    assert_int_equal(events.total, 5);
}

static void names_of_any_allowed_length_are_told_apart(void **state)
{
    struct suite *suite = *state;
    char longest[FLOW_RUN_ID_MAX + 1], shorter[FLOW_RUN_ID_MAX];

    memset(longest, 'x', FLOW_RUN_ID_MAX);
    longest[FLOW_RUN_ID_MAX] = '\0';
    memcpy(shorter, longest, FLOW_RUN_ID_MAX - 1);
    shorter[FLOW_RUN_ID_MAX - 1] = '\0';
    uint64_t v =
        suite_run(suite, longest, "org \xc3\xa9 %s:\xf0\x9f\x98\x80", "flights", suite_now(suite));
    suite_run(suite, shorter, "u", "flights", suite_now(suite));
    assert_int_equal(
        suite_commit(suite, longest, v, OPS(op_node(longest, "{\"long\":true}")), &v), 0);
    struct suite_loaded *run = suite_load(suite, longest);
    assert_int_equal(run->node_count, 1);
    assert_string_equal(run->nodes[0][0], longest);
    free(run);
    run = suite_load(suite, shorter);
    assert_int_equal(run->err, 0);
    assert_int_equal(run->node_count, 0);
    free(run);
}

const struct suite_case suite_run_cases[] = {
    SUITE_CASE(a_commit_opens_a_run_and_a_load_gives_it_back),
    SUITE_CASE(a_run_nobody_opened_is_not_there),
    SUITE_CASE(a_second_opening_is_refused_and_leaves_no_trace),
    SUITE_CASE(a_commit_of_another_version_changes_nothing),
    SUITE_CASE(of_several_steps_in_one_commit_the_last_word_counts),
    SUITE_CASE(a_token_is_consumed_once),
    SUITE_CASE(each_run_has_tokens_of_its_own),
    SUITE_CASE(a_node_s_record_is_replaced_and_others_stay),
    SUITE_CASE(ops_of_joins_and_outputs_are_taken),
    SUITE_CASE(a_run_of_many_nodes_keeps_them_all),
    SUITE_CASE(many_commits_under_way_are_answered_in_order),
    SUITE_CASE(of_two_commits_of_one_version_one_wins),
    SUITE_CASE(a_blob_is_found_by_its_reference),
    SUITE_CASE(a_large_blob_comes_back_whole),
    SUITE_CASE(an_approval_is_found_replaced_and_goes),
    SUITE_CASE(events_come_back_in_order_from_anywhere),
    SUITE_CASE(names_of_any_allowed_length_are_told_apart),
    {NULL, NULL},
};
