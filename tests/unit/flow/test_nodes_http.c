/* The http node: what it asks for, what it will never send, and what it makes of an answer. */
#include <errno.h>

#include "base/mem.h"
#include "flow/nodes.h"
#include "tests/unit/flow/flow_text.h"

static const char document[] =
    "{'inputs':{'city':'New "
    "York','umlaut':'K\xc3\xb6ln','host':'api.example.com','evil':'a\\r\\nX: 1',"
    "'none':null,'n':5,'list':[1],'path':'/../x','scheme':'file','user':'me:pw@h'},"
    "'payload':{'q':1}}";

static int request(
    const char *config, size_t bytes_max, struct node_http *ret_http, char why[NODES_WHY_MAX])
{
    struct workflow_node node = node_of("http", config);
    json_t *root = json_of(document);
    int err = nodes_http(&node, root, bytes_max, ret_http, why);

    json_decref(root);
    json_decref(node.config);
    return err;
}

static struct node_http requested(const char *config)
{
    char why[NODES_WHY_MAX] = "";
    struct node_http http = {0};

    if (request(config, 4096, &http, why)) {
        fail_msg("%s: %s", config, why);
    }
    return http;
}

static void assert_refused(const char *config, const char *finding)
{
    char why[NODES_WHY_MAX] = "";
    struct node_http http = {0};

    assert_int_equal(request(config, 100, &http, why), -EINVAL);
    assert_null(http.url.data);
    if (!strstr(why, finding)) {
        fail_msg("\"%s\" does not say \"%s\"", why, finding);
    }
}

static void assert_url(const char *config, const char *expected)
{
    struct node_http http = requested(config);
    assert_string_equal((const char *)http.url.data, expected);
    assert_int_equal(http.url.len, strlen(expected));
    nodes_http_fini(&http);
}

static void a_url_is_filled_in_and_stays_one(void **state)
{
    (void)state;
    assert_url("{'url':'http://h/f?city={{/inputs/city}}'}", "http://h/f?city=New%20York");
    assert_url("{'url':'https://{{/inputs/host}}:8443/{{/inputs/umlaut}}'}",
        "https://api.example.com:8443/K%C3%B6ln");
    assert_url("{'url':'HTTP://[::1]:80'}", "HTTP://[::1]:80");
}

static void a_url_that_leads_elsewhere_is_refused(void **state)
{
    (void)state;
    assert_refused("{'url':'{{/inputs/scheme}}:///etc/passwd'}", "begin with http:// or https://");
    assert_refused("{'url':'gopher://h/'}", "begin with http:// or https://");
    assert_refused("{'url':'http://{{/inputs/user}}/'}", "credentials");
    assert_refused("{'url':'http://h/{{/inputs/evil}}'}", "control character");
    assert_refused("{'url':'http://h\\\\@evil/'}", "backslash");
    assert_refused("{'url':'http:///x'}", "no host");
    assert_refused("{'url':'http://:80/'}", "no host");
    assert_refused("{'url':'http://{{/inputs/city}}/'}", "host");
    assert_refused("{'url':'http://{{/inputs/umlaut}}/'}", "host");
    assert_refused("{'url':'http://a%2fb/'}", "host");
    assert_refused("{'url':'{{/inputs/list}}'}", "url: ");
    assert_refused("{'url':'{{/inputs/nothing}}'}", "there is no \"/inputs/nothing\"");
    assert_refused("{}", "url: the node's config needs it");
}

static void the_method_is_get_or_post_with_a_body_or_what_was_said(void **state)
{
    (void)state;
    struct node_http http = requested("{'url':'http://h/'}");
    assert_string_equal(http.method, "GET");
    assert_int_equal(http.body.len, 0);
    nodes_http_fini(&http);
    http = requested("{'url':'http://h/','body':1}");
    assert_string_equal(http.method, "POST");
    nodes_http_fini(&http);
    http = requested("{'url':'http://h/','body':1,'method':'PUT'}");
    assert_string_equal(http.method, "PUT");
    nodes_http_fini(&http);
}

static void a_body_says_what_it_is(void **state)
{
    (void)state;
    struct node_http http = requested("{'url':'http://h/','body':{'p':'{{/payload}}'}}");
    assert_true(span_equal(span_of(http.body.data, http.body.len), span_str("{\"p\":{\"q\":1}}")));
    assert_json(json_incref(http.headers), "{'Content-Type':'application/json'}");
    nodes_http_fini(&http);

    http = requested("{'url':'http://h/','body':'in {{/inputs/city}}'}");
    assert_true(span_equal(span_of(http.body.data, http.body.len), span_str("in New York")));
    assert_json(json_incref(http.headers), "{'Content-Type':'text/plain; charset=utf-8'}");
    nodes_http_fini(&http);

    http = requested("{'url':'http://h/','body':'<a/>','headers':{'content-type':'text/xml'}}");
    assert_json(json_incref(http.headers), "{'content-type':'text/xml'}");
    nodes_http_fini(&http);
}

