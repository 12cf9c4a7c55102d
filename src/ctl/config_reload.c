/* Reload: a new snapshot in which only what a running process can change has changed. */
#include "ctl/config.h"

#include <errno.h>
#include <stdio.h>

#include "base/mem.h"
#include "ctl/config_build.h"
#include "ctl/config_list.h"
#include "ctl/config_value.h"

/* One field of the running snapshot and the same of the new one. */
struct pair {
    const struct config_option *option;
    const void *running;
    void *fresh;
    const struct config_origin *running_origin;
    struct config_origin *fresh_origin;
};

static int compare_values(const struct pair *pair, bool *ret_same)
{
    struct bytes a = {0}, b = {0};
    int err = config_value_format(pair->option, pair->running, &a);
    err = err == 0 ? config_value_format(pair->option, pair->fresh, &b) : err;
    *ret_same = span_equal(span_of(a.data, a.len), span_of(b.data, b.len));
    bytes_fini(&a);
    bytes_fini(&b);
    return err;
}

static int keep_running(const struct pair *pair)
{
    const char *text = pair->running_origin->text;
    char *copy = text ? config_copy_text(span_str(text)) : NULL;
    if (text && !copy) {
        return -ENOMEM;
    }
    mem_free(pair->fresh_origin->text);
    *pair->fresh_origin = (struct config_origin){pair->running_origin->rank, copy};
    config_value_fini(pair->option, pair->fresh);
    return config_value_copy(pair->option, pair->running, pair->fresh);
}

static int merge(const struct pair *pair, const char *key, struct config_report *report)
{
    bool same = false;
    int err = compare_values(pair, &same);
    if (err < 0 || same) {
        return err;
    }
    config_line_add(pair->option->reload ? &report->changed : &report->restart, key);
    return pair->option->reload ? 0 : keep_running(pair);
}

/* A namespace that only one snapshot names is compared with the template of the other. */
static int merge_namespaces(
    const struct config *running, struct config *fresh, struct config_report *report)
{
    for (uint32_t i = 0; i < fresh->namespaces.count; i++) {
        struct config_namespace *ns = &fresh->namespaces.items[i];
        const struct config_namespace *was = config_namespace(running, ns->name, strlen(ns->name));
        for (size_t j = 0; j < config_namespace_field_count; j++) {
            const struct config_option *field = &config_namespace_fields[j];
            struct pair pair = {field, (const char *)was + field->field, (char *)ns + field->field,
                &was->origins[j], &ns->origins[j]};
            char key[CONFIG_NAME_MAX + 96];
            snprintf(key, sizeof key, "namespaces.%s.%s", ns->name, field->key);
            int err = merge(&pair, key, report);
            if (err < 0) {
                return err;
            }
        }
    }
    return 0;
}

/* A namespace whose lines were taken out of the file falls back to the template, but what only a
 * restart can change has to stay, so the namespace stays as well. */
static int add_missing(
    const struct config *running, struct config *fresh, struct config_report *report)
{
    struct config_namespaces *all = &fresh->namespaces;
    for (uint32_t i = 0; i < running->namespaces.count; i++) {
        struct span name = span_str(running->namespaces.items[i].name);
        struct config_namespace *ns = NULL;
        if (config_namespace_find(all, name)) {
            continue;
        }
        int err = config_namespace_add(all, name, &ns);
        if (err == -EINVAL) {
            config_line_add(&report->faults, "namespaces: with those of the running process there "
                                             "are too many; a restart is needed");
        }
        if (err < 0) {
            return err;
        }
        const struct config_namespace *model = config_namespace_find(all, span_str("default"));
        for (size_t j = 0; j < config_namespace_field_count; j++) {
            const struct config_option *field = &config_namespace_fields[j];
            const char *text = model->origins[j].text;
            ns->origins[j].text = text ? config_copy_text(span_str(text)) : NULL;
            if ((text && !ns->origins[j].text) ||
                config_value_copy(
                    field, (const char *)model + field->field, (char *)ns + field->field) < 0) {
                return -ENOMEM;
            }
        }
    }
    config_namespaces_sort(all);
    return 0;
}

static int merge_all(
    const struct config *running, struct config *fresh, struct config_report *report)
{
    for (size_t i = 0; i < config_option_count; i++) {
        const struct config_option *option = &config_options[i];
        if (config_is_alias(option) || option->type == CONFIG_TYPE_NAMESPACES) {
            continue;
        }
        struct pair pair = {option, config_field_const(running, option),
            config_field(fresh, option), &running->origins[i], &fresh->origins[i]};
        int err = merge(&pair, option->key, report);
        if (err < 0) {
            return err;
        }
    }
    int err = add_missing(running, fresh, report);
    return err < 0 ? err : merge_namespaces(running, fresh, report);
}

int config_reload(const struct config *running, enum config_role role, int argc, char **argv,
    char **env, struct config **ret_config, struct config_report *report)
{
    struct config *fresh = NULL;
    int err = config_load(role, argc, argv, env, &fresh, report);
    if (err != 0) {
        return err;
    }
    err = merge_all(running, fresh, report);
    if (err < 0) {
        config_free(fresh);
        return err;
    }
    *ret_config = fresh;
    return 0;
}
