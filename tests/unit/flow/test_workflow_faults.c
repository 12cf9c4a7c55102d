/* What is wrong with a definition is told whole, each fault with its place and what was expected.
 */
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "tests/unit/flow/workflow_fixture.h"

#define NODE(id) "{\"id\":\"" id "\",\"type\":\"t\"}"
#define EDGE(from, to) "{\"from\":\"" from "\",\"to\":\"" to "\"}"
#define WHEN(from, to, when) "{\"from\":\"" from "\",\"to\":\"" to "\",\"when\":" when "}"
#define LOOP(from, to) "{\"from\":\"" from "\",\"to\":\"" to "\",\"max_iterations\":2}"

/* lines: all faults in their order, each ended by '\n'. */
static void assert_faults(const char *text, const char *lines)
{
    struct workflow *workflow = NULL;
    struct workflow_faults faults = {0};
    struct bytes got = {0};

    assert_int_equal(workflow_compile(span_str(text), NULL, NULL, &workflow, &faults), -EINVAL);
    assert_null(workflow);
    assert_int_equal(faults.more_count, 0);
    for (uint32_t i = 0; i < faults.count; i++) {
        assert_int_equal(bytes_appendf(&got, "%s\n", faults.lines[i]), 0);
    }
    assert_string_equal((const char *)got.data, lines);
    bytes_fini(&got);
    workflow_faults_fini(&faults);
}

static void assert_graph(const char *nodes, const char *edges, const char *lines)
{
    struct bytes text = {0};

    assert_int_equal(bytes_appendf(&text, "{\"nodes\":[%s],\"edges\":[%s]}", nodes, edges), 0);
    assert_faults((const char *)text.data, lines);
    bytes_fini(&text);
}

/* One node with these members. */
static void assert_node(const char *members, const char *lines)
{
    struct bytes text = {0};

    assert_int_equal(bytes_appendf(&text, "{\"nodes\":[{%s}]}", members), 0);
    assert_faults((const char *)text.data, lines);
    bytes_fini(&text);
}

static void a_definition_is_an_object_with_nodes(void **state)
{
    (void)state;
    assert_faults("", "definition: there is no JSON: the text is empty\n");
    assert_faults("{\"nodes\":[],}", "definition: line 1, column 13: string or '}' expected near "
                                     "'}'\n");
    assert_faults(
        "[]", "definition: is an array; expected an object with \"nodes\" and \"edges\"\n");
    assert_faults("{}", "nodes: missing; expected an array of 1 to 1000 nodes\n");
    assert_faults("{\"nodes\":{}}", "nodes: is an object; expected an array of 1 to 1000 nodes\n");
    assert_faults("{\"nodes\":[]}", "nodes: there are 0; expected 1 to 1000\n");
    assert_faults("{\"nodes\":[" NODE("a") "],\"edges\":\"a\"}",
        "edges: is \"a\"; expected an array of at most 10000 edges\n");
    assert_faults("{\"nodes\":[" NODE("a") "],\"edge\":[],\"Zebra\":1,\"description\":7}",
        "definition: nothing is known of \"edge\"; did you mean \"edges\"?\n"
        "definition: nothing is known of \"Zebra\"\n"
        "description: is 7; expected a string\n");
}

/* Whoever parsed it may have had other bounds than json_read(). */
static void a_parsed_definition_is_judged_as_its_text_is(void **state)
{
    (void)state;
    struct workflow *workflow = NULL;
    struct workflow_faults faults = {0};
    json_t *deep = json_array();
    for (unsigned i = 0; i < 64; i++) {
        json_t *outer = json_array();
        assert_int_equal(json_array_append_new(outer, deep), 0);
        deep = outer;
    }
    json_t *definition =
        json_pack("{s:[{s:s,s:s,s:{s:o}}]}", "nodes", "id", "a", "type", "t", "config", "x", deep);
    assert_non_null(definition);
    assert_int_equal(workflow_compile_json(definition, NULL, NULL, &workflow, &faults), -EINVAL);
    assert_int_equal(workflow_compile_json(NULL, NULL, NULL, &workflow, &faults), -EINVAL);
    assert_int_equal(faults.count, 2);
    assert_string_equal(
        faults.lines[0], "definition: it is nested too deep; expected at most 64 levels");
    assert_string_equal(
        faults.lines[1], "definition: missing; expected an object with \"nodes\" and \"edges\"");
    assert_null(workflow);
    workflow_faults_fini(&faults);
    json_decref(definition);
}

