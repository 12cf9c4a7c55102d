/* nodes_check tells every fault of a config with its place, nodes_check_references what looks at
 * nodes that cannot have a result, nodes_needs what has to be there. */
#include "flow/nodes.h"

#include <stdio.h>

#include "tests/unit/flow/flow_text.h"

/* All faults of a config, a line each. */
static void faults_of(const char *type, json_t *config, char *out, size_t cap)
{
    struct workflow_faults faults = {0};
    size_t used = 0;

    nodes_check(NULL, "nodes[3].config", type, config, &faults);
    out[0] = 0;
    for (uint32_t i = 0; i < faults.count; i++) {
        used += (size_t)snprintf(out + used, cap - used, "%s%s", i ? "\n" : "", faults.lines[i]);
        assert_true(used < cap);
    }
    workflow_faults_fini(&faults);
    json_decref(config);
}

static void assert_faults(const char *type, const char *config, const char *expected)
{
    char found[4000];
    faults_of(type, json_of(config), found, sizeof(found));
    assert_string_equal(found, expected);
}

static void assert_fine(const char *type, const char *config)
{
    assert_faults(type, config, "");
}

/* Has exactly one fault, and it says this. */
static void assert_fault(
    const char *type, const char *config, const char *place, const char *finding)
{
    char found[4000], begin[300];
    faults_of(type, json_of(config), found, sizeof(found));
    snprintf(begin, sizeof(begin), "nodes[3].config%s: ", place);
    if (strncmp(found, begin, strlen(begin)) != 0 || !strstr(found, finding) ||
        strchr(found, '\n')) {
        fail_msg("\"%s\" is not \"%s…%s\"", found, begin, finding);
    }
}

static void good_configs_have_no_faults(void **state)
{
    (void)state;
    assert_fine("transform", "{}");
    assert_fine("transform", "{'output':{'a':['{{/inputs/x}}',1,null,'{{/run/id}}']}}");
    assert_fine("filter", "{'items':'/results/a/list','where':{'all':['/x > 1']},"
                          "'sort':{'by':'','order':'desc'},'limit':10}");
    assert_fine("aggregate", "{}");
    assert_fine("aggregate", "{'from':['/results/a','/inputs'],'op':'concat','field':'/x'}");
    assert_fine("aggregate", "{'from':'/payload','op':'avg'}");
    assert_fine("delay", "{'ms':0}");
    assert_fine("delay", "{'ms':1000.0}");
    assert_fine("delay", "{'ms':'{{/inputs/ms | 5}}'}");
    assert_fine("hitl", "{'message':'{{/inputs/x}}?','on_reject':'continue'}");
    assert_fine("http", "{'url':'https://example.com:8443/a?b={{/inputs/b}}','method':'PATCH',"
                        "'headers':{'X-A':'{{/inputs/a}}','Accept':'*/*'},'body':{'a':1},"
                        "'expect':[200,404],'max_bytes':1000}");
    assert_fine("http", "{'url':'{{/inputs/url}}'}");
    assert_fine("fail", "{'message':'no','times':2}");
    assert_fine("fail", "{}");
}

static void types_of_outside_workers_take_any_object(void **state)
{
    (void)state;
    assert_fine("agent", "{'anything':['{{goes']}");
    assert_fine("resize", "{}");
    assert_fault("agent", "[1]", "", "expected an object");
    assert_fault("delay", "5", "", "expected an object");
}

static void an_unknown_member_is_told_with_what_was_meant(void **state)
{
    (void)state;
    assert_faults("http", "{'url':'http://h/','boddy':1,'zzzzzz':2}",
        "nodes[3].config.boddy: http has no such member; did you mean \"body\"?\n"
        "nodes[3].config.zzzzzz: http has no such member; there are url, method, headers, body, "
        "expect, max_bytes");
    assert_fault("filter", "{'sort':{'by':'/a','ordre':'asc'}}", ".sort.ordre", "\"order\"");
    assert_fault("transform", "{'a\\nb':1}", ".a?b", "no such member");
}

