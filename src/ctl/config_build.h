/* A snapshot under construction: values meet here, and the one with the highest rank stays.
 * Internal to config.
 */
#ifndef CTL_CONFIG_BUILD_H
#define CTL_CONFIG_BUILD_H

#include "base/attr.h"
#include "base/bytes.h"
#include "ctl/config.h"
#include "ctl/config_table.h"

struct config_build {
    struct config *config;
    struct config_report *report;
    bool no_memory; /* Sticky: the result is -ENOMEM, whatever else was found. */
};

enum config_layer { CONFIG_LAYER_DEFAULT, CONFIG_LAYER_FILE, CONFIG_LAYER_ENV, CONFIG_LAYER_FLAG };

/* Where a value stands. */
struct config_place {
    enum config_layer layer;
    bool contract;    /* A variable of the contract's, which yields to FANOUT_*. */
    const char *text; /* "env REDIS_HOST"; what messages begin with. */
};

/* Starts a snapshot with every default of a role. Returns 0 or -ENOMEM. */
MUST_USE int config_build_init(
    struct config_build *build, enum config_role role, struct config_report *report);

/* Adds a sentence: "place: what". */
void config_fault(struct config_build *build, const char *place, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
void config_notice(struct config_build *build, const char *place, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
void config_line_add(struct config_lines *lines, const char *text);

/* The usual fault: "place: key is "text"; expected …". A secret's text is left out. */
void config_fault_value(struct config_build *build, const char *place, const char *key,
    const struct config_option *option, struct span text);

/* An option of a file, the environment or the command line. What is wrong becomes a fault. */
void config_build_set(struct config_build *build, const struct config_option *option,
    struct config_place place, struct span text);

/* Sets one option to text at a rank of its own; for the short ways to say several options.
 * Returns 0, or -EINVAL without a fault. */
MUST_USE int config_build_put(struct config_build *build, const char *key, uint32_t rank,
    struct config_place place, struct span text);

/* Short ways: config_alias.c. False: there is a fault now. */
bool config_build_alias(struct config_build *build, const struct config_option *option,
    uint32_t rank, struct config_place place, struct span text);

/* What Kubernetes injects ("tcp://10.0.0.1:6379" in REDIS_PORT); false: not such a value. */
bool config_build_injected(struct config_build *build, const struct config_option *option,
    uint32_t rank, struct config_place place, struct span text);

/* Mappings and namespaces of a file. */
void config_build_mapping(struct config_build *build, struct config_place place,
    struct span pattern, struct span channel);
void config_build_namespace_set(struct config_build *build, struct span name,
    const struct config_option *field, struct config_place place, struct span text);

/* Makes sure the namespace exists; false: there is a fault now. */
bool config_build_namespace(
    struct config_build *build, struct span name, struct config_place place);

/* "room:policy=drop_newest,outbox_messages=64; chat:…" */
void config_build_namespaces(
    struct config_build *build, struct config_place place, struct span text);

/* The layers: config_yaml.c, config_env.c, config_args.c. */
void config_read_text(struct config_build *build, const char *name, const void *text, size_t len);
void config_read_file(struct config_build *build, const char *path);
void config_read_env(struct config_build *build, char **env);

struct config_args; /* The command line, taken apart. */

/* Gives the flags; 1 when --help was asked for, 0, or -ENOMEM. Faults go to build. */
MUST_USE int config_args_create(struct config_build *build, enum config_role role, int argc,
    char **argv, struct config_args **ret_args);
void config_args_destroy(struct config_args *args);
const char *config_args_file(const struct config_args *args); /* --config, or NULL. */
void config_args_apply(struct config_build *build, const struct config_args *args);

/* Appends what a file holds, at most max + 1 bytes. Returns 0 or negative errno. */
enum { CONFIG_FILE_BYTES_MAX = 1 << 20 };
MUST_USE int config_slurp(const char *path, size_t max, struct bytes *out);

/* Decides what depends on several values, and finds what contradicts: config_check.c. */
void config_build_finish(struct config_build *build);

/* The option's field and origin within the snapshot. */
static inline void *config_field(struct config *config, const struct config_option *option)
{
    return (char *)config + option->field;
}

static inline const void *config_field_const(
    const struct config *config, const struct config_option *option)
{
    return (const char *)config + option->field;
}

static inline size_t config_option_index(const struct config_option *option)
{
    return (size_t)(option - config_options);
}

/* "env REDIS_HOST", "default"; the key must exist. */
const char *config_origin_text(const struct config *config, const char *key);
uint32_t config_origin_rank(const struct config *config, const char *key);

#endif
