#include "ctl/config_value.h"

#include <errno.h>

#include "base/check.h"
#include "base/mem.h"
#include "ctl/config.h"
#include "ctl/config_list.h"

static int parse_bool(struct span text, bool *ret_value)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (span_equal_nocase(text, span_str(words[i]))) {
            *ret_value = i % 2 == 1;
            return 0;
        }
    }
    return -EINVAL;
}

static bool within(const struct config_option *option, uint64_t value)
{
    uint64_t max = option->max ? option->max : UINT64_MAX;
    if (option->type == CONFIG_TYPE_INT && !option->max) {
        max = UINT32_MAX;
    }
    return value >= option->min && value <= max;
}

static int parse_number(const struct config_option *option, struct span text, uint64_t *ret_value)
{
    uint64_t value = 0;
    int err = option->type == CONFIG_TYPE_INT    ? config_parse_uint(text, &value)
              : option->type == CONFIG_TYPE_SIZE ? config_parse_size(text, &value)
                                                 : config_parse_duration(text, &value);
    if (err < 0 || !within(option, value)) {
        return -EINVAL;
    }
    *ret_value = value;
    return 0;
}

static int parse_choice(const struct config_option *option, struct span text, unsigned *ret_value)
{
    for (unsigned i = 0; i < CONFIG_CHOICE_MAX && option->choices[i]; i++) {
        if (span_equal(text, span_str(option->choices[i]))) {
            *ret_value = i;
            return 0;
        }
    }
    return -EINVAL;
}

/* Empty means not set; control characters are a paste gone wrong, and NUL would cut the rest. */
static int parse_string(struct span text, char **field)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < ' ' || text.data[i] == 0x7f) {
            return -EINVAL;
        }
    }
    char *copy = text.len > 0 ? config_copy_text(text) : NULL;
    if (text.len > 0 && !copy) {
        return -ENOMEM;
    }
    mem_free(*field);
    *field = copy;
    return 0;
}

int config_value_parse(const struct config_option *option, struct span text, void *field)
{
    uint64_t number = 0;
    int err;
    switch (option->type) {
    case CONFIG_TYPE_BOOL:
        return parse_bool(text, field);
    case CONFIG_TYPE_INT:
        err = parse_number(option, text, &number);
        if (err == 0) {
            *(uint32_t *)field = (uint32_t)number;
        }
        return err;
    case CONFIG_TYPE_SIZE:
    case CONFIG_TYPE_DURATION:
        return parse_number(option, text, field);
    case CONFIG_TYPE_STRING:
    case CONFIG_TYPE_SECRET:
        return parse_string(text, field);
    case CONFIG_TYPE_ENUM:
        return parse_choice(option, text, field);
    case CONFIG_TYPE_LISTENS:
        return config_listens_parse(text, field);
    case CONFIG_TYPE_MAPPINGS:
        return config_mappings_parse(text, field);
    case CONFIG_TYPE_NAMESPACES:
    case CONFIG_TYPE_LISTEN_PORT:
    case CONFIG_TYPE_REDIS_ADDR:
    case CONFIG_TYPE_REDIS_URL:
        break;
    }
    CHECK(!"a type with a value");
    return -EINVAL;
}

/* The largest unit that leaves a whole number. */
static int format_with_unit(uint64_t value, const uint64_t *factors, const char *const *names,
    size_t count, struct bytes *out)
{
    size_t best = 0;
    for (size_t i = 1; i < count; i++) {
        if (value > 0 && value % factors[i] == 0) {
            best = i;
        }
    }
    return bytes_appendf(
        out, "%llu%s", (unsigned long long)(value / factors[best]), value > 0 ? names[best] : "");
}

static int format_size(uint64_t value, struct bytes *out)
{
    static const uint64_t factors[] = {1, 1ull << 10, 1ull << 20, 1ull << 30, 1ull << 40};
    static const char *const names[] = {"", "KiB", "MiB", "GiB", "TiB"};
    return format_with_unit(value, factors, names, COUNT_OF(factors), out);
}