static void what_is_needed_is_missed(void **state)
{
    (void)state;
    assert_fault("http", "{}", ".url", "http needs it");
    assert_fault("delay", "{}", ".ms", "needs it");
    assert_fault("hitl", "{}", ".message", "needs it");
    assert_fault("filter", "{'sort':{}}", ".sort.by", "sort needs it");
}

static void every_fault_is_told_at_once(void **state)
{
    (void)state;
    assert_faults("transform", "{'output':{'a':'{{/inptus/x}}','b':['ok','{{x}}','{{/run/idd}}']}}",
        "nodes[3].config.output.a: \"/inptus/x\" does not begin in the document; did you mean "
        "\"/inputs\"?\n"
        "nodes[3].config.output.b[1]: \"x\" is no JSON pointer: one is empty or begins with \"/\", "
        "and has ~ only in ~0 and ~1\n"
        "nodes[3].config.output.b[2]: \"/run/idd\" is not known of a run; there are /run/id, "
        "/run/tag and /run/user");
}

static void pointers_begin_in_the_document(void **state)
{
    (void)state;
    assert_fault("filter", "{'items':'/result/a'}", ".items", "did you mean \"/results\"?");
    assert_fault("filter", "{'items':''}", ".items", "does not begin in the document");
    assert_fault("filter", "{'items':'payload'}", ".items", "is no JSON pointer");
    assert_fault("filter", "{'items':5}", ".items", "expected a JSON pointer");
    assert_fault("aggregate", "{'from':['/payload','/x']}", ".from[1]", "/inputs, /results");
    assert_fault("aggregate", "{'from':{}}", ".from", "expected a JSON pointer");
    assert_fault("aggregate", "{'field':'x'}", ".field", "expected a JSON pointer");
    assert_fine("filter", "{'items':'/run'}");
}

static void numbers_and_choices_are_within_bounds(void **state)
{
    (void)state;
    assert_fault("delay", "{'ms':-1}", ".ms", "0 to 31622400000, or a template");
    assert_fault("delay", "{'ms':'soon'}", ".ms", "expected a whole number");
    assert_fault("delay", "{'ms':'{{'}", ".ms", "a {{ has no }}");
    assert_fault("filter", "{'limit':1.5}", ".limit", "expected a whole number");
    assert_fault("filter", "{'limit':'{{/inputs/n}}'}", ".limit", "expected a whole number");
    assert_fault("fail", "{'times':-1}", ".times", "expected a whole number");
    assert_fault("fail", "{'message':5}", ".message", "expected text");
    assert_fault("aggregate", "{'op':'summ'}", ".op", "did you mean \"sum\"?");
    assert_fault("aggregate", "{'op':'everything'}", ".op", "expected one of collect, merge");
    assert_fault("aggregate", "{'op':null}", ".op", "expected one of");
    assert_fault("hitl", "{'message':'x','on_reject':'ignore'}", ".on_reject", "fail, continue");
    assert_fault("filter", "{'where':'/a = 1'}", ".where", "did you mean \"==\"?");
}

