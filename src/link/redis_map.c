#include "link/redis_map.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "link/redis_shape.h"

struct row {
    struct redis_shape redis, ours;
    enum redis_map_kind kind;
};

struct redis_map {
    size_t row_count;
    struct row
        rows[]; /* The last one is the fallback: it takes what no other row's template does. */
};

static const struct redis_mapping built_in[] = {
    {"workflow:events:*", "user:{1}", REDIS_MAP_RAW},
    {"room:*", "room:{1}", REDIS_MAP_ROOM},
    {"fanout:ch:*", "{1}", REDIS_MAP_RAW},
};

static bool has_control(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        /* C2 80..9F are the control characters U+0080 to U+009F. */
        if (c < 0x20 || c == 0x7f || (c == 0xc2 && i + 1 < text.len && text.data[i + 1] < 0xa0)) {
            return true;
        }
    }
    return false;
}

static bool is_namespace(struct span text)
{
    if (text.len < 1 || text.len > 64) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-')) {
            return false;
        }
    }
    return true;
}

/* The rule of wire.md: namespace, ':', and 1..255 bytes of text without control characters. */
static bool is_channel(struct span name)
{
    const uint8_t *colon = name.len > 0 ? memchr(name.data, ':', name.len) : NULL;

    if (!colon) {
        return false;
    }
    size_t head_len = (size_t)(colon - name.data);
    struct span tail = span_of(colon + 1, name.len - head_len - 1);
    return is_namespace(span_of(name.data, head_len)) && tail.len >= 1 && tail.len <= 255 &&
           utf8_valid(tail.data, tail.len) && !has_control(tail);
}

/* The row whose template the channel has; the fallback takes the rest. */
static const struct row *row_of_channel(
    const struct redis_map *map, struct span channel, struct span *ret_tail)
{
    size_t i = 0;

    *ret_tail = channel;
    while (i + 1 < map->row_count && !redis_shape_match(&map->rows[i].ours, channel, ret_tail)) {
        i += 1;
    }
    return &map->rows[i];
}

int redis_map_in(const struct redis_map *map, struct span redis_channel,
    struct redis_name *ret_channel, enum redis_map_kind *ret_kind)
{
    struct span tail;

    for (size_t i = 0; i < map->row_count; i++) {
        const struct row *row = &map->rows[i];
        if (!redis_shape_match(&row->redis, redis_channel, &tail)) {
            continue;
        }
        if (redis_shape_fill(&row->ours, tail, ret_channel) != 0) {
            return -EINVAL;
        }
        struct span channel = span_of(ret_channel->text, ret_channel->len);
        if (!is_channel(channel)) {
            return -EINVAL;
        }
        *ret_kind = row->kind;
        /* "fanout:ch:user:bob" would be a second name of user:bob. */
        return row_of_channel(map, channel, &tail) == row ? 0 : -ENOENT;
    }
    return -ENOENT;
}

int redis_map_out(const struct redis_map *map, struct span channel,
    struct redis_name *ret_redis_channel, enum redis_map_kind *ret_kind)
{
    struct span tail;

    if (!is_channel(channel)) {
        return -EINVAL;
    }
    const struct row *row = row_of_channel(map, channel, &tail);
    *ret_kind = row->kind;
    return redis_shape_fill(&row->redis, tail, ret_redis_channel);
}

size_t redis_map_pattern_count(const struct redis_map *map)
{
    return map->row_count;
}

const char *redis_map_pattern(const struct redis_map *map, size_t index)
{
    return map->rows[index].redis.text;
}

/* What is wrong with a configured row by itself; NULL: nothing. */
static const char *row_complaint(const struct row *row)
{
    struct redis_name sample;

    if (row->redis.text[0] == '\0' || strlen(row->redis.text) > REDIS_PATTERN_MAX) {
        return "the pattern must have 1 to 255 bytes";
    }
    if (strpbrk(row->redis.text, "?[]\\") ||
        memchr(row->redis.suffix.data, '*', row->redis.suffix.len)) {
        return "a pattern may hold one '*' and no other wildcard";
    }
    if (row->redis.has_hole != row->ours.has_hole) {
        return "'*' in the pattern and {1} in the channel belong together";
    }
    if (strstr((const char *)row->ours.suffix.data, "{1}")) {
        return "the channel may hold {1} once";
    }
    if (!memchr(row->ours.prefix.data, ':', row->ours.prefix.len) ||
        redis_shape_fill(&row->ours, span_of("x", 1), &sample) != 0 ||
        !is_channel(span_of(sample.text, sample.len))) {
        return "the channel must be a namespace of [a-z0-9_-], ':' and a name, e.g. \"order:{1}\"";
    }
    return NULL;
}

static const char *pair_complaint(const struct row *a, const struct row *b)
{
    if (redis_shape_overlap(&a->redis, &b->redis)) {
        return "its pattern overlaps with that of";
    }
    if (redis_shape_overlap(&a->ours, &b->ours)) {
        return "its channel overlaps with that of";
    }
    return NULL;
}

static int check_rows(const struct redis_map *map, size_t configured, char *err, size_t err_cap)
{
    for (size_t i = 0; i < configured; i++) {
        const struct row *row = &map->rows[i];
        const char *complaint = row_complaint(row);
        if (complaint) {
            snprintf(
                err, err_cap, "mapping %s -> %s: %s", row->redis.text, row->ours.text, complaint);
            return -EINVAL;
        }
        for (size_t j = i + 1; j < map->row_count; j++) {
            const struct row *other = &map->rows[j];
            /* Every template overlaps with the fallback's; that is what it is for. */
            complaint = j + 1 < map->row_count ? pair_complaint(row, other)
                        : redis_shape_overlap(&row->redis, &other->redis)
                            ? "its pattern overlaps with that of"
                            : NULL;
            if (complaint) {
                snprintf(err, err_cap, "mapping %s -> %s: %s %s -> %s", row->redis.text,
                    row->ours.text, complaint, other->redis.text, other->ours.text);
                return -EINVAL;
            }
        }
    }
    return 0;
}

static bool replaced(const struct redis_mapping *row, const struct redis_mapping *by, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(row->pattern, by[i].pattern) == 0) {
            return true;
        }
    }
    return false;
}

static void add_row(struct redis_map *map, const struct redis_mapping *from)
{
    map->rows[map->row_count++] = (struct row){
        .redis = redis_shape_of(from->pattern, "*"),
        .ours = redis_shape_of(from->channel, "{1}"),
        .kind = from->kind,
    };
}

int redis_map_create(const struct redis_mapping *rows, size_t row_count, struct redis_map **ret_map,
    char *err, size_t err_cap)
{
    size_t cap = row_count + COUNT_OF(built_in);
    struct redis_map *map = mem_zalloc(sizeof(*map) + cap * sizeof(map->rows[0]));

    for (size_t i = 0; i < row_count; i++) {
        add_row(map, &rows[i]);
    }
    for (size_t i = 0; i < COUNT_OF(built_in); i++) {
        bool fallback = i + 1 == COUNT_OF(built_in); /* Nothing else can take its place. */
        if (fallback || !replaced(&built_in[i], rows, row_count)) {
            add_row(map, &built_in[i]);
        }
    }
    if (check_rows(map, row_count, err, err_cap) != 0) {
        redis_map_destroy(map);
        return -EINVAL;
    }
    *ret_map = map;
    return 0;
}

void redis_map_destroy(struct redis_map *map)
{
    if (!map) {
        return;
    }
    for (size_t i = 0; i < map->row_count; i++) {
        mem_free(map->rows[i].redis.text);
        mem_free(map->rows[i].ours.text);
    }
    mem_free(map);
}