static void a_definition_is_bounded(void **state)
{
    (void)state;
    struct bytes text = fixture_chain(WORKFLOW_NODES_MAX + 1);
    assert_faults((const char *)text.data, "nodes: there are 1001; expected 1 to 1000\n");
    bytes_fini(&text);

    struct bytes edges = {0};
    for (unsigned i = 0; i <= WORKFLOW_EDGES_MAX; i++) {
        assert_int_equal(bytes_appendf(&edges, "%s" EDGE("a", "b"), i ? "," : ""), 0);
    }
    assert_graph(NODE("a") "," NODE("b"), (const char *)edges.data,
        "edges: there are 10001; expected at most 10000\n");
    bytes_fini(&edges);
}

static void a_node_has_an_id_and_a_type(void **state)
{
    (void)state;
    assert_faults("{\"nodes\":[5,null]}",
        "nodes[0]: is 5; expected an object with \"id\" and \"type\"\n"
        "nodes[1]: is null; expected an object with \"id\" and \"type\"\n");
    assert_node("", "nodes[0].id: missing; expected 1 to 64 of A-Z a-z 0-9 _ . -\n"
                    "nodes[0].type: missing; expected 1 to 64 of a-z 0-9 _ -\n");
    assert_node("\"id\":\"a b\",\"type\":\"Http\"",
        "nodes[0].id: is \"a b\"; expected 1 to 64 of A-Z a-z 0-9 _ . -\n"
        "nodes[0].type: is \"Http\"; expected 1 to 64 of a-z 0-9 _ -\n");
    assert_node("\"id\":\"\",\"type\":true",
        "nodes[0].id: is \"\"; expected 1 to 64 of A-Z a-z 0-9 _ . -\n"
        "nodes[0].type: is true; expected 1 to 64 of a-z 0-9 _ -\n");
    assert_node("\"id\":\"a\\u0000\",\"type\":\"t\"",
        "nodes[0].id: is \"a?\"; expected 1 to 64 of A-Z a-z 0-9 _ . -\n");
    assert_node(
        "\"id\":\"0123456789012345678901234567890123456789012345678901234567890123\\u00e9\","
        "\"type\":\"t\"",
        "nodes[0].id: is \"01234567890123456789012345678901234567890123456789012345...\"; expected "
        "1 to 64 of A-Z a-z 0-9 _ . -\n");
    assert_node("\"id\":\"a\",\"tpye\":\"t\",\"type\":\"t\",\"description\":[]",
        "nodes[0]: nothing is known of \"tpye\"; did you mean \"type\"?\n"
        "nodes[0].description: is an array; expected a string\n");
    assert_node("\"id\":\"a\",\"type\":\"t\",\"config\":[]",
        "nodes[0].config: is an array; expected an object\n");
    assert_graph(NODE("a") "," NODE("b") "," NODE("a") "," NODE("a"), "",
        "nodes[2].id: \"a\" is nodes[0] already\n"
        "nodes[3].id: \"a\" is nodes[0] already\n");
}

