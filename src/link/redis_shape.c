#include "link/redis_shape.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"

static bool starts_with(struct span text, struct span prefix)
{
    return text.len >= prefix.len && span_equal(span_of(text.data, prefix.len), prefix);
}

static bool ends_with(struct span text, struct span suffix)
{
    return text.len >= suffix.len &&
           span_equal(span_of(text.data + text.len - suffix.len, suffix.len), suffix);
}

struct redis_shape redis_shape_of(const char *text, const char *hole)
{
    struct redis_shape shape = {.text = mem_strdup(text)};
    char *at = strstr(shape.text, hole);

    shape.has_hole = at != NULL;
    shape.prefix = at ? span_of(shape.text, (size_t)(at - shape.text)) : span_str(shape.text);
    shape.suffix = span_str(at ? at + strlen(hole) : "");
    return shape;
}

bool redis_shape_match(const struct redis_shape *shape, struct span name, struct span *ret_tail)
{
    size_t fixed_len = shape->prefix.len + shape->suffix.len;

    if (name.len < fixed_len || (!shape->has_hole && name.len != fixed_len) ||
        !starts_with(name, shape->prefix) || !ends_with(name, shape->suffix)) {
        return false;
    }
    *ret_tail = span_of(name.data + shape->prefix.len, name.len - fixed_len);
    return true;
}

bool redis_shape_overlap(const struct redis_shape *a, const struct redis_shape *b)
{
    struct span tail;

    if (!a->has_hole) {
        return redis_shape_match(b, a->prefix, &tail);
    }
    if (!b->has_hole) {
        return redis_shape_match(a, b->prefix, &tail);
    }
    /* The longer beginning followed by the longer end fits both, if any name does. */
    return (starts_with(a->prefix, b->prefix) || starts_with(b->prefix, a->prefix)) &&
           (ends_with(a->suffix, b->suffix) || ends_with(b->suffix, a->suffix));
}

int redis_shape_fill(const struct redis_shape *shape, struct span tail, struct redis_name *ret_name)
{
    struct span tail_used = shape->has_hole ? tail : span_of("", 0);
    const struct span parts[] = {shape->prefix, tail_used, shape->suffix};

    ret_name->len = 0;
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        if (parts[i].len > sizeof(ret_name->text) - ret_name->len) {
            return -EINVAL;
        }
        if (parts[i].len > 0) {
            memcpy(ret_name->text + ret_name->len, parts[i].data, parts[i].len);
        }
        ret_name->len += parts[i].len;
    }
    return 0;
}

bool redis_pattern_overlap(const char *a, const char *b)
{
    struct redis_shape shape_a = redis_shape_of(a, "*");
    struct redis_shape shape_b = redis_shape_of(b, "*");
    bool overlap = redis_shape_overlap(&shape_a, &shape_b);

    mem_free(shape_a.text);
    mem_free(shape_b.text);
    return overlap;
}
