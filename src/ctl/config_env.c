/* The environment. Only names of the registry are read. */
#include "ctl/config_build.h"

#include <ctype.h>
#include <stdio.h>

#include "base/nearest.h"

#include "ctl/config_value.h"

static void set_from(struct config_build *build, const struct config_option *option,
    const char *name, bool contract, const char *value)
{
    char place[CONFIG_NAME_MAX + 8];
    snprintf(place, sizeof place, "env %s", name);
    config_build_set(build, option,
        (struct config_place){CONFIG_LAYER_ENV, .contract = contract, .text = place},
        span_str(value));
}

/* Splits "NAME=value"; false when the name is too long to be one of ours. */
static bool split_entry(const char *entry, char name[CONFIG_NAME_MAX], const char **ret_value)
{
    const char *equals = strchr(entry, '=');
    if (!equals || (size_t)(equals - entry) >= CONFIG_NAME_MAX) {
        return false;
    }
    memcpy(name, entry, (size_t)(equals - entry));
    name[equals - entry] = '\0';
    *ret_value = equals + 1;
    return true;
}

static bool ends_with(const char *text, size_t len, const char *tail)
{
    size_t tail_len = strlen(tail);
    return len >= tail_len && memcmp(text + len - tail_len, tail, tail_len) == 0;
}

/* What Kubernetes adds for every service whose name begins with "fanout": FANOUT_SERVICE_HOST,
 * FANOUT_SERVICE_PORT, FANOUT_SERVICE_PORT_HTTP, FANOUT_PORT_8084_TCP, FANOUT_PORT_8084_TCP_ADDR.
 */
static bool is_service_variable(const char *name)
{
    if (ends_with(name, strlen(name), "_SERVICE_HOST") || strstr(name, "_SERVICE_PORT")) {
        return true;
    }
    for (const char *port = strstr(name, "_PORT_"); port; port = strstr(port + 1, "_PORT_")) {
        const char *rest = port + 6;
        size_t digits = strspn(rest, "0123456789");
        rest += digits;
        if (digits > 0 && (strncmp(rest, "_TCP", 4) == 0 || strncmp(rest, "_UDP", 4) == 0)) {
            return true;
        }
    }
    return false;
}

static void note_unlisted(struct config_build *build, const char *name, const char *value)
{
    struct nearest best = {0};
    char own[CONFIG_NAME_MAX], place[CONFIG_NAME_MAX + 8];
    bool injected = is_service_variable(name) ||
                    (strncmp(value, "tcp://", 6) == 0 && ends_with(name, strlen(name), "_PORT"));
    if (strcmp(name, "FANOUT_CONFIG") == 0 || injected) {
        return;
    }
    for (size_t i = 0; i < config_option_count; i++) {
        nearest_try(&best, span_str(name), config_env_name(&config_options[i], own));
    }
    snprintf(place, sizeof place, "env %s", name);
    config_notice(build, place, "not a known option, ignored%s%s%s",
        best.name[0] ? "; did you mean " : "", best.name, best.name[0] ? "?" : "");
}

static void read_entry(struct config_build *build, const char *name, const char *value)
{
    char own[CONFIG_NAME_MAX];
    for (size_t i = 0; i < config_option_count; i++) {
        const struct config_option *option = &config_options[i];
        for (size_t j = 0; j < COUNT_OF(option->env); j++) {
            if (option->env[j] && strcmp(option->env[j], name) == 0) {
                set_from(build, option, name, true, value);
                return;
            }
        }
        if (strcmp(config_env_name(option, own), name) == 0) {
            set_from(build, option, name, false, value);
            return;
        }
    }
    if (strncmp(name, "FANOUT_", 7) == 0) {
        note_unlisted(build, name, value);
    }
}

void config_read_env(struct config_build *build, char **env)
{
    for (char **entry = env; entry && *entry; entry++) {
        char name[CONFIG_NAME_MAX];
        const char *value = NULL;
        /* Compose files and charts pass empty values for what they leave out. */
        if (split_entry(*entry, name, &value) && *value) {
            read_entry(build, name, value);
        }
    }
}
