/* transform, filter and aggregate: what comes out, and that bad data is a sentence. */
#include <errno.h>

#include "flow/nodes.h"
#include "flow/value.h"
#include "tests/unit/flow/flow_text.h"

static const char document[] =
    "{'inputs':{'city':'NYC','max':400},"
    "'payload':[{'id':'a','price':500,'tags':['x']},{'id':'b','price':300},{'id':'c','price':300},"
    "{'id':'d'},{'id':'e','price':'free'}],"
    "'results':{'one':{'a':1,'b':1},'two':{'b':2},'list':[3,4],'more':[5.5],'n':7,'flat':'text'},"
    "'run':{'id':'r1','tag':'t','user':'u'}}";

static int eval(const char *type, const char *config, const char *predecessors, size_t bytes_max,
    json_t **ret_result, char why[NODES_WHY_MAX])
{
    struct workflow_node node = node_of(type, config);
    json_t *root = json_of(document), *came = predecessors ? json_of(predecessors) : NULL;
    int err = nodes_eval(&node, root, came, bytes_max, ret_result, why);

    json_decref(root);
    json_decref(came);
    json_decref(node.config);
    return err;
}

static void assert_gives(
    const char *type, const char *config, const char *predecessors, const char *expected)
{
    char why[NODES_WHY_MAX] = "";
    json_t *made = NULL;

    if (eval(type, config, predecessors, 4096, &made, why)) {
        fail_msg("%s: %s", config, why);
    }
    assert_json(made, expected);
}

static void assert_refused(
    const char *type, const char *config, const char *predecessors, const char *finding)
{
    char why[NODES_WHY_MAX] = "";
    json_t *made = NULL;

    assert_int_equal(eval(type, config, predecessors, 4096, &made, why), -EINVAL);
    assert_null(made);
    if (!strstr(why, finding)) {
        fail_msg("\"%s\" does not say \"%s\"", why, finding);
    }
}

static void transform_fills_in_its_output(void **state)
{
    (void)state;
    assert_gives("transform", "{'output':{'to':'{{/inputs/city}}','n':'{{/results/n}}'}}", NULL,
        "{'n':7,'to':'NYC'}");
    assert_gives("transform", "{'output':null}", NULL, "null");
    assert_gives("transform", "{'output':'{{/payload/1}}'}", NULL, "{'id':'b','price':300}");
    assert_refused("transform", "{'output':{'a':'{{/results/nobody}}'}}", NULL,
        "output/a: there is no \"/results/nobody\"");
}

static void transform_without_output_passes_the_payload_on(void **state)
{
    (void)state;
    char why[NODES_WHY_MAX];
    json_t *made = NULL, *root = json_of(document);
    struct workflow_node node = node_of("transform", "{}");

    assert_int_equal(nodes_eval(&node, root, NULL, 4096, &made, why), 0);
    assert_true(json_equal(made, json_object_get(root, "payload")));
    json_decref(made);
    json_decref(root);
    json_decref(node.config);
}

static void filter_keeps_what_its_condition_holds_for(void **state)
{
    (void)state;
    assert_gives("filter", "{'where':'/price < 400'}", NULL,
        "{'count':2,'dropped':3,'items':[{'id':'b','price':300},{'id':'c','price':300}]}");
    assert_gives("filter", "{'items':'/payload/0/tags','where':' == \\'x\\''}", NULL,
        "{'count':1,'dropped':0,'items':['x']}");
    assert_gives(
        "filter", "{'items':'/results/list'}", NULL, "{'count':2,'dropped':0,'items':[3,4]}");
}

static void filter_sorts_stably_and_leaves_what_has_no_key_to_the_end(void **state)
{
    (void)state;
    assert_gives("filter", "{'sort':{'by':'/price'},'where':'/id != \\'a\\''}", NULL,
        "{'count':4,'dropped':1,'items':[{'id':'b','price':300},{'id':'c','price':300},"
        "{'id':'e','price':'free'},{'id':'d'}]}");
    assert_gives("filter", "{'sort':{'by':'/price','order':'desc'}}", NULL,
        "{'count':5,'dropped':0,'items':[{'id':'e','price':'free'},"
        "{'id':'a','price':500,'tags':['x']},{'id':'b','price':300},{'id':'c','price':300},"
        "{'id':'d'}]}");
}

static void filter_limits_after_it_sorted(void **state)
{
    (void)state;
    assert_gives("filter", "{'sort':{'by':'/price'},'limit':1}", NULL,
        "{'count':1,'dropped':4,'items':[{'id':'b','price':300}]}");
    assert_gives("filter", "{'limit':0}", NULL, "{'count':0,'dropped':5,'items':[]}");
    assert_gives("filter", "{'items':'/results/list','limit':9}", NULL,
        "{'count':2,'dropped':0,'items':[3,4]}");
}