static void a_request_that_could_not_be_made_is_told_before_it_is(void **state)
{
    (void)state;
    assert_fault("http", "{'url':5}", ".url", "expected text");
    assert_fault("http", "{'url':'ftp://h/{{/inputs/x}}'}", ".url", "http:// or https://");
    assert_fault("http", "{'url':'h/{{/inputs/x}}'}", ".url", "http:// or https://");
    assert_fault("http", "{'url':''}", ".url", "http:// or https://");
    assert_fault("http", "{'url':'http://a:b@h/'}", ".url", "credentials");
    assert_fault("http", "{'url':'http://h/','method':'get'}", ".method", "expected one of GET");
    assert_fault("http", "{'url':'http://h/','method':'POSTT'}", ".method", "\"POST\"");
    assert_fault("http", "{'url':'http://h/','headers':[]}", ".headers", "expected an object");
    assert_fault("http", "{'url':'http://h/','headers':{'a b':'1'}}", ".headers.a b", "name");
    assert_fault(
        "http", "{'url':'http://h/','headers':{'Host\\r\\nX':'1'}}", ".headers.Host??X", "name");
    assert_fault("http", "{'url':'http://h/','headers':{'X':'a\\r\\nY: b'}}", ".headers.X",
        "control character");
    assert_fault(
        "http", "{'url':'http://h/','headers':{'X':['a']}}", ".headers.X", "expected text");
    assert_fault("http", "{'url':'http://h/','headers':{'Content-Length':'5'}}",
        ".headers.Content-Length", "not yours");
    assert_fault("http", "{'url':'http://h/','expect':[]}", ".expect", "array of HTTP statuses");
    assert_fault("http", "{'url':'http://h/','expect':200}", ".expect", "array of HTTP statuses");
    assert_fault("http", "{'url':'http://h/','expect':[200,99]}", ".expect[1]", "100 to 599");
    assert_fault("http", "{'url':'http://h/','max_bytes':0}", ".max_bytes", "whole number");
    assert_faults("http", "{'url':'http://h/','headers':{'X-A':'1','x-a':'2'}}",
        "nodes[3].config.headers.X-A: it is there twice: letters' case does not matter\n"
        "nodes[3].config.headers.x-a: it is there twice: letters' case does not matter");
}

static void faults_without_number_are_counted(void **state)
{
    (void)state;
    struct workflow_faults faults = {0};
    json_t *config = json_object();
    char name[20];

    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof(name), "outpt%d", i);
        assert_int_equal(json_object_set_new(config, name, json_null()), 0);
    }
    nodes_check(NULL, "nodes[0].config", "transform", config, &faults);
    assert_int_equal(faults.count, WORKFLOW_FAULTS_MAX);
    assert_int_equal(faults.more_count, 5000 - WORKFLOW_FAULTS_MAX);
    workflow_faults_fini(&faults);
    json_decref(config);
}

/* ---- of a whole workflow ---- */

static struct workflow *compiled(const char *definition)
{
    struct workflow_faults faults = {0};
    struct workflow *workflow = NULL;
    json_t *parsed = json_of(definition);

    if (workflow_compile_json(parsed, nodes_check, NULL, &workflow, &faults)) {
        fail_msg("%s", faults.count ? faults.lines[0] : "no memory");
    }
    workflow_faults_fini(&faults);
    json_decref(parsed);
    return workflow;
}

static const char graph[] =
    "{'nodes':[{'id':'search','type':'search'},{'id':'other','type':'agent'},"
    "{'id':'sum','type':'aggregate','config':%s},{'id':'last','type':'transform'}],"
    "'edges':[{'from':'search','to':'sum'},{'from':'sum','to':'last'},"
    "{'from':'other','to':'last'}]}";

static struct workflow *compiled_with(const char *config)
{
    char definition[2000];
    const char *cut = strstr(graph, "%s");
    snprintf(
        definition, sizeof(definition), "%.*s%s%s", (int)(cut - graph), graph, config, cut + 2);
    return compiled(definition);
}

static void assert_reference(const char *from, const char *expected)
{
    struct workflow *workflow = compiled_with(from);
    struct workflow_faults faults = {0};

    nodes_check_references(workflow, &faults);
    assert_int_equal(faults.count, expected != NULL);
    if (expected) {
        assert_string_equal(faults.lines[0], expected);
    }
    workflow_faults_fini(&faults);
    workflow_unref(workflow);
}

