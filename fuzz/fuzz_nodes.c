/* Nodes: every fault is a line of text; whatever a config says and the data is, a node's work ends
 * with a result that can be stored, or with a sentence. What would be sent to somebody's server is
 * one URL and one line for each header. Lines: the type, the config, the document; what is left is
 * an HTTP answer's body. */
#include <errno.h>

#include "flow/nodes.h"
#include "fuzz/flow_input.h"

enum { BYTES_MAX = 4096 };

static const char *type_of(struct span line)
{
    for (size_t i = 0; node_types[i].name; i++) {
        if (span_equal(line, span_str(node_types[i].name))) {
            return node_types[i].name;
        }
    }
    return "other";
}

static void check_refusal(int err, const char *why)
{
    CHECK(err == -EINVAL);
    flow_check_sentence(why, NODES_WHY_MAX);
}

static void check_line(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        CHECK((text.data[i] >= 0x20 && text.data[i] != 0x7f) || text.data[i] == '\t');
    }
}

static void try_request(const struct workflow_node *node, const json_t *document)
{
    char why[NODES_WHY_MAX] = "";
    struct node_http http = {0};
    const char *key;
    size_t key_len;
    json_t *value;
    int err = nodes_http(node, document, BYTES_MAX, &http, why);

    if (err) {
        check_refusal(err, why);
        return;
    }
    CHECK(http.url.data[http.url.len] == 0 && strlen((char *)http.url.data) == http.url.len);
    for (size_t i = 0; i < http.url.len; i++) {
        CHECK(http.url.data[i] > 0x20 && http.url.data[i] < 0x7f && http.url.data[i] != '\\');
    }
    CHECK(strncasecmp((char *)http.url.data, "http", 4) == 0);
    json_object_keylen_foreach(http.headers, key, key_len, value)
    {
        CHECK(key_len > 0 && !memchr(key, ':', key_len) && !memchr(key, ' ', key_len));
        check_line(span_of(key, key_len));
        check_line(span_of(json_string_value(value), json_string_length(value)));
    }
    CHECK(strlen(http.method) >= 3 && http.bytes_max <= BYTES_MAX);
    nodes_http_fini(&http);
}

static void try_answer(const struct workflow_node *node, struct span body)
{
    char why[NODES_WHY_MAX] = "";
    bool again = false;
    json_t *made = NULL;
    struct flow_http_header headers[] = {
        {span_str("content-type"), span_str("application/json")},
        {span_str("x-line"), flow_line(&body)},
    };
    struct flow_http http = {
        .status = 200, .ret_headers = headers, .ret_header_count = 2, .ret_body = body};

    int err = nodes_http_result(node, &http, &made, &again, why);
    if (err) {
        check_refusal(err, why);
        return;
    }
    json_decref(flow_check_result(made, SIZE_MAX));
    json_decref(made);
}

static void try_eval(const struct workflow_node *node, const json_t *document)
{
    char why[NODES_WHY_MAX] = "";
    json_t *made = NULL;

    int err =
        nodes_eval(node, document, json_object_get(document, "results"), BYTES_MAX, &made, why);
    if (err) {
        check_refusal(err, why);
        return;
    }
    json_decref(flow_check_result(made, BYTES_MAX));
    json_decref(made);
}

static void try_rest(const struct workflow_node *node, const json_t *document)
{
    char why[NODES_WHY_MAX] = "";
    uint64_t ms = 0;
    struct bytes question = {0};
    const char *message = NULL;

    int err = nodes_delay(node, document, &ms, why);
    if (err) {
        check_refusal(err, why);
    }
    CHECK(ms <= 366ULL * 24 * 3600 * 1000);
    err = nodes_question(node, document, &question, why);
    if (err) {
        check_refusal(err, why);
    }
    CHECK(utf8_valid(question.data, question.len) && question.len < 8 * NODES_QUESTION_MAX);
    bytes_fini(&question);
    (void)nodes_reject_fails(node);
    CHECK(!nodes_fails(node, 1, &message) || message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = span_of(data, size);
    struct workflow_node node = {.id = (char *)"n", .type = (char *)type_of(flow_line(&rest))};
    struct workflow_faults faults = {0};
    json_t *document;

    node.config = flow_json(flow_line(&rest));
    document = flow_json(flow_line(&rest));
    nodes_check(NULL, "nodes[0].config", node.type, node.config, &faults);
    for (uint32_t i = 0; i < faults.count; i++) {
        flow_check_sentence(faults.lines[i], 4096);
    }
    /* Whether the check passed or not: a store may bring back what it never saw. */
    if (json_is_object(node.config)) {
        try_eval(&node, document);
        try_request(&node, document);
        try_answer(&node, rest);
        try_rest(&node, document);
    }
    struct span stream = node_stream(rest, "a, b,,other");
    CHECK(stream.len <= rest.len || stream.len == strlen("default"));
    workflow_faults_fini(&faults);
    json_decref(node.config);
    json_decref(document);
    return 0;
}
