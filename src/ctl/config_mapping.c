/* Mappings from Redis channels to ours. */
#include "ctl/config_list.h"

#include <errno.h>

#include "base/mem.h"
#include "ctl/config_value.h"

/* Wildcards other than one * would leave open what {1} is, and whether two patterns overlap. */
static bool is_pattern(struct span text)
{
    size_t stars = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c < ' ' || c == 0x7f || c == '?' || c == '[' || c == ']' || c == '\\') {
            return false;
        }
        stars += c == '*';
    }
    return text.len > 0 && text.len <= 255 && stars <= 1;
}

/* name:rest, where rest may hold one {1} when the pattern has a star. */
static bool is_channel(struct span text, bool has_star)
{
    const uint8_t *colon = text.len ? memchr(text.data, ':', text.len) : NULL;
    if (!colon || text.len > 255 + 65 ||
        !config_namespace_name_valid(span_of(text.data, (size_t)(colon - text.data)))) {
        return false;
    }
    struct span rest = span_of(colon + 1, text.len - (size_t)(colon + 1 - text.data));
    const uint8_t *slot = memmem(rest.data, rest.len, "{1}", 3);
    size_t slot_count = 0;
    for (; slot; slot_count++) {
        slot = memmem(slot + 3, rest.len - (size_t)(slot + 3 - rest.data), "{1}", 3);
    }
    for (size_t i = 0; i < rest.len; i++) {
        if (rest.data[i] < ' ' || rest.data[i] == 0x7f) {
            return false;
        }
    }
    return rest.len > 0 && slot_count <= (has_star ? 1 : 0);
}

static void mapping_fini(struct config_mapping *mapping)
{
    mem_free(mapping->pattern);
    mem_free(mapping->channel);
    mem_free(mapping->origin);
}

int config_mapping_add(struct config_mappings *mappings, struct span pattern, struct span channel)
{
    bool has_star = pattern.len && memchr(pattern.data, '*', pattern.len);
    if (!is_pattern(pattern) || !is_channel(channel, has_star) ||
        mappings->count >= CONFIG_MAPPING_MAX) {
        return -EINVAL;
    }
    struct config_mapping *items =
        mem_try_realloc(mappings->items, (mappings->count + 1) * sizeof *items);
    if (!items) {
        return -ENOMEM;
    }
    mappings->items = items;
    struct config_mapping *mapping = &items[mappings->count];
    *mapping = (struct config_mapping){0};
    mapping->pattern = config_copy_text(pattern);
    mapping->channel = config_copy_text(channel);
    if (!mapping->pattern || !mapping->channel) {
        mapping_fini(mapping);
        return -ENOMEM;
    }
    mappings->count += 1;
    return 0;
}

static void mappings_cut(struct config_mappings *mappings, uint32_t count)
{
    while (mappings->count > count) {
        mappings->count -= 1;
        mapping_fini(&mappings->items[mappings->count]);
    }
}

int config_mappings_parse(struct span text, struct config_mappings *mappings)
{
    uint32_t count = mappings->count;
    struct span part;
    int err = text.len > 0 ? 0 : -EINVAL;
    while (err == 0 && config_split(&text, ';', &part)) {
        const uint8_t *equals = part.len ? memchr(part.data, '=', part.len) : NULL;
        if (!equals) {
            err = -EINVAL;
            break;
        }
        size_t pattern_len = (size_t)(equals - part.data);
        err = config_mapping_add(mappings, span_of(part.data, pattern_len),
            span_of(equals + 1, part.len - pattern_len - 1));
    }
    if (err < 0) {
        mappings_cut(mappings, count);
    }
    return err;
}

int config_mappings_format(const struct config_mappings *mappings, struct bytes *out)
{
    int err = 0;
    for (uint32_t i = 0; err == 0 && i < mappings->count; i++) {
        const struct config_mapping *mapping = &mappings->items[i];
        err = bytes_appendf(out, "%s%s=%s", i > 0 ? "; " : "", mapping->pattern, mapping->channel);
    }
    return err;
}

int config_mappings_copy(const struct config_mappings *from, struct config_mappings *to)
{
    int err = 0;
    for (uint32_t i = 0; err == 0 && i < from->count; i++) {
        const struct config_mapping *mapping = &from->items[i];
        err = config_mapping_add(to, span_str(mapping->pattern), span_str(mapping->channel));
        if (err == 0 && mapping->origin) {
            to->items[i].origin = config_copy_text(span_str(mapping->origin));
            err = to->items[i].origin ? 0 : -ENOMEM;
        }
    }
    return err;
}

/* What stands before and behind the star; a pattern without one has no `after`. */
struct halves {
    struct span before, after;
    bool has_star;
};

static struct halves halves_of(const char *pattern)
{
    const char *star = strchr(pattern, '*');
    if (!star) {
        return (struct halves){.before = span_str(pattern), .after = span_of("", 0)};
    }
    return (struct halves){span_of(pattern, (size_t)(star - pattern)), span_str(star + 1), true};
}

static bool same_start(struct span a, struct span b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    return len == 0 || memcmp(a.data, b.data, len) == 0;
}

static bool same_end(struct span a, struct span b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    return len == 0 || memcmp(a.data + a.len - len, b.data + b.len - len, len) == 0;
}

static bool matches(struct halves pattern, struct span text)
{
    return text.len >= pattern.before.len + pattern.after.len && same_start(pattern.before, text) &&
           same_end(pattern.after, text);
}

/* Two stars can stand for whatever is missing, so it is enough that both starts and both ends
 * agree: the longer start, anything, and the longer end is a channel that both match. */
bool config_patterns_overlap(const char *a, const char *b)
{
    struct halves ha = halves_of(a), hb = halves_of(b);
    if (ha.has_star && hb.has_star) {
        return same_start(ha.before, hb.before) && same_end(ha.after, hb.after);
    }
    if (ha.has_star) {
        return matches(ha, hb.before);
    }
    return hb.has_star ? matches(hb, ha.before) : strcmp(a, b) == 0;
}

void config_mappings_fini(struct config_mappings *mappings)
{
    mappings_cut(mappings, 0);
    mem_free(mappings->items);
    mappings->items = NULL;
}
