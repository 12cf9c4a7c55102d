#include "ctl/config_build.h"

#include <errno.h>
#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/nearest.h"
#include "ctl/config_list.h"
#include "ctl/config_value.h"

void config_line_add(struct config_lines *lines, const char *text)
{
    char **items = NULL;
    char *copy = NULL;
    if (lines->count < CONFIG_LINES_MAX) {
        copy = config_copy_text(span_str(text));
        items = copy ? mem_try_realloc(lines->items, (lines->count + 1) * sizeof *items) : NULL;
    }
    if (!items) {
        mem_free(copy);
        lines->more_count += 1;
        return;
    }
    items[lines->count] = copy;
    lines->items = items;
    lines->count += 1;
}

static void line_addv(struct config_build *build, struct config_lines *lines, const char *place,
    const char *fmt, va_list args)
{
    struct bytes line = {0};
    if (bytes_appendf(&line, "%s: ", place) < 0 || bytes_appendv(&line, fmt, args) < 0 ||
        bytes_append_byte(&line, '\0') < 0) {
        build->no_memory = true;
        lines->more_count += 1;
    } else {
        config_line_add(lines, (const char *)line.data);
    }
    bytes_fini(&line);
}

void config_fault(struct config_build *build, const char *place, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    line_addv(build, &build->report->faults, place, fmt, args);
    va_end(args);
}

void config_notice(struct config_build *build, const char *place, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    line_addv(build, &build->report->notices, place, fmt, args);
    va_end(args);
}

void config_fault_value(struct config_build *build, const char *place, const char *key,
    const struct config_option *option, struct span text)
{
    struct bytes found = {0}, expected = {0};
    bool secret = option->type == CONFIG_TYPE_SECRET || option->type == CONFIG_TYPE_REDIS_URL;
    int err = secret ? bytes_append_str(&found, "not understood") : config_quote(text, &found);
    if (err < 0 || bytes_append_byte(&found, '\0') < 0 ||
        config_value_expected(option, &expected) < 0 || bytes_append_byte(&expected, '\0') < 0) {
        build->no_memory = true;
        build->report->faults.more_count += 1;
    } else {
        config_fault(
            build, place, "%s is %s; expected %s", key, (char *)found.data, (char *)expected.data);
    }
    bytes_fini(&found);
    bytes_fini(&expected);
}

/* Sets the field unless something that ranks higher did; a list grows at its own rank. */
static int put(struct config_build *build, const struct config_option *option, void *field,
    struct config_origin *origin, uint32_t rank, const char *place, struct span text)
{
    if (rank < origin->rank) {
        return 0;
    }
    char *origin_text = place ? config_copy_text(span_str(place)) : NULL;
    if (place && !origin_text) {
        build->no_memory = true;
        return 0;
    }
    if (rank > origin->rank) {
        config_value_fini(option, field);
    }
    int err = config_value_parse(option, text, field);
    if (err == 0 && option->type == CONFIG_TYPE_MAPPINGS && place) {
        const struct config_mappings *mappings = field;
        for (uint32_t i = 0; i < mappings->count; i++) {
            struct config_mapping *mapping = &mappings->items[i];
            if (!mapping->origin) {
                mapping->origin = config_copy_text(span_str(place));
                build->no_memory |= !mapping->origin;
            }
        }
    }
    build->no_memory |= err == -ENOMEM;
    mem_free(origin->text);
    *origin = (struct config_origin){rank, origin_text};
    return err == -ENOMEM ? 0 : err;
}

static uint32_t rank_of(const struct config_option *option, struct config_place place)
{
    return (uint32_t)place.layer << 8 | (place.contract ? 0 : 16) | (8u - option->yields);
}

int config_build_put(struct config_build *build, const char *key, uint32_t rank,
    struct config_place place, struct span text)
{
    const struct config_option *option = config_option_find(span_str(key));
    return put(build, option, config_field(build->config, option),
        &build->config->origins[config_option_index(option)], rank, place.text, text);
}

