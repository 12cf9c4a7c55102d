#include "ctl/config.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>

#include "base/mem.h"
#include "ctl/config_build.h"
#include "ctl/config_list.h"
#include "ctl/config_value.h"

static void lines_fini(struct config_lines *lines)
{
    for (uint32_t i = 0; i < lines->count; i++) {
        mem_free(lines->items[i]);
    }
    mem_free(lines->items);
    *lines = (struct config_lines){0};
}

void config_report_fini(struct config_report *report)
{
    lines_fini(&report->faults);
    lines_fini(&report->notices);
    lines_fini(&report->changed);
    lines_fini(&report->restart);
}

void config_free(struct config *config)
{
    if (!config) {
        return;
    }
    for (size_t i = 0; i < config_option_count; i++) {
        const struct config_option *option = &config_options[i];
        if (!config_is_alias(option)) {
            config_value_fini(option, config_field(config, option));
        }
        if (config->origins) {
            mem_free(config->origins[i].text);
        }
    }
    mem_free(config->origins);
    mem_free(config);
}

/* Ends the build: gives the snapshot, or frees it and says why there is none. */
static int close_build(struct config_build *build, struct config **ret_config)
{
    int err = 0;
    if (!build->no_memory) {
        config_build_finish(build);
    }
    if (build->no_memory) {
        err = -ENOMEM;
    } else if (build->report->faults.count + build->report->faults.more_count > 0) {
        err = -EINVAL;
    }
    if (err < 0) {
        config_free(build->config);
        return err;
    }
    *ret_config = build->config;
    return 0;
}

static const char *env_value(char **env, const char *name)
{
    size_t len = strlen(name);
    for (char **entry = env; entry && *entry; entry++) {
        if (strncmp(*entry, name, len) == 0 && (*entry)[len] == '=' && (*entry)[len + 1]) {
            return *entry + len + 1;
        }
    }
    return NULL;
}

int config_load(enum config_role role, int argc, char **argv, char **env,
    struct config **ret_config, struct config_report *report)
{
    struct config_build build;
    struct config_args *args = NULL;
    int err = config_build_init(&build, role, report);
    if (err < 0) {
        return err;
    }
    err = config_args_create(&build, role, argc, argv, &args);
    if (err != 0) {
        config_args_destroy(args);
        config_free(build.config);
        return err;
    }
    const char *file = config_args_file(args);
    file = file ? file : env_value(env, "FANOUT_CONFIG");
    if (file) {
        config_read_file(&build, file);
    }
    config_read_env(&build, env);
    config_args_apply(&build, args);
    config_args_destroy(args);
    return close_build(&build, ret_config);
}

int config_load_text(const char *name, const void *text, size_t len, struct config **ret_config,
    struct config_report *report)
{
    struct config_build build;
    int err = config_build_init(&build, CONFIG_SERVE, report);
    if (err < 0) {
        return err;
    }
    config_read_text(&build, name, text, len);
    return close_build(&build, ret_config);
}

uint32_t config_shard_count(const struct config *config)
{
    enum { SHARD_MAX = 64 };
    if (config->shards > 0) {
        return config->shards;
    }
    cpu_set_t cores;
    int count = sched_getaffinity(0, sizeof cores, &cores) == 0 ? CPU_COUNT(&cores) : 1;
    return count < 1 ? 1 : count > SHARD_MAX ? SHARD_MAX : (uint32_t)count;
}