static void results_are_looked_at_of_nodes_that_are_before(void **state)
{
    (void)state;
    assert_reference("{'from':'/results/search/items'}", NULL);
    assert_reference("{'from':['/inputs/last','/results']}", NULL);
    assert_reference("{'from':['/inputs','/results/serch/items']}",
        "nodes[2].config.from[1]: \"/results/serch/items\" names no node; did you mean "
        "\"search\"?");
    assert_reference(
        "{'from':'/results/xyz'}", "nodes[2].config.from: \"/results/xyz\" names no node");
    assert_reference("{'from':'/results/other'}",
        "nodes[2].config.from: \"/results/other\" looks at a node that is not before this one");
    assert_reference("{'from':'/results/last'}",
        "nodes[2].config.from: \"/results/last\" looks at a node that is not before this one");
    assert_reference("{'from':'/results/sum'}",
        "nodes[2].config.from: \"/results/sum\" looks at a node that is not before this one");
}

static void assert_needs(const char *type, const char *config, const char *expected)
{
    char definition[2000], found[100] = "";
    struct node_needs needs;
    uint32_t results[10];

    snprintf(definition, sizeof(definition),
        "{'nodes':[{'id':'a','type':'agent'},{'id':'b','type':'agent'},{'id':'c','type':'agent'},"
        "{'id':'n','type':'%s','config':%s}],'edges':[{'from':'a','to':'b'},{'from':'b','to':'n'}]"
        "}",
        type, config);
    struct workflow *workflow = compiled(definition);
    uint32_t count = nodes_needs(workflow, 3, &needs, results, COUNT_OF(results));
    snprintf(found, sizeof(found), "%s%s%s", needs.inputs ? "I" : "", needs.payload ? "P" : "",
        needs.predecessors ? "+" : "");
    for (uint32_t i = 0; i < count; i++) {
        strncat(found, workflow->nodes[results[i]].id, 10);
    }
    assert_string_equal(found, expected);
    assert_int_equal(nodes_needs(workflow, 3, &needs, results, 0), count);
    workflow_unref(workflow);
}

static void a_node_needs_what_its_config_looks_at(void **state)
{
    (void)state;
    assert_needs("transform", "{}", "P");
    assert_needs("transform", "{'output':1}", "");
    assert_needs(
        "transform", "{'output':['{{/results/b}}','{{/results/a/x}} {{/results/b/y}}']}", "ab");
    assert_needs("transform", "{'output':{'x':{'y':'{{/inputs}}'},'z':'{{/payload/1}}'}}", "IP");
    assert_needs("transform", "{'output':'{{/results}}'}", "ab"); /* c is not before it. */
    assert_needs("transform", "{'output':'{{/run/id}}'}", "");
    assert_needs("filter", "{}", "P");
    assert_needs("filter", "{'items':'/results/a'}", "a");
    assert_needs("aggregate", "{}", "+");
    assert_needs("aggregate", "{'from':'/inputs/x'}", "I");
    assert_needs("aggregate", "{'from':['/results/a','/payload']}", "Pa");
    assert_needs("delay", "{'ms':'{{/inputs/ms}}'}", "I");
    assert_needs("delay", "{'ms':5}", "");
    assert_needs("hitl", "{'message':'{{/results/a}}'}", "a");
    assert_needs("http",
        "{'url':'http://h/{{/inputs/x}}','headers':{'X':'{{/results/a}}'},'body':'{{/payload}}'}",
        "IPa");
    assert_needs("agent", "{'output':'{{/payload}}'}", "");
    assert_needs("fail", "{}", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_configs_have_no_faults),
        cmocka_unit_test(types_of_outside_workers_take_any_object),
        cmocka_unit_test(an_unknown_member_is_told_with_what_was_meant),
        cmocka_unit_test(what_is_needed_is_missed),
        cmocka_unit_test(every_fault_is_told_at_once),
        cmocka_unit_test(pointers_begin_in_the_document),
        cmocka_unit_test(numbers_and_choices_are_within_bounds),
        cmocka_unit_test(a_request_that_could_not_be_made_is_told_before_it_is),
        cmocka_unit_test(faults_without_number_are_counted),
        cmocka_unit_test(results_are_looked_at_of_nodes_that_are_before),
        cmocka_unit_test(a_node_needs_what_its_config_looks_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