/* One thread serves all runs: none may keep it for long. */
static void filter_refuses_work_without_end(void **state)
{
    (void)state;
    char why[NODES_WHY_MAX] = "";
    json_t *made = NULL, *items = json_array(), *values = json_array();
    for (int i = 0; i < 20000; i++) {
        assert_int_equal(json_array_append_new(items, json_integer(i)), 0);
    }
    for (int i = 0; i < 499; i++) {
        assert_int_equal(json_array_append_new(values, json_integer(i)), 0);
    }
    json_t *root = json_pack("{s:o}", "payload", items);
    struct workflow_node node = node_of("filter", "{'where':{'pointer':'','op':'in'}}");
    json_t *where = json_object_get(node.config, "where");
    assert_int_equal(json_object_set_new(where, "value", values), 0);
    assert_int_equal(nodes_eval(&node, root, NULL, 1000000, &made, why), 0);
    assert_int_equal(json_integer_value(json_object_get(made, "count")), 499);
    json_decref(made);
    made = NULL;
    assert_int_equal(json_array_append_new(items, json_null()), 0);
    assert_int_equal(nodes_eval(&node, root, NULL, 1000000, &made, why), -EINVAL);
    assert_non_null(strstr(why, "10 million"));
    json_decref(root);
    json_decref(node.config);
}

static void filter_wants_an_array(void **state)
{
    (void)state;
    assert_refused("filter", "{'items':'/results/n'}", NULL, "\"/results/n\" is no array");
    assert_refused("filter", "{'items':'/results/nobody'}", NULL, "is no array");
    assert_refused("filter", "{'where':'/price = 1'}", NULL, "did you mean");
}

static void aggregate_collects_what_the_predecessors_gave(void **state)
{
    (void)state;
    assert_gives("aggregate", "{}", "{'x':{'v':1},'y':2}", "{'x':{'v':1},'y':2}");
    assert_gives("aggregate", "{'field':'/v'}", "{'x':{'v':1},'y':2}", "{'x':1}");
    assert_gives("aggregate", "{}", NULL, "{}");
}

static void aggregate_collects_what_its_pointers_find(void **state)
{
    (void)state;
    assert_gives("aggregate", "{'from':'/results/list'}", NULL, "[3,4]");
    assert_gives("aggregate", "{'from':['/results/n','/inputs/city']}", NULL, "[7,'NYC']");
    /* A branch that was not taken left no result. */
    assert_gives("aggregate", "{'from':['/results/n','/results/skipped']}", NULL, "[7]");
    assert_gives("aggregate", "{'from':'/payload','field':'/price'}", NULL, "[500,300,300,'free']");
}

static void aggregate_merges_and_joins(void **state)
{
    (void)state;
    assert_gives("aggregate", "{'from':['/results/one','/results/two'],'op':'merge'}", NULL,
        "{'a':1,'b':2}");
    assert_gives("aggregate", "{'from':['/results/two','/results/one'],'op':'merge'}", NULL,
        "{'a':1,'b':1}");
    assert_gives("aggregate", "{'op':'merge'}", "{'p':{'x':1},'q':{'y':2}}", "{'x':1,'y':2}");
    assert_gives(
        "aggregate", "{'from':['/results/list','/results/more'],'op':'concat'}", NULL, "[3,4,5.5]");
    assert_gives("aggregate", "{'op':'concat'}", "{'p':[1],'q':[[2]]}", "[1,[2]]");
    assert_refused("aggregate", "{'op':'merge'}", "{'p':[1]}", "no object");
    assert_refused("aggregate", "{'op':'concat'}", "{'p':{}}", "no array");
}

static void aggregate_counts_and_calculates(void **state)
{
    (void)state;
    const char *of = "{'p':{'v':1},'q':{'v':2.5},'r':{},'s':{'v':-4}}";
    assert_gives("aggregate", "{'op':'sum','field':'/v'}", of,
        "{'count':3,'op':'sum','skipped':1,'value':-0.5}");
    assert_gives("aggregate", "{'op':'min','field':'/v'}", of,
        "{'count':3,'op':'min','skipped':1,'value':-4}");
    assert_gives("aggregate", "{'op':'max','field':'/v'}", of,
        "{'count':3,'op':'max','skipped':1,'value':2.5}");
    assert_gives("aggregate", "{'op':'avg','from':'/results/list'}", NULL,
        "{'count':2,'op':'avg','skipped':0,'value':3.5}");
    assert_gives("aggregate", "{'op':'count','from':'/payload','field':'/price'}", NULL,
        "{'count':4,'op':'count','skipped':1,'value':4}");
    assert_gives("aggregate", "{'op':'sum'}", NULL, "{'count':0,'op':'sum','skipped':0,'value':0}");
    assert_gives(
        "aggregate", "{'op':'max'}", NULL, "{'count':0,'op':'max','skipped':0,'value':null}");
    assert_refused(
        "aggregate", "{'op':'sum','from':'/payload','field':'/price'}", NULL, "no number");
}