void config_build_set(struct config_build *build, const struct config_option *option,
    struct config_place place, struct span text)
{
    uint32_t rank = rank_of(option, place);
    if (place.layer == CONFIG_LAYER_ENV &&
        config_build_injected(build, option, rank, place, text)) {
        return;
    }
    if (option->type == CONFIG_TYPE_NAMESPACES) {
        config_build_namespaces(build, place, text);
        return;
    }
    if (config_is_alias(option)) {
        if (!config_build_alias(build, option, rank, place, text)) {
            config_fault_value(build, place.text, option->key, option, text);
        }
        return;
    }
    if (config_build_put(build, option->key, rank, place, text) < 0) {
        config_fault_value(build, place.text, option->key, option, text);
    }
}

void config_build_mapping(
    struct config_build *build, struct config_place place, struct span pattern, struct span channel)
{
    /* Pattern and channel may hold the signs that separate them elsewhere, so they are added as
     * they are; the empty text only settles rank and origin. */
    const struct config_option *option = config_option_find(span_str("redis.mappings"));
    struct config_mappings *mappings = &build->config->redis.mappings;
    struct config_origin *origin = &build->config->origins[config_option_index(option)];
    uint32_t rank = rank_of(option, place);
    CHECK(rank >= origin->rank); /* The file is the first layer to speak. */
    if (!origin->text) {
        origin->rank = rank;
        origin->text = config_copy_text(span_str(place.text));
        build->no_memory |= !origin->text;
    }
    int err = config_mapping_add(mappings, pattern, channel);
    if (err == 0) {
        struct config_mapping *mapping = &mappings->items[mappings->count - 1];
        mapping->origin = config_copy_text(span_str(place.text));
        build->no_memory |= !mapping->origin;
    } else if (err == -EINVAL) {
        struct bytes text = {0};
        if (bytes_append(&text, pattern.data, pattern.len) < 0 || bytes_append_byte(&text, '=') ||
            bytes_append(&text, channel.data, channel.len) < 0) {
            build->no_memory = true;
        }
        config_fault_value(build, place.text, option->key, option, span_of(text.data, text.len));
        bytes_fini(&text);
    }
    build->no_memory |= err == -ENOMEM;
}

bool config_build_namespace(struct config_build *build, struct span name, struct config_place place)
{
    struct config_namespace *ns = NULL;
    if (!config_namespace_name_valid(name)) {
        struct bytes found = {0};
        build->no_memory |= config_quote(name, &found) < 0 || bytes_append_byte(&found, '\0') < 0;
        config_fault(build, place.text,
            "namespace name is %s; expected 1 to 64 of a-z, 0-9, _ and -",
            build->no_memory ? "?" : (char *)found.data);
        bytes_fini(&found);
        return false;
    }
    int err = config_namespace_add(&build->config->namespaces, name, &ns);
    if (err == -EINVAL) {
        config_fault(build, place.text, "more than %d namespaces", (int)CONFIG_NAMESPACE_MAX);
    }
    build->no_memory |= err == -ENOMEM;
    return err == 0;
}

void config_build_namespace_set(struct config_build *build, struct span name,
    const struct config_option *field, struct config_place place, struct span text)
{
    struct config_namespace *ns = config_namespace_find(&build->config->namespaces, name);
    CHECK(ns);
    size_t index = (size_t)(field - config_namespace_fields);
    if (put(build, field, (char *)ns + field->field, &ns->origins[index], rank_of(field, place),
            place.text, text) < 0) {
        char key[CONFIG_NAME_MAX + 96];
        snprintf(key, sizeof key, "namespaces.%s.%s", ns->name, field->key);
        config_fault_value(build, place.text, key, field, text);
    }
}

static void fault_unknown_field(
    struct config_build *build, struct config_place place, struct span name, struct span key)
{
    struct nearest best = {0};