static void headers_are_text_and_null_is_none(void **state)
{
    (void)state;
    struct node_http http =
        requested("{'url':'http://h/','headers':{'X-City':'{{/inputs/city}}','X-N':'{{/inputs/n}}',"
                  "'X-None':'{{/inputs/none}}','X-Default':'{{/inputs/x | null}}','X-Empty':''}}");
    assert_json(json_incref(http.headers), "{'X-City':'New York','X-Empty':'','X-N':'5'}");
    nodes_http_fini(&http);
}

static void nobody_puts_a_header_into_a_header(void **state)
{
    (void)state;
    assert_refused("{'url':'http://h/','headers':{'X':'{{/inputs/evil}}'}}",
        "headers.X: a header's value has a control character");
    assert_refused("{'url':'http://h/','headers':{'X\\r\\nY':'1'}}", "a header's name");
    assert_refused("{'url':'http://h/','headers':{'X: 1':'1'}}", "a header's name");
    assert_refused("{'url':'http://h/','headers':{'':'1'}}", "1 to 256 bytes");
    assert_refused(
        "{'url':'http://h/','headers':{'transfer-Encoding':'chunked'}}", "not yours to set");
    assert_refused("{'url':'http://h/','headers':{'X':'{{/inputs/list}}'}}", "expected text");
}

static void a_request_is_bounded(void **state)
{
    (void)state;
    char why[NODES_WHY_MAX], config[12000] = "{'url':'http://h/";
    struct node_http http = {0};

    assert_refused("{'url':'http://h/','body':['{{/inputs}}','{{/inputs}}','{{/inputs}}']}",
        "body/0: what comes out is too large");
    memset(config + strlen(config), 'x', 3000);
    memcpy(config + strlen(config), "{{/inputs/city}}'}", 19);
    assert_int_equal(request(config, 100, &http, why), 0);
    assert_int_equal(http.bytes_max, 100);
    nodes_http_fini(&http);

    assert_int_equal(request("{'url':'http://h/','max_bytes':50}", 100, &http, why), 0);
    assert_int_equal(http.bytes_max, 50);
    nodes_http_fini(&http);
    assert_int_equal(request("{'url':'http://h/','max_bytes':500}", 100, &http, why), 0);
    assert_int_equal(http.bytes_max, 100);
    nodes_http_fini(&http);
}

static void without_memory_nothing_is_left_behind(void **state)
{
    (void)state;
    struct workflow_node node = node_of("http",
        "{'url':'http://h/{{/inputs/city}}','headers':{'X':'a{{/inputs/n}}'},'body':{'a':1}}");
    json_t *root = json_of(document);
    char why[NODES_WHY_MAX];
    int err = -ENOMEM;

    for (int64_t n = 0; err == -ENOMEM; n++) {
        struct node_http http = {0};
        mem_fail_after(n);
        err = nodes_http(&node, root, 4096, &http, why);
        mem_fail_after(-1);
        assert_true(n < 100 && (err == 0) == (http.url.data != NULL));
        assert_true(n > 0 || err);
        nodes_http_fini(&http);
    }
    assert_int_equal(err, 0);
    json_decref(root);
    json_decref(node.config);
}

/* ---- answers ---- */

static int answered(const char *config, int status, const char *type, struct span body,
    json_t **ret_result, bool *ret_again, char why[NODES_WHY_MAX])
{
    struct workflow_node node = node_of("http", config);
    struct flow_http_header headers[] = {
        {span_str("content-type"), span_str(type)},
        {span_str("vary"), span_str("a")},
        {span_str("vary"), span_str("b")},
        {span_str("x-bad"), span_str("\xff")},
    };
    struct flow_http http = {.status = status,
        .ret_headers = headers,
        .ret_header_count = COUNT_OF(headers),
        .ret_body = body};
    int err = nodes_http_result(&node, &http, ret_result, ret_again, why);

    json_decref(node.config);
    return err;
}

static void assert_answer(const char *type, const char *body, size_t len, const char *expected)
{
    char why[NODES_WHY_MAX] = "", want[500];
    bool again = false;
    json_t *made = NULL;

    assert_int_equal(answered("{}", 200, type, span_of(body, len), &made, &again, why), 0);
    snprintf(want, sizeof(want),
        "{'body':%s,'headers':{'content-type':'%s','vary':'a, b'},'status':200}", expected, type);
    assert_json(made, want);
}

static void an_answer_is_json_or_text_or_bytes(void **state)
{
    (void)state;
    assert_answer("application/json", "{\"a\":[1.0]}", 11, "{'a':[1]}");
    assert_answer("application/problem+JSON; charset=utf-8", "5", 1, "5");
    assert_answer("application/json", "{oops", 5, "'{oops'");
    assert_answer("application/json", "", 0, "''");
    assert_answer("text/plain", "{\"a\":1}", 7, "'{\\'a\\':1}'");
    assert_answer("text/plain; note=json", "5", 1, "'5'");
    assert_answer("image/png", "\x89PNG", 4, "{'base64':'iVBORw=='}");
    assert_answer("application/json", "\"\xff\"", 3, "{'base64':'Iv8i'}");
}

