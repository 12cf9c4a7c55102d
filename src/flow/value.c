#include "flow/value.h"

#include <string.h>

enum kind { KIND_NULL, KIND_FALSE, KIND_TRUE, KIND_NUMBER, KIND_STRING, KIND_ARRAY, KIND_OBJECT };

static enum kind kind_of(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return KIND_OBJECT;
    case JSON_ARRAY:
        return KIND_ARRAY;
    case JSON_STRING:
        return KIND_STRING;
    case JSON_INTEGER:
    case JSON_REAL:
        return KIND_NUMBER;
    case JSON_TRUE:
        return KIND_TRUE;
    case JSON_FALSE:
        return KIND_FALSE;
    case JSON_NULL:
        break;
    }
    return KIND_NULL;
}

static int order_numbers(const json_t *a, const json_t *b)
{
    double x = json_number_value(a), y = json_number_value(b);
    return (x > y) - (x < y);
}

/* UTF-8 sorts as its code points do. */
static int order_strings(const json_t *a, const json_t *b)
{
    size_t a_len = json_string_length(a), b_len = json_string_length(b);
    size_t len = a_len < b_len ? a_len : b_len;
    int order = len ? memcmp(json_string_value(a), json_string_value(b), len) : 0;

    return order ? order : (a_len > b_len) - (a_len < b_len);
}

static bool equal_within(const json_t *a, const json_t *b, unsigned depth);

static bool arrays_equal(const json_t *a, const json_t *b, unsigned depth)
{
    size_t count = json_array_size(a);

    if (count != json_array_size(b)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!equal_within(json_array_get(a, i), json_array_get(b, i), depth)) {
            return false;
        }
    }
    return true;
}

static bool objects_equal(const json_t *a, const json_t *b, unsigned depth)
{
    const char *key;
    size_t key_len;
    json_t *member;

    if (json_object_size(a) != json_object_size(b)) {
        return false;
    }
    json_object_keylen_foreach((json_t *)a, key, key_len, member)
    {
        const json_t *other = json_object_getn(b, key, key_len);
        if (!other || !equal_within(member, other, depth)) {
            return false;
        }
    }
    return true;
}

/* What is deeper than anything json_read() takes is a bug's, and equal to nothing. */
static bool equal_within(const json_t *a, const json_t *b, unsigned depth)
{
    enum kind kind = kind_of(a);

    if (kind != kind_of(b) || depth == 0) {
        return false;
    }
    switch (kind) {
    case KIND_NUMBER:
        return order_numbers(a, b) == 0;
    case KIND_STRING:
        return order_strings(a, b) == 0;
    case KIND_ARRAY:
        return arrays_equal(a, b, depth - 1);
    case KIND_OBJECT:
        return objects_equal(a, b, depth - 1);
    default:
        return true;
    }
}

bool value_equal(const json_t *a, const json_t *b)
{
    return equal_within(a, b, 2 * VALUE_DEPTH_MAX);
}

bool value_order(const json_t *a, const json_t *b, int *ret_order)
{
    if (json_is_number(a) && json_is_number(b)) {
        *ret_order = order_numbers(a, b);
        return true;
    }
    if (json_is_string(a) && json_is_string(b)) {
        *ret_order = order_strings(a, b);
        return true;
    }
    return false;
}

int value_rank(const json_t *a, const json_t *b)
{
    int order = 0;

    if (value_order(a, b, &order)) {
        return order;
    }
    return (int)kind_of(a) - (int)kind_of(b);
}

static bool take(size_t *left, size_t bytes)
{
    if (*left < bytes) {
        *left = 0;
        return false;
    }
    *left -= bytes;
    return true;
}

bool value_fits(const json_t *value, size_t depth, size_t *left)
{
    const char *key;
    size_t key_len, index;
    json_t *part;

    if (json_is_string(value)) {
        size_t len = json_string_length(value);
        return take(left, len) && take(left, 2);
    }
    if (!json_is_array(value) && !json_is_object(value)) {
        return take(left, json_is_number(value) ? 1 : 4);
    }
    if (depth == 0 || !take(left, 2)) {
        return false;
    }
    json_array_foreach(value, index, part)
    {
        if (!take(left, index > 0) || !value_fits(part, depth - 1, left)) {
            return false;
        }
    }
    json_object_keylen_foreach((json_t *)value, key, key_len, part)
    {
        if (!take(left, key_len) || !take(left, 3) || !value_fits(part, depth - 1, left)) {
            return false;
        }
    }
    return true;
}
