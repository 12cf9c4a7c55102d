/* Conditions: what an edge's `when` says of a node's result.
 *
 * Written as text, "POINTER OP VALUE", or as an object; both mean the same:
 *
 *   "/price < 500"                          {"pointer":"/price","op":"<","value":500}
 *   "/status == \"ok\""                     {"pointer":"/status","op":"==","value":"ok"}
 *   "/city in [\"NYC\",\"LA\"]"             {"pointer":"/city","op":"in","value":["NYC","LA"]}
 *   "/tags contains \"x\""                  {"pointer":"/tags","op":"contains","value":"x"}
 *   "/error exists", "/error missing"       {"pointer":"/error","op":"exists"}
 *                                           {"all":[…]}, {"any":[…]}, {"not":…}
 *
 * POINTER is a JSON pointer (pointer.h; "" is the whole result); in text it ends at the first
 * space. VALUE is JSON. Ops: == != < <= > >= in contains exists missing. Numbers compare by value
 * (1 == 1.0), strings by code point; two values of different kinds are only ever unequal, and not
 * in order. A value that is missing makes every op false but `missing` and `!=`. The VALUE of `in`
 * is an array; `contains` looks for an element of an array, or for a piece of a string. all of
 * nothing holds, any of nothing does not; what they are made of may be text or objects.
 *
 * Pure.
 */
#ifndef FLOW_CONDITION_H
#define FLOW_CONDITION_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "flow/pointer.h" /* IWYU pragma: export */

struct condition;

enum {
    CONDITION_DEPTH_MAX = 16,
    CONDITION_PARTS_MAX = 1000, /* Comparisons, all, any and not, and each value of an `in`. */
    CONDITION_WHY_MAX = 200,
};

/* Compiles; shares the values in when. Returns 0 and gives it; -EINVAL with one sentence in why; or -ENOMEM. */
MUST_USE int condition_compile(
    const json_t *when, struct condition **ret_condition, char why[CONDITION_WHY_MAX]);
void condition_free(struct condition *condition); /* NULL is fine. */

/* How many parts it has: what asking it costs. */
size_t condition_parts(const struct condition *condition);

/* result may be NULL: nothing exists in it. */
bool condition_holds(const struct condition *condition, const json_t *result);

#endif