static void retries_and_time_outs_are_within_bounds(void **state)
{
    (void)state;
#define HEAD "\"id\":\"a\",\"type\":\"t\","
    assert_node(HEAD "\"timeout_ms\":0",
        "nodes[0].timeout_ms: is 0; expected a whole number from 1 to 2592000000\n");
    assert_node(HEAD "\"timeout_ms\":2592000001",
        "nodes[0].timeout_ms: is 2592000001; expected a whole number from 1 to 2592000000\n");
    assert_node(HEAD "\"timeout_ms\":1.5",
        "nodes[0].timeout_ms: is 1.5; expected a whole number from 1 to 2592000000\n");
    assert_node(HEAD "\"timeout_ms\":\"5s\"",
        "nodes[0].timeout_ms: is \"5s\"; expected a whole number from 1 to 2592000000\n");
    assert_node(
        HEAD "\"retry\":3", "nodes[0].retry: is 3; expected an object with \"max_attempts\"\n");
    assert_node(HEAD "\"retry\":{\"attempts\":3}",
        "nodes[0].retry: nothing is known of \"attempts\"; did you mean \"max_attempts\"?\n"
        "nodes[0].retry.max_attempts: missing; expected a whole number from 1 to 100\n");
    assert_node(HEAD "\"retry\":{\"max_attempts\":101,\"backoff_ms\":-1,\"factor\":0.5,"
                     "\"max_backoff_ms\":999}",
        "nodes[0].retry.max_attempts: is 101; expected a whole number from 1 to 100\n"
        "nodes[0].retry.backoff_ms: is -1; expected a whole number from 0 to 2592000000\n"
        "nodes[0].retry.factor: is 0.5; expected a number from 1 to 100\n"
        "nodes[0].retry.max_backoff_ms: is 999; expected a whole number from 1000 to "
        "2592000000\n");
}

/* A longer first wait than the usual most is meant, unless the most was said as well. */
static void a_long_backoff_needs_no_word_about_the_most(void **state)
{
    (void)state;
    struct workflow *w = fixture_compile(
        "{\"nodes\":[{\"id\":\"a\",\"type\":\"t\",\"retry\":{\"max_attempts\":2,"
        "\"backoff_ms\":90000}},{\"id\":\"b\",\"type\":\"t\",\"timeout_ms\":1e3}]}");
    assert_int_equal(w->nodes[0].retry.backoff_ms, 90000);
    assert_int_equal(w->nodes[0].retry.max_backoff_ms, 90000);
    assert_int_equal(w->nodes[1].timeout_ms, 1000);
    workflow_unref(w);
}

static void an_edge_joins_two_nodes_once(void **state)
{
    (void)state;
    const char *nodes = NODE("search") "," NODE("format");
    assert_graph(nodes, "1," EDGE("search", "formt") "," EDGE("zzzzzz", "format"),
        "edges[0]: is 1; expected an object with \"from\" and \"to\"\n"
        "edges[1].to: there is no node \"formt\"; did you mean \"format\"?\n"
        "edges[2].from: there is no node \"zzzzzz\"\n");
    assert_graph(nodes, "{\"from\":\"search\",\"to\":7,\"wehn\":\"else\"},{}",
        "edges[0]: nothing is known of \"wehn\"; did you mean \"when\"?\n"
        "edges[0].to: is 7; expected the id of a node\n"
        "edges[1].from: missing; expected the id of a node\n"
        "edges[1].to: missing; expected the id of a node\n");
    assert_graph(nodes, EDGE("search", "format") "," WHEN("search", "format", "\"failed\""),
        "edges[1]: leads from \"search\" to \"format\", as edges[0] does\n");
    assert_graph(nodes, EDGE("search", "format") "," EDGE("search", ""),
        "edges[1].to: there is no node \"\"\n");
}

static void when_is_a_condition_or_a_word(void **state)
{
    (void)state;
    const char *nodes = NODE("a") "," NODE("b") "," NODE("c");
    assert_graph(nodes, EDGE("a", "b") "," WHEN("a", "c", "\"else\""),
        "edges[1].when: is \"else\", but no edge from \"a\" has a condition\n");
    assert_graph(NODE("a"), "{\"from\":\"a\",\"to\":\"a\",\"max_iterations\":0,\"when\":\"else\"}",
        "edges[0].max_iterations: is 0; expected a whole number from 1 to 10000\n"
        "edges[0].when: is \"else\" on a loop edge; expected a condition, \"failed\" or "
        "\"always\"\n");
    struct workflow *workflow = NULL;
    struct workflow_faults faults = {0};
    assert_int_equal(
        workflow_compile(span_str("{\"nodes\":[" NODE("a") "," NODE("b") "],\"edges\":[" WHEN(
                             "a", "b", "\"Failed\"") "," WHEN("b", "a", "null") "]}"),
            NULL, NULL, &workflow, &faults),
        -EINVAL);
    assert_true(faults.count >= 2);
    assert_int_equal(strncmp(faults.lines[0], "edges[0].when: ", 15), 0);
    assert_int_equal(strncmp(faults.lines[1], "edges[1].when: ", 15), 0);
    assert_true(strlen(faults.lines[0]) > 15 && strlen(faults.lines[1]) > 15);
    workflow_faults_fini(&faults);
}