static void json_too_deep_to_be_stored_stays_text(void **state)
{
    (void)state;
    char why[NODES_WHY_MAX], body[200];
    bool again = false;
    json_t *made = NULL;

    for (int depth = 63; depth <= 64; depth++) {
        memset(body, '[', (size_t)depth);
        memset(body + depth, ']', (size_t)depth);
        assert_int_equal(answered("{}", 200, "application/json", span_of(body, 2 * (size_t)depth),
                             &made, &again, why),
            0);
        assert_int_equal(json_is_array(json_object_get(made, "body")), depth == 63);
        json_decref(made);
    }
}

static bool worth_another(const char *config, int status)
{
    char why[NODES_WHY_MAX] = "", number[12];
    bool again = false;
    json_t *made = NULL;

    assert_int_equal(
        answered(config, status, "text/plain", span_str("no\nsuch"), &made, &again, why), -EINVAL);
    snprintf(number, sizeof(number), "%d", status);
    assert_non_null(strstr(why, number));
    assert_non_null(strstr(why, "no?such"));
    return again;
}

static void a_status_nobody_expected_fails_and_may_be_worth_another_attempt(void **state)
{
    (void)state;
    static const int pass[] = {408, 425, 429, 500, 502, 503, 504},
                     stay[] = {301, 400, 401, 404, 410};
    for (size_t i = 0; i < COUNT_OF(pass); i++) {
        assert_true(worth_another("{}", pass[i]));
    }
    for (size_t i = 0; i < COUNT_OF(stay); i++) {
        assert_false(worth_another("{}", stay[i]));
    }
}

static void expect_names_all_that_is_expected(void **state)
{
    (void)state;
    char why[NODES_WHY_MAX];
    bool again = false;
    json_t *made = NULL;

    assert_int_equal(
        answered("{'expect':[404]}", 404, "text/plain", span_str(""), &made, &again, why), 0);
    json_decref(made);
    assert_false(worth_another("{'expect':[404]}", 200));
    assert_true(worth_another("{'expect':[404]}", 500));
}

static void no_answer_fails_with_its_reason(void **state)
{
    (void)state;
    char why[NODES_WHY_MAX] = "";
    bool again = false;
    json_t *made = NULL;
    struct workflow_node node = node_of("http", "{}");
    struct flow_http http = {.err = -ECONNREFUSED, .why = "nobody listens there"};

    assert_int_equal(nodes_http_result(&node, &http, &made, &again, why), -EINVAL);
    assert_string_equal(why, "nobody listens there");
    assert_true(again);
    http.err = -EMSGSIZE;
    assert_int_equal(nodes_http_result(&node, &http, &made, &again, why), -EINVAL);
    assert_false(again);
    json_decref(node.config);
}

static void headers_of_an_answer_are_bounded(void **state)
{
    (void)state;
    char why[NODES_WHY_MAX], names[200][8], large[9000];
    bool again = false;
    json_t *made = NULL;
    struct flow_http_header headers[203];
    struct workflow_node node = node_of("http", "{}");
    struct flow_http http = {.status = 200, .ret_headers = headers, .ret_header_count = 203};

    memset(large, 'x', sizeof(large));
    headers[0] = (struct flow_http_header){span_str("large"), span_of(large, sizeof(large))};
    headers[1] = (struct flow_http_header){span_str("twice"), span_of(large, 5000)};
    headers[2] = (struct flow_http_header){span_str("twice"), span_of(large, 5000)};
    for (size_t i = 0; i < 200; i++) {
        snprintf(names[i], sizeof(names[i]), "h%zu", i);
        headers[3 + i] = (struct flow_http_header){span_str(names[i]), span_str("v")};
    }
    assert_int_equal(nodes_http_result(&node, &http, &made, &again, why), 0);
    const json_t *kept = json_object_get(made, "headers");
    assert_int_equal(json_object_size(kept), 64);
    assert_null(json_object_get(kept, "large"));
    assert_int_equal(json_string_length(json_object_get(kept, "twice")), 5000);
    json_decref(made);
    json_decref(node.config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_url_is_filled_in_and_stays_one),
        cmocka_unit_test(a_url_that_leads_elsewhere_is_refused),
        cmocka_unit_test(the_method_is_get_or_post_with_a_body_or_what_was_said),
        cmocka_unit_test(a_body_says_what_it_is),
        cmocka_unit_test(headers_are_text_and_null_is_none),
        cmocka_unit_test(nobody_puts_a_header_into_a_header),
        cmocka_unit_test(a_request_is_bounded),
        cmocka_unit_test(without_memory_nothing_is_left_behind),
        cmocka_unit_test(an_answer_is_json_or_text_or_bytes),
        cmocka_unit_test(json_too_deep_to_be_stored_stays_text),
        cmocka_unit_test(a_status_nobody_expected_fails_and_may_be_worth_another_attempt),
        cmocka_unit_test(expect_names_all_that_is_expected),
        cmocka_unit_test(no_answer_fails_with_its_reason),
        cmocka_unit_test(headers_of_an_answer_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