    for (size_t i = 0; i < config_namespace_field_count; i++) {
        nearest_try(&best, key, config_namespace_fields[i].key);
    }
    struct bytes path = {0}, quoted = {0};
    int err = bytes_appendf(&path, "namespaces.%.*s.", (int)name.len, (const char *)name.data);
    err = err ? err : bytes_append(&path, key.data, key.len);
    err = err ? err : config_quote(span_of(path.data, path.len), &quoted);
    if (err < 0 || bytes_append_byte(&quoted, 0) < 0) {
        build->no_memory = true;
    } else {
        config_fault(build, place.text, "%s is not an option%s%s%s", (char *)quoted.data,
            best.name[0] ? "; did you mean " : "", best.name, best.name[0] ? "?" : "");
    }
    bytes_fini(&path);
    bytes_fini(&quoted);
}

static void read_namespace(struct config_build *build, struct config_place place, struct span text)
{
    const struct config_option *option = config_option_find(span_str("namespaces"));
    const uint8_t *colon = text.len ? memchr(text.data, ':', text.len) : NULL;
    if (!colon) {
        config_fault_value(build, place.text, option->key, option, text);
        return;
    }
    struct span name = span_of(text.data, (size_t)(colon - text.data));
    struct span rest = span_of(colon + 1, text.len - name.len - 1), part;
    if (!config_build_namespace(build, name, place)) {
        return;
    }
    while (config_split(&rest, ',', &part)) {
        const uint8_t *equals = part.len ? memchr(part.data, '=', part.len) : NULL;
        struct span key = equals ? span_of(part.data, (size_t)(equals - part.data)) : part;
        const struct config_option *field = config_namespace_field_find(key);
        if (equals && !field) {
            fault_unknown_field(build, place, name, key);
            return;
        }
        if (!equals) {
            config_fault_value(build, place.text, option->key, option, text);
            return;
        }
        config_build_namespace_set(
            build, name, field, place, span_of(equals + 1, part.len - key.len - 1));
    }
}

void config_build_namespaces(
    struct config_build *build, struct config_place place, struct span text)
{
    struct span part;
    while (config_split(&text, ';', &part)) {
        if (part.len > 0) {
            read_namespace(build, place, part);
        }
    }
}

const char *config_origin_text(const struct config *config, const char *key)
{
    const struct config_option *option = config_option_find(span_str(key));
    const char *text = config->origins[config_option_index(option)].text;
    return text ? text : "default";
}

uint32_t config_origin_rank(const struct config *config, const char *key)
{
    const struct config_option *option = config_option_find(span_str(key));
    return config->origins[config_option_index(option)].rank;
}

int config_build_init(
    struct config_build *build, enum config_role role, struct config_report *report)
{
    *build = (struct config_build){.report = report};
    build->config = mem_try_zalloc(sizeof *build->config);
    if (!build->config) {
        return -ENOMEM;
    }
    struct config *config = build->config;
    config->origins = mem_try_zalloc(config_option_count * sizeof *config->origins);
    struct config_namespace *ns = NULL;
    if (!config->origins ||
        config_namespace_add(&config->namespaces, span_str("default"), &ns) < 0) {
        config_free(config);
        return -ENOMEM;
    }
    for (size_t i = 0; i < config_option_count; i++) {
        const struct config_option *option = &config_options[i];
        if (option->preset) {
            int err = put(build, option, config_field(config, option), &config->origins[i], 0, NULL,
                span_str(config_preset(option, role)));
            CHECK(err == 0);
        }
    }
    for (size_t i = 0; i < config_namespace_field_count; i++) {
        const struct config_option *field = &config_namespace_fields[i];
        if (field->preset) {
            int err = put(build, field, (char *)ns + field->field, &ns->origins[i], 0, NULL,
                span_str(field->preset));
            CHECK(err == 0);
        }
    }
    return 0;
}
