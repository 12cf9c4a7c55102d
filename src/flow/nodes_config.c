#include "flow/nodes_config.h"

#include <errno.h>

#include "flow/canon.h"
#include "flow/pointer.h"
#include "flow/template.h"
#include "flow/value.h"
#include "flow/why.h"

/* ---- the table ---- */

static const char *const orders[] = {"asc", "desc", NULL};
static const char *const ops[] = {
    "collect", "merge", "concat", "count", "sum", "min", "max", "avg", NULL};
static const char *const rejections[] = {"fail", "continue", NULL};
static const char *const methods[] = {
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", NULL};

static const struct config_member transform_members[] = {
    {.name = "output", .kind = CONFIG_TEMPLATE},
    {0},
};
static const struct config_member filter_members[] = {
    {.name = "items", .kind = CONFIG_POINTER},
    {.name = "where", .kind = CONFIG_WHEN},
    {.name = "sort", .kind = CONFIG_SORT},
    {.name = "limit", .kind = CONFIG_NUMBER, .min = 0, .max = INT32_MAX},
    {0},
};
const struct config_member config_sort_members[] = {
    {.name = "by", .kind = CONFIG_FIELD, .required = true},
    {.name = "order", .kind = CONFIG_CHOICE, .choices = orders},
    {0},
};
static const struct config_member aggregate_members[] = {
    {.name = "from", .kind = CONFIG_POINTERS},
    {.name = "op", .kind = CONFIG_CHOICE, .choices = ops},
    {.name = "field", .kind = CONFIG_FIELD},
    {0},
};
static const struct config_member delay_members[] = {
    {.name = "ms", .kind = CONFIG_DELAY, .required = true, .min = 0, .max = NODES_DELAY_MAX_MS},
    {0},
};
static const struct config_member hitl_members[] = {
    {.name = "message", .kind = CONFIG_TEMPLATE, .required = true},
    {.name = "on_reject", .kind = CONFIG_CHOICE, .choices = rejections},
    {0},
};
static const struct config_member http_members[] = {
    {.name = "url", .kind = CONFIG_URL, .required = true},
    {.name = "method", .kind = CONFIG_CHOICE, .choices = methods},
    {.name = "headers", .kind = CONFIG_HEADERS},
    {.name = "body", .kind = CONFIG_TEMPLATE},
    {.name = "expect", .kind = CONFIG_STATUSES},
    {.name = "max_bytes", .kind = CONFIG_NUMBER, .min = 1, .max = NODES_ANSWER_MAX},
    {0},
};
static const struct config_member fail_members[] = {
    {.name = "message", .kind = CONFIG_TEXT},
    {.name = "times", .kind = CONFIG_NUMBER, .min = 0, .max = INT32_MAX},
    {0},
};

static const struct {
    const char *type;
    const struct config_member *members;
} shapes[] = {
    {"transform", transform_members},
    {"filter", filter_members},
    {"aggregate", aggregate_members},
    {"delay", delay_members},
    {"hitl", hitl_members},
    {"http", http_members},
    {"fail", fail_members},
};

const struct config_member *config_members(const char *type)
{
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        if (strcmp(type, shapes[i].type) == 0) {
            return shapes[i].members;
        }
    }
    return NULL;
}

/* ---- reading ---- */

bool config_number(const json_t *value, int64_t *ret_number)
{
    double real = json_real_value(value);

    if (json_is_integer(value)) {
        *ret_number = json_integer_value(value);
        return true;
    }
    if (!json_is_real(value) || !(real > -9e15 && real < 9e15) || (double)(int64_t)real != real) {
        return false;
    }
    *ret_number = (int64_t)real;
    return true;
}

const char *config_find_choice(const json_t *value, const char *const *choices)
{
    for (; *choices; choices++) {
        if (span_equal(config_span(value), span_str(*choices))) {
            return *choices;
        }
    }
    return NULL;
}