static void a_cycle_is_named(void **state)
{
    (void)state;
    assert_graph(NODE("a") "," NODE("b"), EDGE("a", "b") "," EDGE("b", "a"),
        "nodes: a run has no node to begin with; expected one that no edge leads to\n"
        "edges[1]: closes the cycle a -> b -> a; an edge that leads back needs "
        "\"max_iterations\"\n");
    assert_graph(NODE("a") "," NODE("b") "," NODE("c"),
        EDGE("a", "b") "," EDGE("b", "b") "," EDGE("b", "c"),
        "edges[1]: closes the cycle b -> b; an edge that leads back needs \"max_iterations\"\n");
    /* Two cycles, told at once. */
    assert_graph(NODE("a") "," NODE("b") "," NODE("c") "," NODE("d"),
        EDGE("a", "b") "," EDGE("b", "c") "," EDGE("c", "b") "," EDGE("c", "d") "," EDGE("d", "c"),
        "edges[2]: closes the cycle b -> c -> b; an edge that leads back needs "
        "\"max_iterations\"\n"
        "edges[4]: closes the cycle c -> d -> c; an edge that leads back needs "
        "\"max_iterations\"\n");
}

static void a_long_cycle_is_named_in_short(void **state)
{
    (void)state;
    struct bytes text = fixture_chain(20);
    text.len -= 2;
    assert_int_equal(bytes_appendf(&text, "," EDGE("n19", "n1") "]}"), 0);
    assert_faults((const char *)text.data,
        "edges[19]: closes the cycle n1 -> n2 -> n3 -> n4 -> n5 -> n6 -> n7 -> n8 -> ... -> n17 -> "
        "n18 -> n19 -> n1; an edge that leads back needs \"max_iterations\"\n");
    bytes_fini(&text);
}

static void what_nothing_leads_to_is_named(void **state)
{
    (void)state;
    assert_graph(NODE("a") "," NODE("b") "," NODE("c") "," NODE("d"),
        EDGE("b", "c") "," EDGE("c", "b") "," EDGE("c", "d"),
        "edges[1]: closes the cycle b -> c -> b; an edge that leads back needs "
        "\"max_iterations\"\n"
        "nodes[1]: \"b\" is never reached: no way leads to it from where a run begins\n"
        "nodes[2]: \"c\" is never reached: no way leads to it from where a run begins\n"
        "nodes[3]: \"d\" is never reached: no way leads to it from where a run begins\n");
    /* Where only a loop edge leads there, that edge is the fault. */
    assert_graph(NODE("a") "," NODE("b"), LOOP("a", "b"),
        "edges[0]: does not lead back: \"b\" is not before \"a\"; expected no \"max_iterations\" "
        "on it\n");
    /* When an edge is not known, neither is what it leads to. */
    assert_graph(NODE("a") "," NODE("b") "," NODE("c"),
        EDGE("x", "b") "," EDGE("b", "c") "," EDGE("c", "b"),
        "edges[0].from: there is no node \"x\"\n"
        "edges[2]: closes the cycle b -> c -> b; an edge that leads back needs "
        "\"max_iterations\"\n");
}

