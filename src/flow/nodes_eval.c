/* What the coordinator works out itself: transform, filter, aggregate. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "flow/condition.h"
#include "flow/nodes.h"
#include "flow/nodes_config.h"
#include "flow/value.h"
#include "flow/why.h"

/* What working on a node needs. */
struct eval {
    const json_t *config, *document, *predecessors;
    size_t left; /* Bytes of the result that may still be. */
    char *why;
};

static int refuse(struct eval *eval, const char *finding)
{
    why_say(eval->why, NODES_WHY_MAX, "%s", finding);
    return -EINVAL;
}

static int refuse_pointer(
    struct eval *eval, const char *member, const json_t *pointer, const char *finding)
{
    why_say(eval->why, NODES_WHY_MAX, "%s: \"%s\" %s", member, why_quote(config_span(pointer)).text,
        finding);
    return -EINVAL;
}

static const char too_large[] = "the result is too large or too deep";

static json_t *shared(const json_t *value)
{
    return json_incref((json_t *)value);
}

static int eval_transform(struct eval *eval, json_t **ret_result)
{
    const json_t *output = json_object_get(eval->config, "output");

    if (output) {
        return config_fill("output", output, eval->document, eval->left, ret_result, eval->why);
    }
    const json_t *payload = json_object_get(eval->document, "payload");
    *ret_result = payload ? shared(payload) : json_null();
    return 0;
}

/* ---- filter ---- */

struct item {
    const json_t *value, *key; /* Borrowed; key: NULL when there is none to sort by. */
    size_t index;
    bool descending;
};

/* Items without a key come last whatever the order; equal ones stay as they were. */
static int order_items(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    int order = x->key && y->key ? value_rank(x->key, y->key) : 0;

    if (!x->key != !y->key) {
        return x->key ? -1 : 1;
    }
    if (order) {
        return (order > 0) == x->descending ? -1 : 1;
    }
    return (x->index > y->index) - (x->index < y->index);
}

static size_t select_items(
    struct eval *eval, const json_t *items, const struct condition *where, struct item *selected)
{
    const json_t *sort = json_object_get(eval->config, "sort");
    struct span by = config_span(json_object_get(sort, "by"));
    struct span order = config_span(json_object_get(sort, "order"));
    size_t index, count = 0;
    json_t *value;

    json_array_foreach(items, index, value)
    {
        if (where && !condition_holds(where, value)) {
            continue;
        }
        selected[count++] = (struct item){
            .value = value,
            .key = sort ? pointer_get(value, by) : NULL,
            .index = index,
            .descending = span_equal(order, span_str("desc")),
        };
    }
    if (sort) {
        qsort(selected, count, sizeof(*selected), order_items);
    }
    return count;
}

static int filter_result(
    struct eval *eval, const struct item *selected, size_t count, size_t total, json_t **ret_result)
{
    json_t *kept = json_array();
    int64_t limit = INT64_MAX;

    (void)config_number(json_object_get(eval->config, "limit"), &limit);
    count = (uint64_t)limit < count ? (size_t)limit : count;
    for (size_t i = 0; kept && i < count; i++) {
        if (json_array_append_new(kept, shared(selected[i].value))) {
            json_decref(kept);
            kept = NULL;
        }
    }
    if (!kept) {
        return -ENOMEM;
    }
    *ret_result = json_pack("{s:o, s:I, s:I}", "items", kept, "count", (json_int_t)count, "dropped",
        (json_int_t)(total - count));
    return *ret_result ? 0 : -ENOMEM;
}

static int eval_filter(struct eval *eval, json_t **ret_result)
{
    const json_t *pointer = json_object_get(eval->config, "items");
    const json_t *when = json_object_get(eval->config, "where");
    const json_t *items =
        pointer_get(eval->document, pointer ? config_span(pointer) : span_str("/payload"));
    struct condition *where = NULL;
    char why[CONDITION_WHY_MAX] = "";

    if (!json_is_array(items)) {
        return pointer ? refuse_pointer(eval, "items", pointer, "is no array")
                       : refuse(eval, "the payload is no array; items can name one");
    }
    int err = when ? condition_compile(when, &where, why) : 0;
    if (err) {
        return err == -ENOMEM ? err : refuse(eval, why);
    }
    size_t total = json_array_size(items);
    if (where && total > NODES_FILTER_MAX / condition_parts(where)) {
        condition_free(where);
        return refuse(eval, "where: its parts times the items are more than 10 million");
    }
    struct item *selected = mem_try_alloc((total + 1) * sizeof(*selected));
    err = -ENOMEM;
    if (selected) {
        size_t count = select_items(eval, items, where, selected);
        err = filter_result(eval, selected, count, total, ret_result);
    }
    mem_free(selected);
    condition_free(where);
    return err;
}

/* ---- aggregate ---- */

/* Values on their way into one. */
struct pile {
    struct eval *eval;
    const char *op;
    struct span field;
    json_t *made;     /* Of collect, merge and concat. */
    json_int_t whole; /* The sum while it is exact. */
    double real;      /* The sum, or the least, or the greatest. */
    bool exact;
    const json_t *best; /* Of min and max; borrowed. */
    json_int_t count, skipped;
};

static bool is_op(const struct pile *pile, const char *op)
{
    return strcmp(pile->op, op) == 0;
}

static int pile_number(struct pile *pile, const json_t *value)
{
    if (!json_is_number(value)) {
        return refuse(pile->eval, "there is something among the values that is no number");
    }
    if (!json_is_integer(value) ||
        __builtin_add_overflow(pile->whole, json_integer_value(value), &pile->whole)) {
        pile->exact = false;
    }
    pile->real += json_number_value(value);
    if (!pile->best || (is_op(pile, "min") ? value_rank(value, pile->best) < 0
                                           : value_rank(value, pile->best) > 0)) {
        pile->best = value;
    }
    return 0;
}

