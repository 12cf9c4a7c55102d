#include "flow/condition.h"

#include <errno.h>

#include "base/mem.h"
#include "base/nearest.h"
#include "flow/canon.h"
#include "flow/value.h"
#include "flow/why.h"

enum op {
    OP_EQUAL,
    OP_UNEQUAL,
    OP_LESS,
    OP_AT_MOST,
    OP_MORE,
    OP_AT_LEAST,
    OP_IN,
    OP_CONTAINS,
    OP_EXISTS,
    OP_MISSING,
    OP_ALL,
    OP_ANY,
    OP_NOT,
};

/* The first OP_ALL of them can be written as "op". */
static const char *const op_names[] = {
    "==", "!=", "<", "<=", ">", ">=", "in", "contains", "exists", "missing", "all", "any", "not"};

struct condition {
    enum op op;
    char *pointer; /* Of a comparison; not terminated. */
    size_t pointer_len;
    json_t *value;            /* Shared; NULL: the op has none. */
    struct condition **parts; /* Of all, any, not. */
    size_t part_count;
};

/* What compiling needs everywhere. */
struct compiler {
    char *why;
    unsigned depth;
    size_t left; /* Parts that there may still be. */
};

static int compile(struct compiler *compiler, const json_t *when, struct condition **ret_condition);

void condition_free(struct condition *condition)
{
    if (!condition) {
        return;
    }
    for (size_t i = 0; i < condition->part_count; i++) {
        condition_free(condition->parts[i]);
    }
    mem_free(condition->parts);
    mem_free(condition->pointer);
    json_decref(condition->value);
    mem_free(condition);
}

static int refuse(struct compiler *compiler, const char *finding, struct span what, const char *end)
{
    why_say(compiler->why, CONDITION_WHY_MAX, "%s%s%s", finding, why_quote(what).text, end);
    return -EINVAL;
}

static int find_op(struct compiler *compiler, struct span name, enum op *ret_op)
{
    struct nearest nearest = {0};

    for (int i = 0; i < OP_ALL; i++) {
        if (span_equal(name, span_str(op_names[i]))) {
            *ret_op = (enum op)i;
            return 0;
        }
        nearest_try(&nearest, name, op_names[i]);
    }
    if (nearest.name[0]) {
        why_say(compiler->why, CONDITION_WHY_MAX, "\"%s\" is no comparison; did you mean \"%s\"?",
            why_quote(name).text, nearest.name);
        return -EINVAL;
    }
    return refuse(compiler, "\"", name,
        "\" is no comparison; there are == != < <= > >= in contains exists missing");
}

static bool take_parts(struct compiler *compiler, size_t count)
{
    if (count > compiler->left) {
        why_say(compiler->why, CONDITION_WHY_MAX, "a condition has %d parts at most",
            CONDITION_PARTS_MAX);
        return false;
    }
    compiler->left -= count;
    return true;
}

static bool op_has_value(enum op op)
{
    return op != OP_EXISTS && op != OP_MISSING;
}

/* A comparison, however it was written. Shares value, which is NULL when there was none. */
static int make_test(struct compiler *compiler, struct span pointer, struct span op_name,
    json_t *value, struct condition **ret_condition)
{
    enum op op = OP_EQUAL;
    int err = find_op(compiler, op_name, &op);

    if (err) {
        return err;
    }
    if (!pointer_valid(pointer)) {
        return refuse(compiler, "\"", pointer,
            "\" is no JSON pointer: one is empty or begins with \"/\", and has ~ only in ~0 and "
            "~1");
    }
    if (op_has_value(op) != (value != NULL)) {
        return refuse(compiler, "\"", op_name,
            value ? "\" compares with nothing, so no value belongs here"
                  : "\" wants a value to compare with");
    }
    if (op == OP_IN && !json_is_array(value)) {
        return refuse(compiler, "\"", op_name, "\" wants an array of values");
    }
    if (op == OP_IN && !take_parts(compiler, json_array_size(value))) {
        return -EINVAL;
    }
    struct condition *made = mem_try_zalloc(sizeof(*made));
    char *copy = mem_try_alloc(pointer.len + 1);
    if (!made || !copy) {
        mem_free(made);
        mem_free(copy);
        return -ENOMEM;
    }
    if (pointer.len) {
        memcpy(copy, pointer.data, pointer.len);
    }
    *made = (struct condition){
        .op = op, .pointer = copy, .pointer_len = pointer.len, .value = json_incref(value)};
    *ret_condition = made;
    return 0;
}

/* Takes bytes up to the next space, and the spaces behind them. */
static struct span take_word(struct span *text)
{
    size_t len = 0, next;

    while (len < text->len && text->data[len] != ' ') {
        len++;
    }
    for (next = len; next < text->len && text->data[next] == ' '; next++) {
    }
    struct span word = span_of(text->data, len);
    *text = span_of(text->data + next, text->len - next);
    return word;
}

static int compile_text(
    struct compiler *compiler, struct span text, struct condition **ret_condition)
{
    struct span rest = text;
    struct span pointer = take_word(&rest);
    struct span op = take_word(&rest);
    json_t *value = NULL;

    if (op.len == 0) {
        return refuse(compiler, "\"", text,
            "\" is no condition; expected POINTER OP VALUE, e.g. \"/price < 500\"");
    }
    if (rest.len) {
        char why[CONDITION_WHY_MAX / 2];
        value = json_read(rest, why, sizeof(why));
        if (!value && errno == ENOMEM) {
            return -ENOMEM;
        }
        if (!value) {
            struct why_quote quote = why_quote(rest);
            why_say(compiler->why, CONDITION_WHY_MAX, "\"%s\" is no JSON (text wants quotes): %s",
                quote.text, why);
            return -EINVAL;
        }
    }
    int err = make_test(compiler, pointer, op, value, ret_condition);
    json_decref(value);
    return err;
}

