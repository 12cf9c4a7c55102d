/* Names: looking rows up, and telling which name a wrong one was meant to be. */
#include "ctl/config_table.h"

#include <ctype.h>
#include <stdio.h>

#include "base/check.h"

static const struct config_option *find_row(
    const struct config_option *rows, size_t count, struct span key)
{
    for (size_t i = 0; i < count; i++) {
        if (span_equal(span_str(rows[i].key), key)) {
            return &rows[i];
        }
    }
    return NULL;
}

const struct config_option *config_option_find(struct span key)
{
    return find_row(config_options, config_option_count, key);
}

const struct config_option *config_namespace_field_find(struct span key)
{
    return find_row(config_namespace_fields, config_namespace_field_count, key);
}

bool config_section_known(struct span section)
{
    for (size_t i = 0; i < config_option_count; i++) {
        const char *dot = strchr(config_options[i].key, '.');
        if (dot && span_equal(span_of(config_options[i].key, (size_t)(dot - config_options[i].key)),
                       section)) {
            return true;
        }
    }
    return false;
}

const char *config_flag_name(const struct config_option *option, char name[CONFIG_NAME_MAX])
{
    int len = snprintf(name, CONFIG_NAME_MAX, "%s", option->flag ? option->flag : option->key);
    CHECK(len > 0 && len < CONFIG_NAME_MAX);
    for (char *c = name; *c; c++) {
        *c = *c == '.' || *c == '_' ? '-' : *c;
    }
    return name;
}

const char *config_env_name(const struct config_option *option, char name[CONFIG_NAME_MAX])
{
    int len = snprintf(name, CONFIG_NAME_MAX, "FANOUT_%s", option->key);
    CHECK(len > 0 && len < CONFIG_NAME_MAX);
    for (char *c = name; *c; c++) {
        *c = *c == '.' ? '_' : (char)toupper((unsigned char)*c);
    }
    return name;
}

/* Insertions, deletions and replacements between two names, and swaps of neighbours, which are
 * what fingers do most. Both are shorter than CONFIG_NAME_MAX. */
static size_t edit_distance(struct span a, struct span b)
{
    size_t rows[3][CONFIG_NAME_MAX + 1];
    for (size_t j = 0; j <= b.len; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a.len; i++) {
        size_t *now = rows[i % 3], *last = rows[(i - 1) % 3], *before = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t best = last[j - 1] + (a.data[i - 1] != b.data[j - 1]);
            best = last[j] + 1 < best ? last[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a.data[i - 1] == b.data[j - 2] &&
                a.data[i - 2] == b.data[j - 1] && before[j - 2] + 1 < best) {
                best = before[j - 2] + 1;
            }
            now[j] = best;
        }
    }
    return rows[a.len % 3][b.len];
}

void config_nearest_try(struct config_nearest *best, struct span wrong, const char *candidate)
{
    size_t len = strlen(candidate);
    if (wrong.len >= CONFIG_NAME_MAX || len >= CONFIG_NAME_MAX) {
        return;
    }
    size_t distance = edit_distance(wrong, span_of(candidate, len));
    /* A third of the letters may differ: beyond that a suggestion is a guess. */
    if (distance > (len < 6 ? 2 : len / 3) || distance >= len) {
        return;
    }
    if (!best->name[0] || distance < best->distance) {
        memcpy(best->name, candidate, len + 1);
        best->distance = distance;
    }
}