const char *config_choice(
    const json_t *config, const struct config_member *members, const char *name)
{
    while (members->name && strcmp(members->name, name) != 0) {
        members++;
    }
    if (!members->choices) {
        return NULL;
    }
    const char *chosen = config_find_choice(json_object_get(config, name), members->choices);
    return chosen ? chosen : members->choices[0];
}

int config_fill(const char *member, const json_t *value, const json_t *document, size_t bytes_max,
    json_t **ret_value, char why[NODES_WHY_MAX])
{
    char finding[TEMPLATE_WHY_MAX] = "";

    if (!value) {
        why_say(why, NODES_WHY_MAX, "%s: the node's config needs it", member);
        return -EINVAL;
    }
    int err = template_fill(value, document, bytes_max, ret_value, finding);
    if (err && err != -ENOMEM) {
        why_say(why, NODES_WHY_MAX, "%s%s%s", member, finding[0] == '/' ? "" : ": ", finding);
        err = -EINVAL;
    }
    return err;
}

int config_text(const json_t *value, struct bytes *out)
{
    struct span text = config_span(value);

    if (json_is_string(value)) {
        return bytes_append(out, text.data, text.len);
    }
    int err = canon_append(out, value);
    return err == -ERANGE ? bytes_append_str(out, "null") : err;
}

/* ---- looking ---- */

/* Each string by itself, so that every fault is told. */
static void look_template(
    const struct config_look *look, const char *place, const json_t *value, size_t depth)
{
    char why[TEMPLATE_WHY_MAX], inner[CONFIG_PLACE_MAX];
    const char *key;
    size_t key_len, index;
    json_t *part;

    if (json_is_string(value)) {
        if (template_check(value, look->fn, look->ctx, why) && look->faults) {
            workflow_faults_add(look->faults, "%s: %s", place, why);
        }
        return;
    }
    if (depth == 0 && (json_is_array(value) || json_is_object(value))) {
        if (look->faults) {
            workflow_faults_add(look->faults, "%s: a template has 64 levels at most", place);
        }
        return;
    }
    json_array_foreach(value, index, part)
    {
        why_say(inner, sizeof(inner), "%s[%zu]", place, index);
        look_template(look, inner, part, depth - 1);
    }
    json_object_keylen_foreach((json_t *)value, key, key_len, part)
    {
        why_say(inner, sizeof(inner), "%s.%s", place, why_quote(span_of(key, key_len)).text);
        look_template(look, inner, part, depth - 1);
    }
}

static void look_pointer(const struct config_look *look, const char *place, const json_t *value)
{
    struct span pointer = config_span(value);
    const char *wrong = !json_is_string(value)    ? "expected a JSON pointer"
                        : !pointer_valid(pointer) ? "is no JSON pointer"
                                                  : look->fn(look->ctx, pointer);

    if (wrong && look->faults && json_is_string(value)) {
        workflow_faults_add(look->faults, "%s: \"%s\" %s", place, why_quote(pointer).text, wrong);
    } else if (wrong && look->faults) {
        workflow_faults_add(look->faults, "%s: %s", place, wrong);
    }
}

void config_look(
    const struct config_look *look, const char *place, const json_t *value, enum config_kind kind)
{
    char inner[CONFIG_PLACE_MAX];
    size_t index;
    json_t *part;

    switch (kind) {
    case CONFIG_POINTERS:
        json_array_foreach(value, index, part)
        {
            why_say(inner, sizeof(inner), "%s[%zu]", place, index);
            look_pointer(look, inner, part);
        }
        if (json_is_array(value)) {
            return;
        }
        look_pointer(look, place, value);
        return;
    case CONFIG_POINTER:
        look_pointer(look, place, value);
        return;
    case CONFIG_TEMPLATE:
    case CONFIG_DELAY:
    case CONFIG_URL:
    case CONFIG_HEADERS:
        look_template(look, place, value, VALUE_DEPTH_MAX);
        return;
    default:
        return;
    }
}