static void a_loop_is_entered_and_left_at_its_ends(void **state)
{
    (void)state;
    const char *nodes = NODE("a") "," NODE("b") "," NODE("c") "," NODE("d") "," NODE("e");
#define CHAIN EDGE("a", "b") "," EDGE("b", "c") "," EDGE("c", "d") "," EDGE("d", "e")
    assert_graph(nodes, CHAIN "," LOOP("d", "b") "," EDGE("c", "e"),
        "edges[5]: leads out of the loop of edges[4] from \"c\"; expected only \"d\" to lead "
        "out\n");
    assert_graph(nodes, CHAIN "," LOOP("d", "b") "," EDGE("a", "c"),
        "edges[5]: leads into the loop of edges[4] at \"c\"; expected only \"b\" to be led to\n");
    assert_graph(NODE("a") "," NODE("b") "," NODE("c") "," NODE("d"),
        EDGE("a", "b") "," EDGE("b", "c") "," EDGE("d", "c") "," LOOP("c", "b"),
        "edges[2]: leads into the loop of edges[3] at \"c\"; expected only \"b\" to be led to\n");
    /* Both ways around: what is in parallel within a body is fine. */
    workflow_unref(fixture_compile(
        "{\"nodes\":[" NODE("a") "," NODE("b") "," NODE("c") "," NODE("d") "],\"edges\":[" EDGE("a",
            "b") "," EDGE("a", "c") "," EDGE("b", "d") "," EDGE("c", "d") "," LOOP("d", "a") "]}"));
}

static void loops_nest_or_lie_apart(void **state)
{
    (void)state;
    const char *nodes = NODE("a") "," NODE("b") "," NODE("c") "," NODE("d") "," NODE("e");
    static const char overlap[] = "edges[5]: this loop overlaps that of edges[4]; expected one "
                                  "within the other or both apart, without a common end\n";
    assert_graph(nodes, CHAIN "," LOOP("c", "a") "," LOOP("d", "b"), overlap);
    assert_graph(nodes, CHAIN "," LOOP("d", "b") "," LOOP("d", "c"), overlap);
    assert_graph(nodes, CHAIN "," LOOP("c", "b") "," LOOP("d", "b"), overlap);
    assert_graph(nodes, CHAIN "," LOOP("c", "c") "," LOOP("c", "b"), overlap);
    workflow_unref(fixture_compile("{\"nodes\":[" NODE("a") "," NODE("b") "," NODE("c") "," NODE(
        "d") "," NODE("e") "],\"edges\":[" CHAIN
                           "," LOOP("b", "a") "," LOOP("d", "c") "," LOOP("e", "e") "]}"));
    workflow_unref(fixture_compile("{\"nodes\":[" NODE("a") "," NODE("b") "," NODE("c") "," NODE(
        "d") "," NODE("e") "],\"edges\":[" CHAIN
                           "," LOOP("c", "c") "," LOOP("d", "b") "," LOOP("e", "a") "]}"));
}

static void all_faults_are_told_at_once(void **state)
{
    (void)state;
    assert_faults("{\"nodes\":[{\"id\":\"a\",\"type\":\"t\",\"timeout_ms\":0}," NODE("b") "," NODE(
                      "b") "," NODE("c d") "],\"edges\":[" EDGE("a", "b") "," EDGE("b",
                      "a") "," EDGE("c d", "x") "," WHEN("a", "c d", "\"else\"") "],\"name\":1}",
        "definition: nothing is known of \"name\"\n"
        "nodes[0].timeout_ms: is 0; expected a whole number from 1 to 2592000000\n"
        "nodes[3].id: is \"c d\"; expected 1 to 64 of A-Z a-z 0-9 _ . -\n"
        "nodes[2].id: \"b\" is nodes[1] already\n"
        "edges[2].to: there is no node \"x\"\n"
        "edges[3].when: is \"else\", but no edge from \"a\" has a condition\n"
        "edges[1]: closes the cycle a -> b -> a; an edge that leads back needs "
        "\"max_iterations\"\n");
}

/* So many are told; the others are counted. */
static void faults_are_bounded(void **state)
{
    (void)state;
    struct bytes edges = {0};
    for (unsigned i = 0; i < WORKFLOW_EDGES_MAX; i++) {
        assert_int_equal(bytes_appendf(&edges, "%s" EDGE("x%u", "a"), i ? "," : "", i), 0);
    }
    struct bytes text = {0};
    assert_int_equal(bytes_appendf(&text, "{\"nodes\":[" NODE("a") "],\"edges\":[%s]}",
                         (const char *)edges.data),
        0);
    struct workflow *workflow = NULL;
    struct workflow_faults faults = {0};
    assert_int_equal(
        workflow_compile(span_str((const char *)text.data), NULL, NULL, &workflow, &faults),
        -EINVAL);
    assert_int_equal(faults.count, WORKFLOW_FAULTS_MAX);
    assert_int_equal(faults.more_count, WORKFLOW_EDGES_MAX - WORKFLOW_FAULTS_MAX);
    workflow_faults_fini(&faults);
    bytes_fini(&edges);
    bytes_fini(&text);
}

