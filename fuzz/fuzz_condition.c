/* Conditions: text and object mean the same, not is the opposite, and a result that was stored is
 * judged as it was before. A line is the condition (JSON, or the text itself), the next the result. */
#include <errno.h>

#include "flow/condition.h"
#include "fuzz/flow_input.h"

/* Gives it, or NULL: it was refused with a sentence. */
static struct condition *compile(const json_t *when)
{
    struct condition *condition = NULL;
    char why[CONDITION_WHY_MAX] = "";
    int err = condition_compile(when, &condition, why);

    CHECK(err == 0 || err == -EINVAL);
    CHECK((err == 0) == (condition != NULL));
    if (err) {
        flow_check_sentence(why, sizeof(why));
    }
    return condition;
}

/* Takes when. Too deep or too many parts is no answer: -1. */
static int answer(json_t *when, const json_t *result)
{
    struct condition *condition = compile(when);
    int holds = condition ? condition_holds(condition, result) : -1;

    condition_free(condition);
    json_decref(when);
    return holds;
}

static void check_same(json_t *when, const json_t *result, int expected)
{
    int holds = answer(when, result);
    CHECK(holds == expected || holds == -1);
}

/* The object that a text stands for; NULL when it is none. */
static json_t *object_of(const json_t *when)
{
    const char *text = json_string_value(when), *end = text + json_string_length(when);
    const char *space = memchr(text, ' ', (size_t)(end - text));
    if (!space) {
        return NULL;
    }
    const char *op = space;
    while (op < end && *op == ' ') {
        op++;
    }
    const char *op_end = op;
    while (op_end < end && *op_end != ' ') {
        op_end++;
    }
    json_t *object = json_pack(
        "{s:s%, s:s%}", "pointer", text, (size_t)(space - text), "op", op, (size_t)(op_end - op));
    CHECK(object);
    json_t *value = flow_json(span_of(op_end, (size_t)(end - op_end)));
    CHECK(!value || json_object_set_new(object, "value", value) == 0);
    return object;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = span_of(data, size);
    struct span line = flow_line(&rest);
    json_t *when = flow_json(line), *result = flow_json(rest);

    if (!when && utf8_valid(line.data, line.len)) {
        when = json_stringn(line.len ? (const char *)line.data : "", line.len);
    }
    struct condition *condition = when ? compile(when) : NULL;
    if (condition) {
        int holds = condition_holds(condition, result);
        check_same(json_pack("{s:O}", "not", when), result, !holds);
        check_same(json_pack("{s:[O]}", "all", when), result, holds);
        check_same(json_pack("{s:[O,O]}", "any", when, when), result, holds);
        if (json_is_string(when)) {
            CHECK(answer(object_of(when), result) == holds);
        }
        if (result) {
            json_t *stored = flow_check_result(result, SIZE_MAX);
            CHECK(condition_holds(condition, stored) == holds);
            json_decref(stored);
        }
    }
    condition_free(condition);
    json_decref(when);
    json_decref(result);
    return 0;
}