static void sums_stay_exact_as_long_as_they_can_and_are_never_infinite(void **state)
{
    (void)state;
    assert_gives("aggregate", "{'op':'sum'}", "{'a':9007199254740991,'b':-9007199254740990}",
        "{'count':2,'op':'sum','skipped':0,'value':1}");
    assert_gives("aggregate", "{'op':'sum'}", "{'a':9223372036854775807,'b':1}",
        "{'count':2,'op':'sum','skipped':0,'value':9223372036854776000}");
    assert_refused("aggregate", "{'op':'sum'}", "{'a':1e308,'b':1e308}", "add up to more");
    assert_refused("aggregate", "{'op':'avg'}", "{'a':1e308,'b':1e308}", "add up to more");
    assert_gives("aggregate", "{'op':'max'}", "{'a':1e308,'b':1e308}",
        "{'count':2,'op':'max','skipped':0,'value':1e+308}");
}

static void from_wants_an_array_or_pointers(void **state)
{
    (void)state;
    assert_refused("aggregate", "{'from':'/results/n'}", NULL, "\"/results/n\" is no array");
    assert_refused("aggregate", "{'from':5}", NULL, "is no array");
}

/* One array named a hundred times would be a hundred times as large. */
static void nothing_larger_than_allowed_comes_out(void **state)
{
    (void)state;
    char why[NODES_WHY_MAX] = "";
    json_t *made = NULL;
    assert_int_equal(eval("aggregate", "{'from':['/payload','/payload','/payload'],'op':'concat'}",
                         NULL, 300, &made, why),
        -EINVAL);
    assert_non_null(strstr(why, "too large"));
    assert_int_equal(
        eval("aggregate", "{'from':['/payload','/payload','/payload']}", NULL, 300, &made, why),
        -EINVAL);
    assert_int_equal(eval("filter", "{}", NULL, 80, &made, why), -EINVAL);
    assert_int_equal(eval("transform", "{}", NULL, 80, &made, why), -EINVAL);
    assert_int_equal(
        eval("transform", "{'output':['{{/payload}}','{{/payload}}']}", NULL, 200, &made, why),
        -EINVAL);
    assert_null(made);
}

/* What is stored must be readable again, so wrapping ends at 64 levels. */
static void nothing_deeper_than_can_be_read_comes_out(void **state)
{
    (void)state;
    char why[NODES_WHY_MAX] = "";
    json_t *deep = json_integer(1), *made = NULL, *root = json_object();
    for (int i = 0; i < VALUE_DEPTH_MAX; i++) {
        json_t *outer = json_array();
        assert_int_equal(json_array_append_new(outer, deep), 0);
        deep = outer;
    }
    assert_int_equal(json_object_set_new(root, "payload", deep), 0);
    struct workflow_node node = node_of("transform", "{}");
    assert_int_equal(nodes_eval(&node, root, NULL, 4096, &made, why), 0);
    json_decref(made);
    made = NULL;
    node.type = (char *)"filter";
    assert_int_equal(nodes_eval(&node, root, NULL, 4096, &made, why), -EINVAL);
    assert_non_null(strstr(why, "too deep"));
    json_decref(root);
    json_decref(node.config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transform_fills_in_its_output),
        cmocka_unit_test(transform_without_output_passes_the_payload_on),
        cmocka_unit_test(filter_keeps_what_its_condition_holds_for),
        cmocka_unit_test(filter_sorts_stably_and_leaves_what_has_no_key_to_the_end),
        cmocka_unit_test(filter_limits_after_it_sorted),
        cmocka_unit_test(filter_refuses_work_without_end),
        cmocka_unit_test(filter_wants_an_array),
        cmocka_unit_test(aggregate_collects_what_the_predecessors_gave),
        cmocka_unit_test(aggregate_collects_what_its_pointers_find),
        cmocka_unit_test(aggregate_merges_and_joins),
        cmocka_unit_test(aggregate_counts_and_calculates),
        cmocka_unit_test(sums_stay_exact_as_long_as_they_can_and_are_never_infinite),
        cmocka_unit_test(from_wants_an_array_or_pointers),
        cmocka_unit_test(nothing_larger_than_allowed_comes_out),
        cmocka_unit_test(nothing_deeper_than_can_be_read_comes_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
