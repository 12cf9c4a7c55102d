/* The effective configuration, for people (text), programs (JSON), or as a file (YAML). */
#include "ctl/config.h"

#include <errno.h>
#include <stdio.h>

#include "ctl/config_build.h"
#include "ctl/config_list.h"
#include "ctl/config_value.h"

/* One value on its way out. */
struct item {
    const struct config_option *option;
    const void *field;
    const char *origin;
};

static struct item option_item(const struct config *config, const struct config_option *option)
{
    const char *text = config->origins[config_option_index(option)].text;
    return (struct item){option, config_field_const(config, option), text ? text : "default"};
}

static struct item field_item(const struct config_namespace *ns, size_t index)
{
    const struct config_option *field = &config_namespace_fields[index];
    const char *text = ns->origins[index].text;
    return (struct item){field, (const char *)ns + field->field, text ? text : "default"};
}

static bool is_text(const struct config_option *option)
{
    return option->type == CONFIG_TYPE_STRING || option->type == CONFIG_TYPE_SECRET;
}

static bool is_set(struct item item)
{
    return !is_text(item.option) || *(char *const *)item.field != NULL;
}

/* Characters that YAML does not take as they are: C1 controls, line separators, a byte order mark
 * and U+FFFE, U+FFFF. All have two or three bytes. */
static bool needs_escape(const uint8_t *c, size_t len, unsigned *ret_code)
{
    *ret_code = len == 2   ? (c[0] & 0x1fu) << 6 | (c[1] & 0x3fu)
                : len == 3 ? (c[0] & 0x0fu) << 12 | (c[1] & 0x3fu) << 6 | (c[2] & 0x3fu)
                           : c[0];
    unsigned code = *ret_code;
    return len <= 3 && (code < ' ' || (code >= 0x7f && code < 0xa0) || code == 0x2028 ||
                           code == 0x2029 || code == 0xfeff || code == 0xfffe || code == 0xffff);
}

/* JSON's string form, which YAML reads too; bytes that are no UTF-8 become U+FFFD. */
static int append_string(const char *text, struct bytes *out)
{
    struct span rest = span_str(text);
    int err = bytes_append_byte(out, '"');
    while (err == 0 && rest.len > 0) {
        size_t len = config_utf8_len(rest);
        uint8_t c = rest.data[0];
        unsigned code = 0;
        if (len == 0) {
            err = bytes_append_str(out, "\xef\xbf\xbd");
            len = 1;
        } else if (needs_escape(rest.data, len, &code)) {
            err = bytes_appendf(out, "\\u%04x", code);
        } else if (c == '"' || c == '\\') {
            err = bytes_appendf(out, "\\%c", c);
        } else {
            err = bytes_append(out, rest.data, len);
        }
        rest = span_of(rest.data + len, rest.len - len);
    }
    return err < 0 ? err : bytes_append_byte(out, '"');
}

static int append_mapping(const struct config_mapping *mapping, struct bytes *out)
{
    int err = bytes_append_str(out, "{\"pattern\": ");
    err = err == 0 ? append_string(mapping->pattern, out) : err;
    err = err == 0 ? bytes_append_str(out, ", \"channel\": ") : err;
    err = err == 0 ? append_string(mapping->channel, out) : err;
    return err == 0 ? bytes_append_byte(out, '}') : err;
}

/* A list as JSON and YAML both read it. The built-in mappings are left out of a file, where they
 * would be given a second time. */
static int append_list(struct item item, bool with_built_in, struct bytes *out)
{
    int err = bytes_append_byte(out, '[');
    bool first = true;
    const struct config_listens *listens = item.field;
    const struct config_mappings *mappings = item.field;
    bool is_listens = item.option->type == CONFIG_TYPE_LISTENS;
    uint32_t count = is_listens ? listens->count : mappings->count;
    for (uint32_t i = 0; err == 0 && i < count; i++) {
        if (!is_listens && !with_built_in && !mappings->items[i].origin) {
            continue;
        }
        err = first ? 0 : bytes_append_str(out, ", ");
        first = false;
        if (err == 0 && is_listens) {
            struct bytes text = {0};
            err = config_listen_format(&listens->items[i], &text);
            err = err == 0 ? bytes_append_byte(&text, '\0') : err;
            err = err == 0 ? append_string((char *)text.data, out) : err;
            bytes_fini(&text);
        } else if (err == 0) {
            err = append_mapping(&mappings->items[i], out);
        }
    }
    return err == 0 ? bytes_append_byte(out, ']') : err;
}

/* A value as a JSON token. Numbers go out in their base unit, or, for people, with one. */
static int append_value(struct item item, bool for_people, struct bytes *out)
{
    switch (item.option->type) {
    case CONFIG_TYPE_STRING:
        return is_set(item) ? append_string(*(char *const *)item.field, out)
                            : bytes_append_str(out, "null");
    case CONFIG_TYPE_SECRET:
        return bytes_append_str(out, is_set(item) ? "\"***\"" : "null");
    case CONFIG_TYPE_SIZE:
    case CONFIG_TYPE_DURATION:
        if (!for_people) {
            return bytes_appendf(out, "%llu", (unsigned long long)*(const uint64_t *)item.field);
        }
        return config_value_format(item.option, item.field, out);
    case CONFIG_TYPE_ENUM:
        return append_string(item.option->choices[*(const unsigned *)item.field], out);
    case CONFIG_TYPE_LISTENS:
    case CONFIG_TYPE_MAPPINGS:
        return append_list(item, !for_people, out);
    default:
        return config_value_format(item.option, item.field, out);
    }
}