static int pile_array(struct pile *pile, const json_t *value)
{
    size_t index;
    json_t *part;

    if (!json_is_array(value)) {
        return refuse(pile->eval, "there is something among the values that is no array");
    }
    /* The same array may be named many times; so each time counts. */
    if (!value_fits(value, VALUE_DEPTH_MAX, &pile->eval->left)) {
        return refuse(pile->eval, too_large);
    }
    json_array_foreach(value, index, part)
    {
        if (json_array_append_new(pile->made, shared(part))) {
            return -ENOMEM;
        }
    }
    return 0;
}

/* key: the predecessor's name; NULL: it has none. */
static int pile_value(struct pile *pile, const char *key, const json_t *value)
{
    value = pointer_get(value, pile->field);
    if (!value) {
        pile->skipped++;
        return 0;
    }
    pile->count++;
    if (is_op(pile, "collect")) {
        int failed = key ? json_object_set_new(pile->made, key, shared(value))
                         : json_array_append_new(pile->made, shared(value));
        return failed ? -ENOMEM : 0;
    }
    if (is_op(pile, "concat")) {
        return pile_array(pile, value);
    }
    if (is_op(pile, "merge")) {
        return !json_is_object(value)
                   ? refuse(pile->eval, "there is something among the values that is no object")
               : json_object_update(pile->made, (json_t *)value) ? -ENOMEM
                                                                 : 0;
    }
    return is_op(pile, "count") ? 0 : pile_number(pile, value);
}

static int pile_predecessors(struct pile *pile)
{
    const char *key;
    json_t *value;
    int err = 0;

    json_object_foreach((json_t *)pile->eval->predecessors, key, value)
    {
        err = pile_value(pile, key, value);
        if (err) {
            break;
        }
    }
    return err;
}

static int pile_from(struct pile *pile, const json_t *from)
{
    struct eval *eval = pile->eval;
    bool several = json_is_array(from);
    const json_t *list = several ? from : pointer_get(eval->document, config_span(from));
    size_t index;
    json_t *part;

    if (!json_is_array(list)) {
        return refuse_pointer(eval, "from", from, "is no array");
    }
    if (several && json_array_size(from) > NODES_FROM_MAX) {
        return refuse(eval, "from: there are more than 100 pointers");
    }
    json_array_foreach(list, index, part)
    {
        const json_t *value = several ? pointer_get(eval->document, config_span(part)) : part;
        /* The result of a node that was skipped is missing, as it should be. */
        int err = value ? pile_value(pile, NULL, value) : 0;
        pile->skipped += !value;
        if (err) {
            return err;
        }
    }
    return 0;
}

/* The number that count, sum, min, max and avg come to; of nothing, a sum is 0 and the rest null. */
static json_t *pile_outcome(const struct pile *pile)
{
    if (is_op(pile, "count")) {
        return json_integer(pile->count);
    }
    if (is_op(pile, "sum")) {
        return pile->exact ? json_integer(pile->whole) : json_real(pile->real);
    }
    if (pile->count == 0) {
        return json_null();
    }
    if (is_op(pile, "avg")) {
        return json_real(pile->real / (double)pile->count);
    }
    return shared(pile->best);
}

static int pile_result(struct pile *pile, json_t **ret_result)
{
    if (pile->made) {
        *ret_result = pile->made;
        return 0;
    }
    bool adds = is_op(pile, "sum") || is_op(pile, "avg");
    if (adds && !isfinite(pile->real)) {
        return refuse(pile->eval, "the values add up to more than a number holds");
    }
    json_t *value = pile_outcome(pile);
    *ret_result = !value ? NULL
                         : json_pack("{s:s, s:o, s:I, s:I}", "op", pile->op, "value", value,
                               "count", pile->count, "skipped", pile->skipped);
    return *ret_result ? 0 : -ENOMEM;
}

static int eval_aggregate(struct eval *eval, json_t **ret_result)
{
    const json_t *from = json_object_get(eval->config, "from");
    struct pile pile = {
        .eval = eval,
        .op = config_choice(eval->config, config_members("aggregate"), "op"),
        .field = config_span(json_object_get(eval->config, "field")),
        .exact = true,
    };
    bool object = is_op(&pile, "merge") || (is_op(&pile, "collect") && !from);
    bool array = is_op(&pile, "concat") || (is_op(&pile, "collect") && from);

    if (object || array) {
        pile.made = object ? json_object() : json_array();
        if (!pile.made) {
            return -ENOMEM;
        }
    }
    int err = from ? pile_from(&pile, from) : pile_predecessors(&pile);
    err = err ? err : pile_result(&pile, ret_result);
    if (err) {
        json_decref(pile.made);
    }
    return err;
}

int nodes_eval(const struct workflow_node *node, const json_t *document, const json_t *predecessors,
    size_t bytes_max, json_t **ret_result, char why[NODES_WHY_MAX])
{
    struct eval eval = {
        .config = node->config,
        .document = document,
        .predecessors = predecessors,
        .left = bytes_max,
        .why = why,
    };
    json_t *made = NULL;
    int err = strcmp(node->type, "transform") == 0   ? eval_transform(&eval, &made)
              : strcmp(node->type, "filter") == 0    ? eval_filter(&eval, &made)
              : strcmp(node->type, "aggregate") == 0 ? eval_aggregate(&eval, &made)
                                                     : refuse(&eval, "nobody here works on that");

    if (err) {
        return err;
    }
    /* It is stored, and read again. */
    if (!value_fits(made, VALUE_DEPTH_MAX, &bytes_max)) {
        json_decref(made);
        return refuse(&eval, too_large);
    }
    *ret_result = made;
    return 0;
}