static int compile_test(
    struct compiler *compiler, const json_t *when, struct condition **ret_condition)
{
    const json_t *pointer = json_object_get(when, "pointer"), *op = json_object_get(when, "op");
    json_t *value = json_object_get(when, "value");
    size_t known = 0;

    known += pointer != NULL;
    known += op != NULL;
    known += value != NULL;
    if (!json_is_string(pointer) || !json_is_string(op) || known != json_object_size(when)) {
        why_say(compiler->why, CONDITION_WHY_MAX,
            "a condition is {\"pointer\",\"op\",\"value\"?} with text for the first two, or one of "
            "{\"all\":[…]}, {\"any\":[…]}, {\"not\":…}");
        return -EINVAL;
    }
    return make_test(compiler, span_of(json_string_value(pointer), json_string_length(pointer)),
        span_of(json_string_value(op), json_string_length(op)), value, ret_condition);
}

/* all, any and not: not is of one part. */
static int compile_parts(
    struct compiler *compiler, enum op op, const json_t *parts, struct condition **ret_condition)
{
    size_t count = op == OP_NOT ? 1 : json_array_size(parts);
    struct condition *made;
    int err = 0;

    if (op != OP_NOT && !json_is_array(parts)) {
        return refuse(compiler, "\"", span_str(op_names[op]), "\" wants an array of conditions");
    }
    made = mem_try_zalloc(sizeof(*made));
    struct condition **room = mem_try_zalloc((count + 1) * sizeof(*room));
    if (!made || !room) {
        mem_free(made);
        mem_free(room);
        return -ENOMEM;
    }
    made->op = op;
    made->parts = room;
    while (!err && made->part_count < count) {
        const json_t *part = op == OP_NOT ? parts : json_array_get(parts, made->part_count);
        err = compile(compiler, part, &made->parts[made->part_count]);
        made->part_count += !err;
    }
    if (err) {
        condition_free(made);
        return err;
    }
    *ret_condition = made;
    return 0;
}

static int compile(struct compiler *compiler, const json_t *when, struct condition **ret_condition)
{
    int err = -EINVAL;

    if (compiler->depth == CONDITION_DEPTH_MAX) {
        why_say(compiler->why, CONDITION_WHY_MAX, "conditions are more than %d levels deep",
            CONDITION_DEPTH_MAX);
        return err;
    }
    if (!take_parts(compiler, 1)) {
        return err;
    }
    if (json_is_string(when)) {
        return compile_text(
            compiler, span_of(json_string_value(when), json_string_length(when)), ret_condition);
    }
    if (!json_is_object(when)) {
        why_say(compiler->why, CONDITION_WHY_MAX, "a condition is text or an object");
        return err;
    }
    compiler->depth++;
    for (int op = OP_ALL; op <= OP_NOT; op++) {
        const json_t *parts = json_object_get(when, op_names[op]);
        if (parts && json_object_size(when) == 1) {
            err = compile_parts(compiler, (enum op)op, parts, ret_condition);
            compiler->depth--;
            return err;
        }
    }
    err = compile_test(compiler, when, ret_condition);
    compiler->depth--;
    return err;
}

int condition_compile(
    const json_t *when, struct condition **ret_condition, char why[CONDITION_WHY_MAX])
{
    struct compiler compiler = {.why = why, .left = CONDITION_PARTS_MAX};
    struct condition *made = NULL;
    int err = compile(&compiler, when, &made);

    if (!err) {
        *ret_condition = made;
    }
    return err;
}

size_t condition_parts(const struct condition *condition)
{
    size_t count = condition->op == OP_IN ? 1 + json_array_size(condition->value) : 1;

    for (size_t i = 0; i < condition->part_count; i++) {
        count += condition_parts(condition->parts[i]);
    }
    return count;
}

static bool contains(const json_t *found, const json_t *wanted)
{
    size_t index;
    json_t *element;

    if (json_is_string(found) && json_is_string(wanted)) {
        size_t len = json_string_length(wanted);
        return len == 0 || memmem(json_string_value(found), json_string_length(found),
                               json_string_value(wanted), len) != NULL;
    }
    json_array_foreach(found, index, element)
    {
        if (value_equal(element, wanted)) {
            return true;
        }
    }
    return false;
}

static bool test_holds(const struct condition *test, const json_t *found)
{
    int order = 0;

    if (!found) {
        return test->op == OP_MISSING || test->op == OP_UNEQUAL;
    }
    switch (test->op) {
    case OP_EQUAL:
        return value_equal(found, test->value);
    case OP_UNEQUAL:
        return !value_equal(found, test->value);
    case OP_LESS:
        return value_order(found, test->value, &order) && order < 0;
    case OP_AT_MOST:
        return value_order(found, test->value, &order) && order <= 0;
    case OP_MORE:
        return value_order(found, test->value, &order) && order > 0;
    case OP_AT_LEAST:
        return value_order(found, test->value, &order) && order >= 0;
    case OP_IN:
        return contains(test->value, found);
    case OP_CONTAINS:
        return contains(found, test->value);
    default:
        return test->op == OP_EXISTS;
    }
}

bool condition_holds(const struct condition *condition, const json_t *result)
{
    if (condition->op < OP_ALL) {
        return test_holds(
            condition, pointer_get(result, span_of(condition->pointer, condition->pointer_len)));
    }
    /* all: none fails; any and not: look for one that holds. */
    for (size_t i = 0; i < condition->part_count; i++) {
        if (condition_holds(condition->parts[i], result) == (condition->op != OP_ALL)) {
            return condition->op == OP_ANY;
        }
    }
    return condition->op != OP_ANY;
}