static int format_duration(uint64_t value, struct bytes *out)
{
    static const uint64_t factors[] = {1, 1000, 60000, 3600000, 86400000};
    static const char *const names[] = {"ms", "s", "m", "h", "d"};
    return format_with_unit(value, factors, names, COUNT_OF(factors), out);
}

static int format_number(const struct config_option *option, uint64_t value, struct bytes *out)
{
    return option->type == CONFIG_TYPE_SIZE ? format_size(value, out)
           : option->type == CONFIG_TYPE_DURATION
               ? format_duration(value, out)
               : bytes_appendf(out, "%llu", (unsigned long long)value);
}

int config_value_format(const struct config_option *option, const void *field, struct bytes *out)
{
    switch (option->type) {
    case CONFIG_TYPE_BOOL:
        return bytes_append_str(out, *(const bool *)field ? "true" : "false");
    case CONFIG_TYPE_INT:
        return format_number(option, *(const uint32_t *)field, out);
    case CONFIG_TYPE_SIZE:
    case CONFIG_TYPE_DURATION:
        return format_number(option, *(const uint64_t *)field, out);
    case CONFIG_TYPE_STRING:
    case CONFIG_TYPE_SECRET: {
        const char *text = *(char *const *)field;
        return bytes_append_str(out, text ? text : "");
    }
    case CONFIG_TYPE_ENUM:
        return bytes_append_str(out, option->choices[*(const unsigned *)field]);
    case CONFIG_TYPE_LISTENS:
        return config_listens_format(field, out);
    case CONFIG_TYPE_MAPPINGS:
        return config_mappings_format(field, out);
    case CONFIG_TYPE_NAMESPACES:
    case CONFIG_TYPE_LISTEN_PORT:
    case CONFIG_TYPE_REDIS_ADDR:
    case CONFIG_TYPE_REDIS_URL:
        break;
    }
    CHECK(!"a type with a value");
    return -EINVAL;
}

int config_value_copy(const struct config_option *option, const void *from, void *to)
{
    const char *text;
    switch (option->type) {
    case CONFIG_TYPE_STRING:
    case CONFIG_TYPE_SECRET:
        text = *(char *const *)from;
        *(char **)to = text ? config_copy_text(span_str(text)) : NULL;
        return text && !*(char **)to ? -ENOMEM : 0;
    case CONFIG_TYPE_LISTENS:
        return config_listens_copy(from, to);
    case CONFIG_TYPE_MAPPINGS:
        return config_mappings_copy(from, to);
    default:
        memcpy(to, from, config_type_size(option->type));
        return 0;
    }
}

void config_value_fini(const struct config_option *option, void *field)
{
    if (option->type == CONFIG_TYPE_STRING || option->type == CONFIG_TYPE_SECRET) {
        mem_free(*(char **)field);
    } else if (option->type == CONFIG_TYPE_LISTENS) {
        config_listens_fini(field);
    } else if (option->type == CONFIG_TYPE_MAPPINGS) {
        config_mappings_fini(field);
    } else if (option->type == CONFIG_TYPE_NAMESPACES) {
        config_namespaces_fini(field);
    }
    memset(field, 0, config_type_size(option->type));
}

size_t config_type_size(enum config_type type)
{
    switch (type) {
    case CONFIG_TYPE_BOOL:
        return sizeof(bool);
    case CONFIG_TYPE_INT:
        return sizeof(uint32_t);
    case CONFIG_TYPE_SIZE:
    case CONFIG_TYPE_DURATION:
        return sizeof(uint64_t);
    case CONFIG_TYPE_STRING:
    case CONFIG_TYPE_SECRET:
        return sizeof(char *);
    case CONFIG_TYPE_ENUM:
        return sizeof(unsigned);
    case CONFIG_TYPE_LISTENS:
        return sizeof(struct config_listens);
    case CONFIG_TYPE_MAPPINGS:
        return sizeof(struct config_mappings);
    case CONFIG_TYPE_NAMESPACES:
        return sizeof(struct config_namespaces);
    case CONFIG_TYPE_LISTEN_PORT:
    case CONFIG_TYPE_REDIS_ADDR:
    case CONFIG_TYPE_REDIS_URL:
        break;
    }
    return 0;
}