static int text_line(const char *prefix, struct item item, struct bytes *out)
{
    char key[CONFIG_NAME_MAX + 96];
    struct bytes value = {0};
    snprintf(key, sizeof key, "%s%s", prefix, item.option->key);
    int err = item.option->type == CONFIG_TYPE_SECRET
                  ? bytes_append_str(&value, is_set(item) ? "***" : "")
                  : config_value_format(item.option, item.field, &value);
    err = err == 0 && value.len == 0 ? bytes_append_str(&value, "-") : err;
    if (err == 0) {
        err = bytes_appendf(
            out, "%-36s %-24.*s %s\n", key, (int)value.len, (char *)value.data, item.origin);
    }
    bytes_fini(&value);
    return err;
}

static int print_text(const struct config *config, struct bytes *out)
{
    int err = 0;
    for (size_t i = 0; err == 0 && i < config_option_count; i++) {
        const struct config_option *option = &config_options[i];
        if (!config_is_alias(option) && option->type != CONFIG_TYPE_NAMESPACES) {
            err = text_line("", option_item(config, option), out);
        }
    }
    for (uint32_t i = 0; i < config->namespaces.count; i++) {
        const struct config_namespace *ns = &config->namespaces.items[i];
        char prefix[96];
        snprintf(prefix, sizeof prefix, "namespaces.%s.", ns->name);
        for (size_t j = 0; err == 0 && j < config_namespace_field_count; j++) {
            err = text_line(prefix, field_item(ns, j), out);
        }
    }
    return err;
}

static int json_member(const char *indent, struct item item, bool last, struct bytes *out)
{
    int err = bytes_appendf(out, "%s\"%s\": {\"value\": ", indent, item.option->key);
    err = err == 0 ? append_value(item, false, out) : err;
    err = err == 0 ? bytes_append_str(out, ", \"source\": ") : err;
    err = err == 0 ? append_string(item.origin, out) : err;
    return err == 0 ? bytes_append_str(out, last ? "}\n" : "},\n") : err;
}

static int json_namespaces(const struct config *config, struct bytes *out)
{
    int err = bytes_append_str(out, "  \"namespaces\": {\n");
    for (uint32_t i = 0; err == 0 && i < config->namespaces.count; i++) {
        const struct config_namespace *ns = &config->namespaces.items[i];
        err = bytes_appendf(out, "    \"%s\": {\n", ns->name);
        for (size_t j = 0; err == 0 && j < config_namespace_field_count; j++) {
            err = json_member(
                "      ", field_item(ns, j), j + 1 == config_namespace_field_count, out);
        }
        if (err == 0) {
            err = bytes_append_str(out, i + 1 == config->namespaces.count ? "    }\n" : "    },\n");
        }
    }
    return err == 0 ? bytes_append_str(out, "  }\n}\n") : err;
}

/* One object keyed as the options are; sizes in bytes, durations in milliseconds. */
static int print_json(const struct config *config, struct bytes *out)
{
    int err = bytes_append_str(out, "{\n");
    for (size_t i = 0; err == 0 && i < config_option_count; i++) {
        const struct config_option *option = &config_options[i];
        if (!config_is_alias(option) && option->type != CONFIG_TYPE_NAMESPACES) {
            err = json_member("  ", option_item(config, option), false, out);
        }
    }
    return err == 0 ? json_namespaces(config, out) : err;
}

/* What is not set, and what must not be written down, stands as a comment. */
static int yaml_member(const char *indent, struct item item, struct bytes *out)
{
    const char *dot = strchr(item.option->key, '.');
    bool comment = !is_set(item) || item.option->type == CONFIG_TYPE_SECRET;
    int err = bytes_appendf(
        out, "%s%s%s: ", indent, comment ? "# " : "", dot ? dot + 1 : item.option->key);
    err = err == 0 ? append_value(item, true, out) : err;
    return err == 0 ? bytes_appendf(out, " # %s\n", item.origin) : err;
}

static int print_yaml(const struct config *config, struct bytes *out)
{
    char section[CONFIG_NAME_MAX] = "";
    int err = 0;
    /* One section at a time, wherever its rows stand in the table. */
    for (size_t i = 0; err == 0 && i < config_option_count; i++) {
        const struct config_option *option = &config_options[i];
        const char *dot = strchr(option->key, '.');
        if (config_is_alias(option) || option->type == CONFIG_TYPE_NAMESPACES) {
            continue;
        }
        size_t len = dot ? (size_t)(dot - option->key) : 0;
        if (len > 0 && (strncmp(section, option->key, len) != 0 || section[len] != '\0')) {
            snprintf(section, sizeof section, "%.*s", (int)len, option->key);
            err = bytes_appendf(out, "%s:\n", section);
        }
        err = err == 0 ? yaml_member(dot ? "  " : "", option_item(config, option), out) : err;
    }
    err = err == 0 ? bytes_append_str(out, "namespaces:\n") : err;
    for (uint32_t i = 0; err == 0 && i < config->namespaces.count; i++) {
        const struct config_namespace *ns = &config->namespaces.items[i];
        err = bytes_appendf(out, "  \"%s\":\n", ns->name);
        for (size_t j = 0; err == 0 && j < config_namespace_field_count; j++) {
            err = yaml_member("    ", field_item(ns, j), out);
        }
    }
    return err;
}

int config_print(const struct config *config, enum config_format format, struct bytes *out)
{
    return format == CONFIG_JSON   ? print_json(config, out)
           : format == CONFIG_YAML ? print_yaml(config, out)
                                   : print_text(config, out);
}
