/* The registry: one row per option; files, environment, flags, help and docs all read it. */
#ifndef CTL_CONFIG_TABLE_H
#define CTL_CONFIG_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "ctl/config.h"

enum config_type {
    CONFIG_TYPE_BOOL,       /* bool */
    CONFIG_TYPE_INT,        /* uint32_t */
    CONFIG_TYPE_SIZE,       /* uint64_t, bytes */
    CONFIG_TYPE_DURATION,   /* uint64_t, milliseconds */
    CONFIG_TYPE_STRING,     /* char * */
    CONFIG_TYPE_SECRET,     /* char *, never shown */
    CONFIG_TYPE_ENUM,       /* an enum whose values count from 0 in the order of `choices` */
    CONFIG_TYPE_LISTENS,    /* struct config_listens */
    CONFIG_TYPE_MAPPINGS,   /* struct config_mappings */
    CONFIG_TYPE_NAMESPACES, /* struct config_namespaces */
    /* Short ways to say other options; they hold no value of their own. */
    CONFIG_TYPE_LISTEN_PORT,
    CONFIG_TYPE_REDIS_ADDR,
    CONFIG_TYPE_REDIS_URL,
};

enum config_group {
    CONFIG_GROUP_LISTEN,
    CONFIG_GROUP_BROKER,
    CONFIG_GROUP_LIMITS,
    CONFIG_GROUP_HTTP,
    CONFIG_GROUP_WS,
    CONFIG_GROUP_TCP,
    CONFIG_GROUP_NAMESPACES,
    CONFIG_GROUP_WORKFLOWS,
    CONFIG_GROUP_LOG,
    CONFIG_GROUP_COUNT,
};

enum { CONFIG_CHOICE_MAX = 6 };

struct config_option {
    const char *key;                /* "redis.host"; the first part is the section of the file. */
    const char *flag;               /* Without "--"; NULL: the key with dashes. */
    const char *env[2];             /* Contract names beside FANOUT_<KEY>. */
    const char *preset;             /* The default as one would write it; NULL: not set. */
    const char *preset_coordinator; /* The coordinator's, where it is another. */
    const char *arg;                /* What help calls the value; NULL: by type. */
    const char *help;
    const char *choices[CONFIG_CHOICE_MAX];
    uint64_t min, max; /* Both included; max 0 means no upper bound but the type's. */
    size_t field;      /* Offset into struct config, or struct config_namespace. */
    enum config_type type;
    enum config_group group;
    uint8_t roles;
    uint8_t yields; /* Of several ways to say one thing in one place, the smallest wins. */
    bool reload;    /* SIGHUP can change it. */
};

extern const struct config_option config_options[];
extern const size_t config_option_count;

/* The fields of one namespace. */
extern const struct config_option config_namespace_fields[];
extern const size_t config_namespace_field_count;

extern const char *const config_group_titles[CONFIG_GROUP_COUNT];

/* The row with this key, or NULL. */
const struct config_option *config_option_find(struct span key);
const struct config_option *config_namespace_field_find(struct span key);

/* Does any key start with this section and a dot? */
bool config_section_known(struct span section);

/* The flag without dashes, and the FANOUT_ name, of a row. */
enum { CONFIG_NAME_MAX = 64 };
const char *config_flag_name(const struct config_option *option, char name[CONFIG_NAME_MAX]);
const char *config_env_name(const struct config_option *option, char name[CONFIG_NAME_MAX]);

/* The default of a row in this role; NULL: not set. */
static inline const char *config_preset(const struct config_option *option, enum config_role role)
{
    return role == CONFIG_COORDINATOR && option->preset_coordinator ? option->preset_coordinator
                                                                    : option->preset;
}

/* A type without a value of its own, see above. */
static inline bool config_is_alias(const struct config_option *option)
{
    return option->type >= CONFIG_TYPE_LISTEN_PORT;
}

#endif
