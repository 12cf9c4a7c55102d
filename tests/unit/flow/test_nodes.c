/* Which work is whose, and the small things nodes are asked: how long, what, and whether. */
#include "flow/nodes.h"

#include <errno.h>

#include "tests/unit/flow/flow_text.h"

static void assert_stream(const char *type, const char *extra, const char *expected)
{
    struct span stream = node_stream(span_str(type), extra);
    assert_true(span_equal(stream, span_str(expected)));
}

static void types_of_the_contract_and_named_ones_have_streams_of_their_own(void **state)
{
    (void)state;
    static const char *const all[] = {"agent", "classifier", "search", "function", "http", "hitl",
        "transform", "aggregate", "filter", "delay", "fail"};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        assert_stream(all[i], NULL, all[i]);
        assert_string_equal(node_types[i].name, all[i]);
    }
    assert_null(node_types[COUNT_OF(all)].name);
    assert_stream("resize", NULL, "default");
    assert_stream("resize", "", "default");
    assert_stream("resize", "crop,resize", "resize");
    assert_stream("resize", " crop , resize ", "resize");
    assert_stream("resize", "resizer,,res", "default");
    assert_stream("", ",,", "default");
    assert_stream("agen", NULL, "default");
}

static void a_type_says_who_works_on_it(void **state)
{
    (void)state;
    assert_int_equal(node_type_find(span_str("agent"))->work, NODE_WORK_OUTSIDE);
    assert_int_equal(node_type_find(span_str("resize"))->work, NODE_WORK_OUTSIDE);
    assert_string_equal(node_type_find(span_str("resize"))->name, "default");
    assert_int_equal(node_type_find(span_str("http"))->work, NODE_WORK_HTTP);
    assert_true(node_type_find(span_str("http"))->timeout_ms > 0);
    assert_int_equal(node_type_find(span_str("filter"))->work, NODE_WORK_EVAL);
    assert_int_equal(node_type_find(span_str("hitl"))->work, NODE_WORK_HUMAN);
    assert_int_equal(node_type_find(span_str("hitl"))->timeout_ms, 0);
}

static int delay(const char *config, uint64_t *ret_ms)
{
    char why[NODES_WHY_MAX] = "";
    struct workflow_node node = node_of("delay", config);
    json_t *document = json_of("{'inputs':{'ms':250,'text':'300','word':'soon','less':-1}}");
    int err = nodes_delay(&node, document, ret_ms, why);

    assert_true(err == 0 || (err == -EINVAL && strncmp(why, "ms", 2) == 0));
    json_decref(document);
    json_decref(node.config);
    return err;
}

static void a_delay_is_a_number_or_becomes_one(void **state)
{
    (void)state;
    uint64_t ms = 0;
    assert_int_equal(delay("{'ms':100}", &ms), 0);
    assert_int_equal(ms, 100);
    assert_int_equal(delay("{'ms':'{{/inputs/ms}}'}", &ms), 0);
    assert_int_equal(ms, 250);
    assert_int_equal(delay("{'ms':'{{/inputs/text}}0'}", &ms), 0);
    assert_int_equal(ms, 3000);
    assert_int_equal(delay("{'ms':31622400000}", &ms), 0);
    assert_true(ms == 31622400000);
    assert_int_equal(delay("{'ms':31622400001}", &ms), -EINVAL);
    assert_int_equal(delay("{'ms':'{{/inputs/word}}'}", &ms), -EINVAL);
    assert_int_equal(delay("{'ms':'{{/inputs/less}}'}", &ms), -EINVAL);
    assert_int_equal(delay("{'ms':'{{/inputs/none}}'}", &ms), -EINVAL);
    assert_int_equal(delay("{'ms':'99999999999999999999999999999999'}", &ms), -EINVAL);
    assert_int_equal(delay("{'ms':''}", &ms), -EINVAL);
    assert_int_equal(delay("{'ms':1.5}", &ms), -EINVAL);
    assert_int_equal(delay("{}", &ms), -EINVAL);
}

static int question(const char *config, struct bytes *out)
{
    char why[NODES_WHY_MAX] = "";
    struct workflow_node node = node_of("hitl", config);
    json_t *document = json_of("{'inputs':{'who':'Ann','list':[1,2]}}");
    int err = nodes_question(&node, document, out, why);

    assert_true(err == 0 || (err == -EINVAL && strncmp(why, "message", 7) == 0));
    json_decref(document);
    json_decref(node.config);
    return err;
}

static void a_question_is_text(void **state)
{
    (void)state;
    struct bytes out = {0};
    assert_int_equal(question("{'message':'Book for {{/inputs/who}}? '}", &out), 0);
    assert_int_equal(question("{'message':'{{/inputs/list}}'}", &out), 0);
    assert_true(span_equal(span_of(out.data, out.len), span_str("Book for Ann? [1,2]")));
    assert_int_equal(question("{'message':'{{/inputs/none}}'}", &out), -EINVAL);
    assert_int_equal(question("{}", &out), -EINVAL);
    assert_int_equal(out.len, 19);
    bytes_fini(&out);
}

static void a_rejection_fails_unless_told_otherwise(void **state)
{
    (void)state;
    struct workflow_node plain = node_of("hitl", "{}");
    struct workflow_node mild = node_of("hitl", "{'on_reject':'continue'}");
    struct workflow_node strict = node_of("hitl", "{'on_reject':'fail'}");
    assert_true(nodes_reject_fails(&plain));
    assert_false(nodes_reject_fails(&mild));
    assert_true(nodes_reject_fails(&strict));
    json_decref(plain.config);
    json_decref(mild.config);
    json_decref(strict.config);
}

static void a_fail_node_fails_as_often_as_told(void **state)
{
    (void)state;
    const char *message = NULL;
    struct workflow_node always = node_of("fail", "{'message':'on purpose'}");
    struct workflow_node twice = node_of("fail", "{'times':2}");
    struct workflow_node never = node_of("fail", "{'times':0}");
    assert_true(nodes_fails(&always, 1000, &message));
    assert_string_equal(message, "on purpose");
    assert_true(nodes_fails(&twice, 1, &message));
    assert_true(nodes_fails(&twice, 2, &message));
    assert_true(message[0] != 0);
    assert_false(nodes_fails(&twice, 3, &message));
    assert_false(nodes_fails(&never, 1, &message));
    json_decref(always.config);
    json_decref(twice.config);
    json_decref(never.config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_of_the_contract_and_named_ones_have_streams_of_their_own),
        cmocka_unit_test(a_type_says_who_works_on_it),
        cmocka_unit_test(a_delay_is_a_number_or_becomes_one),
        cmocka_unit_test(a_question_is_text),
        cmocka_unit_test(a_rejection_fails_unless_told_otherwise),
        cmocka_unit_test(a_fail_node_fails_as_often_as_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
