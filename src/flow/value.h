/* Value: how two pieces of parsed JSON compare, and how large one is.
 *
 * Numbers are what canonical JSON keeps of them, doubles: 1 is 1.0, and an integer past 2^53 is
 * equal to its neighbour. So a result compares alike before it was stored and after.
 *
 * Pure.
 */
#ifndef FLOW_VALUE_H
#define FLOW_VALUE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"

enum { VALUE_DEPTH_MAX = 64 }; /* As json_read() takes it; nothing deeper is made here. */

bool value_equal(const json_t *a, const json_t *b);

/* Two numbers, or two strings (by code point): true, and *ret_order is negative, 0 or positive.
 * False: they are not in order. */
bool value_order(const json_t *a, const json_t *b, int *ret_order);

/* As value_order(), but all values have an order: null, false, true, numbers, strings, arrays,
 * objects; arrays are alike, and so are objects. For sorting. */
int value_rank(const json_t *a, const json_t *b);

/* Takes the value's size off *left: what its JSON text has at least. False when *left is not
 * enough (it is 0 then), or when the value has more than depth levels: an object or an array is
 * one more than what is in it, anything else is none. Walks no further than that. */
MUST_USE bool value_fits(const json_t *value, size_t depth, size_t *left);

#endif
