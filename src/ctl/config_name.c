/* Names: looking rows up, and what a row is called as a flag and in the environment. */
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
        if (*c == '.' || *c == '_') {
            *c = '-';
        }
    }
    return name;
}

const char *config_env_name(const struct config_option *option, char name[CONFIG_NAME_MAX])
{
    int len = snprintf(name, CONFIG_NAME_MAX, "FANOUT_%s", option->key);
    CHECK(len > 0 && len < CONFIG_NAME_MAX);
    for (char *c = name; *c; c++) {
        char upper = (char)toupper((unsigned char)*c);
        *c = upper;
        if (upper == '.') {
            *c = '_';
        }
    }
    return name;
}
