/* --help: the registry as a page for one role. */
#include "ctl/config.h"

#include <errno.h>

#include "ctl/config_words.h"

enum { WIDTH = 90, INDENT = 10 };

int config_words_arg(const struct config_option *option, struct bytes *out)
{
    static const char *const names[] = {
        [CONFIG_TYPE_BOOL] = "",
        [CONFIG_TYPE_INT] = "NUMBER",
        [CONFIG_TYPE_SIZE] = "SIZE",
        [CONFIG_TYPE_DURATION] = "DURATION",
        [CONFIG_TYPE_STRING] = "TEXT",
        [CONFIG_TYPE_SECRET] = "SECRET",
        [CONFIG_TYPE_ENUM] = "",
        [CONFIG_TYPE_LISTENS] = "ADDRESS",
        [CONFIG_TYPE_MAPPINGS] = "PATTERN=CHANNEL",
        [CONFIG_TYPE_NAMESPACES] = "NAME:KEY=VALUE,...",
        [CONFIG_TYPE_LISTEN_PORT] = "PORT",
        [CONFIG_TYPE_REDIS_ADDR] = "HOST:PORT",
        [CONFIG_TYPE_REDIS_URL] = "URL",
    };
    if (option->type != CONFIG_TYPE_ENUM) {
        return bytes_append_str(out, option->arg ? option->arg : names[option->type]);
    }
    int err = 0;
    for (size_t i = 0; err == 0 && i < CONFIG_CHOICE_MAX && option->choices[i]; i++) {
        err = bytes_appendf(out, "%s%s", i > 0 ? "|" : "", option->choices[i]);
    }
    return err;
}

int config_words_env(const struct config_option *option, const char *quote, struct bytes *out)
{
    char name[CONFIG_NAME_MAX];
    int err = bytes_appendf(out, "%s%s%s", quote, config_env_name(option, name), quote);
    for (size_t i = 0; err == 0 && i < COUNT_OF(option->env); i++) {
        if (option->env[i]) {
            err = bytes_appendf(out, ", %s%s%s", quote, option->env[i], quote);
        }
    }
    return err;
}

int config_words_wrap(struct span words, size_t indent, size_t width, struct bytes *out)
{
    size_t column = 0;
    int err = 0;
    while (err == 0 && words.len > 0) {
        const uint8_t *blank = memchr(words.data, ' ', words.len);
        size_t len = blank ? (size_t)(blank - words.data) : words.len;
        if (column > 0 && column + 1 + len > width) {
            err = bytes_append_byte(out, '\n');
            column = 0;
        }
        if (err == 0 && column == 0) {
            err = bytes_appendf(out, "%*s", (int)indent, "");
            column = indent;
        } else if (err == 0) {
            err = bytes_append_byte(out, ' ');
            column += 1;
        }
        err = err == 0 ? bytes_append(out, words.data, len) : err;
        column += len;
        size_t used = blank ? len + 1 : len;
        words = span_of(words.data + used, words.len - used);
    }
    return err == 0 ? bytes_append_byte(out, '\n') : err;
}

static int option_help(const struct config_option *option, enum config_role role, struct bytes *out)
{
    char name[CONFIG_NAME_MAX];
    struct bytes arg = {0}, words = {0};
    bool is_bool = option->type == CONFIG_TYPE_BOOL;
    int err = config_words_arg(option, &arg);
    if (err == 0) {
        err = bytes_appendf(out, "  --%s%s%s%.*s\n", is_bool ? "[no-]" : "",
            config_flag_name(option, name), arg.len > 0 ? " " : "", (int)arg.len,
            arg.len > 0 ? (char *)arg.data : "");
    }
    err = err == 0 ? bytes_append_str(&words, option->help) : err;
    if (err == 0 && option->preset) {
        err = bytes_appendf(&words, " [default: %s]", config_preset(option, role));
    }
    err = err == 0 ? bytes_append_str(&words, " [env: ") : err;
    err = err == 0 ? config_words_env(option, "", &words) : err;
    err = err == 0 ? bytes_append_byte(&words, ']') : err;
    if (err == 0) {
        err = config_words_wrap(span_of(words.data, words.len), INDENT, WIDTH, out);
    }
    bytes_fini(&arg);
    bytes_fini(&words);
    return err;
}

/* The keys of a namespace have no flags of their own. */
static int namespace_help(struct bytes *out)
{
    int err = bytes_appendf(out, "%*sKEY is one of:\n", INDENT, "");
    for (size_t i = 0; err == 0 && i < config_namespace_field_count; i++) {
        const struct config_option *field = &config_namespace_fields[i];
        struct bytes arg = {0}, words = {0};
        err = config_words_arg(field, &arg);
        if (err == 0) {
            err = bytes_appendf(
                &words, "%s=%.*s: %s", field->key, (int)arg.len, (char *)arg.data, field->help);
        }
        if (err == 0 && field->preset) {
            err = bytes_appendf(&words, " [default: %s]", field->preset);
        }
        if (err == 0) {
            err = config_words_wrap(span_of(words.data, words.len), INDENT + 2, WIDTH, out);
        }
        bytes_fini(&arg);
        bytes_fini(&words);
    }
    return err;
}

int config_help(enum config_role role, struct bytes *out)
{
    int err = bytes_appendf(out,
        "General\n  --config FILE\n%*sYAML file to read. [env: FANOUT_CONFIG]\n"
        "  --help\n%*sShow this and exit.\n",
        INDENT, "", INDENT, "");
    for (int group = 0; err == 0 && group < CONFIG_GROUP_COUNT; group++) {
        bool titled = false;
        for (size_t i = 0; err == 0 && i < config_option_count; i++) {
            const struct config_option *option = &config_options[i];
            if ((int)option->group != group || !(option->roles & role)) {
                continue;
            }
            if (!titled) {
                err = bytes_appendf(out, "\n%s\n", config_group_titles[group]);
                titled = true;
            }
            err = err == 0 ? option_help(option, role, out) : err;
            if (err == 0 && option->type == CONFIG_TYPE_NAMESPACES) {
                err = namespace_help(out);
            }
        }
    }
    return err;
}
