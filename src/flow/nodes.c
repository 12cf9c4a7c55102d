#include "flow/nodes.h"

#include <errno.h>

#include "flow/nodes_config.h"
#include "flow/why.h"

enum { HTTP_TIMEOUT_MS = 30000, SCALAR_BYTES_MAX = 1024 };

const struct node_type node_types[] = {
    {"agent", NODE_WORK_OUTSIDE, 0},
    {"classifier", NODE_WORK_OUTSIDE, 0},
    {"search", NODE_WORK_OUTSIDE, 0},
    {"function", NODE_WORK_OUTSIDE, 0},
    {"http", NODE_WORK_HTTP, HTTP_TIMEOUT_MS},
    {"hitl", NODE_WORK_HUMAN, 0},
    {"transform", NODE_WORK_EVAL, 0},
    {"aggregate", NODE_WORK_EVAL, 0},
    {"filter", NODE_WORK_EVAL, 0},
    {"delay", NODE_WORK_DELAY, 0},
    {"fail", NODE_WORK_FAIL, 0},
    {0},
};

static const struct node_type *find_row(struct span type)
{
    for (const struct node_type *row = node_types; row->name; row++) {
        if (span_equal(type, span_str(row->name))) {
            return row;
        }
    }
    return NULL;
}

const struct node_type *node_type_find(struct span type)
{
    static const struct node_type other = {"default", NODE_WORK_OUTSIDE, 0};
    const struct node_type *row = find_row(type);

    return row ? row : &other;
}

struct span node_stream(struct span type, const char *extra)
{
    struct span rest = span_str(extra ? extra : "");

    if (find_row(type)) {
        return type;
    }
    while (rest.len > 0) {
        const uint8_t *comma = memchr(rest.data, ',', rest.len);
        size_t len = comma ? (size_t)(comma - rest.data) : rest.len;
        struct span name = span_of(rest.data, len);
        while (name.len > 0 && name.data[0] == ' ') {
            name = span_of(name.data + 1, name.len - 1);
        }
        while (name.len > 0 && name.data[name.len - 1] == ' ') {
            name.len--;
        }
        if (type.len > 0 && span_equal(name, type)) {
            return type;
        }
        rest = comma ? span_of(comma + 1, rest.len - len - 1) : span_of(NULL, 0);
    }
    return span_str("default");
}

/* Reads what a template of one number became: the number itself, or its digits as text. */
static bool read_ms(const json_t *value, int64_t *ret_ms)
{
    struct span text = config_span(value);
    int64_t ms = 0;

    if (!json_is_string(value)) {
        return config_number(value, ret_ms);
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || ms > NODES_DELAY_MAX_MS) {
            return false;
        }
        ms = ms * 10 + (text.data[i] - '0');
    }
    *ret_ms = ms;
    return text.len > 0;
}

int nodes_delay(const struct workflow_node *node, const json_t *document, uint64_t *ret_ms,
    char why[NODES_WHY_MAX])
{
    const json_t *config = json_object_get(node->config, "ms");
    json_t *value = NULL;
    int64_t ms = 0;

    int err = config_fill("ms", config, document, SCALAR_BYTES_MAX, &value, why);
    if (err) {
        return err;
    }
    if (read_ms(value, &ms) && ms >= 0 && ms <= NODES_DELAY_MAX_MS) {
        *ret_ms = (uint64_t)ms;
    } else {
        why_say(why, NODES_WHY_MAX, "ms: expected a whole number of 0 to %lld, a year",
            NODES_DELAY_MAX_MS);
        err = -EINVAL;
    }
    json_decref(value);
    return err;
}

int nodes_question(const struct workflow_node *node, const json_t *document, struct bytes *out,
    char why[NODES_WHY_MAX])
{
    json_t *value = NULL;
    size_t before = out->len;

    int err = config_fill("message", json_object_get(node->config, "message"), document,
        NODES_QUESTION_MAX, &value, why);
    if (err) {
        return err;
    }
    err = config_text(value, out);
    if (err) {
        out->len = before;
    }
    json_decref(value);
    return err;
}

bool nodes_reject_fails(const struct workflow_node *node)
{
    const char *choice = config_choice(node->config, config_members("hitl"), "on_reject");
    return strcmp(choice, "fail") == 0;
}

bool nodes_fails(const struct workflow_node *node, uint32_t attempt, const char **ret_message)
{
    const json_t *message = json_object_get(node->config, "message");
    int64_t times = 0;

    if (config_number(json_object_get(node->config, "times"), &times) && attempt > times) {
        return false;
    }
    *ret_message = json_is_string(message) ? json_string_value(message) : "it is made to fail";
    return true;
}