/* Loops that all lie over each other cost no more than can be told of them. */
static void many_loops_are_judged_within_bounds(void **state)
{
    (void)state;
    struct bytes text = fixture_chain(WORKFLOW_NODES_MAX);
    text.len -= 2;
    unsigned added = 0;
    for (unsigned to = 0; to < 10; to++) {
        for (unsigned from = 100; from < 1000; from++, added++) {
            assert_int_equal(
                bytes_appendf(
                    &text, ",{\"from\":\"n%u\",\"to\":\"n%u\",\"max_iterations\":1}", from, to),
                0);
        }
    }
    assert_int_equal(bytes_appendf(&text, "]}"), 0);
    assert_int_equal(added, 9000);
    struct workflow *workflow = NULL;
    struct workflow_faults faults = {0};
    assert_int_equal(
        workflow_compile(span_str((const char *)text.data), NULL, NULL, &workflow, &faults),
        -EINVAL);
    assert_int_equal(faults.count, WORKFLOW_FAULTS_MAX);
    assert_true(faults.more_count > 0);
    workflow_faults_fini(&faults);
    bytes_fini(&text);
}

static void refuse_config(void *ctx, const char *place, const char *type, const json_t *config,
    struct workflow_faults *faults)
{
    unsigned *calls = ctx;

    ++*calls;
    assert_true(json_is_object(config));
    if (strcmp(type, "bad") == 0) {
        workflow_faults_add(faults, "%s.x: is bad", place);
    }
}

static void the_config_of_each_sound_node_is_checked_by_its_type(void **state)
{
    (void)state;
    unsigned calls = 0;
    struct workflow *workflow = NULL;
    struct workflow_faults faults = {0};
    static const char text[] =
        "{\"nodes\":[" NODE("a") ",{\"id\":\"b\",\"type\":\"bad\",\"config\":{\"x\":1}},"
                                 "{\"id\":\"c\",\"type\":\"t\",\"config\":7},{\"id\":\"d\"}]}";
    assert_int_equal(
        workflow_compile(span_str(text), refuse_config, &calls, &workflow, &faults), -EINVAL);
    assert_int_equal(calls, 2);
    assert_int_equal(faults.count, 3);
    assert_string_equal(faults.lines[0], "nodes[1].config.x: is bad");
    /* More faults go behind those that are there. */
    assert_int_equal(workflow_compile(span_str("5"), NULL, NULL, &workflow, &faults), -EINVAL);
    assert_int_equal(faults.count, 4);
    workflow_faults_fini(&faults);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_definition_is_an_object_with_nodes),
        cmocka_unit_test(a_parsed_definition_is_judged_as_its_text_is),
        cmocka_unit_test(a_definition_is_bounded),
        cmocka_unit_test(a_node_has_an_id_and_a_type),
        cmocka_unit_test(retries_and_time_outs_are_within_bounds),
        cmocka_unit_test(a_long_backoff_needs_no_word_about_the_most),
        cmocka_unit_test(an_edge_joins_two_nodes_once),
        cmocka_unit_test(when_is_a_condition_or_a_word),
        cmocka_unit_test(a_cycle_is_named),
        cmocka_unit_test(a_long_cycle_is_named_in_short),
        cmocka_unit_test(what_nothing_leads_to_is_named),
        cmocka_unit_test(a_loop_is_entered_and_left_at_its_ends),
        cmocka_unit_test(loops_nest_or_lie_apart),
        cmocka_unit_test(all_faults_are_told_at_once),
        cmocka_unit_test(faults_are_bounded),
        cmocka_unit_test(many_loops_are_judged_within_bounds),
        cmocka_unit_test(the_config_of_each_sound_node_is_checked_by_its_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
