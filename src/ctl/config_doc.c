/* docs/config.md, from the registry; a test holds the file against this. */
#include "ctl/config.h"

#include <stdio.h>

#include "ctl/config_words.h"

enum { WIDTH = 100 };

static const char intro[] =
    "# Configuration\n"
    "\n"
    "This page is generated: `fanout config --doc`.\n"
    "\n"
    "A value comes from a flag, else from the environment, else from the file (`--config FILE` or\n"
    "`FANOUT_CONFIG`; there is none by default), else it is the default. `fanout config` prints "
    "every\n"
    "effective value and where it came from, `fanout config --check` only says whether all is "
    "well.\n"
    "\n"
    "- **File:** YAML; the dots of a key are its levels, so `redis.host` is `host:` under "
    "`redis:`.\n"
    "  Unknown keys, keys given twice, anchors and aliases are faults. All faults are reported at "
    "once,\n"
    "  with their lines.\n"
    "- **Environment:** `FANOUT_` and the key in capitals with underscores. It beats the other "
    "name of an\n"
    "  option, where it has one. An empty variable counts as not set. An unknown `FANOUT_` name is "
    "a\n"
    "  warning. Where Kubernetes injects `tcp://10.0.0.1:6379` as `REDIS_PORT`, host and port are "
    "taken\n"
    "  from it unless anything else names them, the file included.\n"
    "- **Flags:** `--` and the key with dashes; `--flag value` and `--flag=value` are the same. "
    "`--no-`\n"
    "  before the name turns a switch off.\n"
    "- **Sizes** are bytes, or have a unit: `16KiB`, `1MiB`, `2GiB`; `k`, `m` and `g` mean the "
    "same.\n"
    "- **Durations** have a unit: `500ms`, `25s`, `10m`, `1h`, `7d`. `0` needs none.\n"
    "- **Reload:** a SIGHUP takes over what is marked so; the log names what waits for a "
    "restart.\n"
    "\n"
    "```yaml\n"
    "listen: [\":8084\", \"unix:/run/fanout.sock\"]\n"
    "redis:\n"
    "  host: redis.internal\n"
    "  password_file: /run/secrets/redis\n"
    "  mappings:\n"
    "    - {pattern: \"orders:*\", channel: \"orders:{1}\"}\n"
    "namespaces:\n"
    "  default: {outbox_messages: 1024}\n"
    "  room: {policy: drop_newest, history_age: 1h}\n"
    "```\n";

/* "Default `10s`. From 1ms to 1h. Environment `…`. Reload." */
static int facts(const struct config_option *option, bool is_field, struct bytes *out)
{
    int err = option->preset ? bytes_appendf(out, "Default `%s`", option->preset)
                             : bytes_append_str(out, "Not set by default");
    if (err == 0 && option->preset_coordinator) {
        err = bytes_appendf(out, ", of the coordinator `%s`", option->preset_coordinator);
    }
    err = err == 0 ? bytes_append_byte(out, '.') : err;
    if (err == 0 && !is_field) {
        err = bytes_append_str(out, " Environment ");
        err = err == 0 ? config_words_env(option, "`", out) : err;
        err = err == 0 ? bytes_append_byte(out, '.') : err;
    }
    return err == 0 && option->reload ? bytes_append_str(out, " Reload.") : err;
}

/* Help is plain text: its stars would set the page in italics. */
static int append_escaped(const char *text, struct bytes *out)
{
    int err = 0;
    for (; err == 0 && *text; text++) {
        err = *text == '*' ? bytes_append_str(out, "\\*") : bytes_append_byte(out, (uint8_t)*text);
    }
    return err;
}

static int entry(const struct config_option *option, bool is_field, struct bytes *out)
{
    char flag[CONFIG_NAME_MAX];
    struct bytes arg = {0}, words = {0};
    int err = config_words_arg(option, &arg);
    err = err == 0 ? bytes_append_byte(&arg, '\0') : err;
    const char *name = err == 0 ? (const char *)arg.data : "";
    if (err == 0 && is_field) {
        err = bytes_appendf(out, "\n- `%s: %s`\n", option->key, name);
    } else if (err == 0) {
        err = bytes_appendf(out, "\n### `%s`\n\n`--%s%s%s%s`\n\n", option->key,
            option->type == CONFIG_TYPE_BOOL ? "[no-]" : "", config_flag_name(option, flag),
            *name ? " " : "", name);
    }
    err = err == 0 ? append_escaped(option->help, &words) : err;
    err = err == 0 ? bytes_append_byte(&words, ' ') : err;
    err = err == 0 ? facts(option, is_field, &words) : err;
    if (err == 0) {
        err = config_words_wrap(span_of(words.data, words.len), is_field ? 2 : 0, WIDTH, out);
    }
    bytes_fini(&arg);
    bytes_fini(&words);
    return err;
}

int config_doc(struct bytes *out)
{
    int err = bytes_append_str(out, intro);
    for (int group = 0; err == 0 && group < CONFIG_GROUP_COUNT; group++) {
        err = bytes_appendf(out, "\n## %s\n", config_group_titles[group]);
        for (size_t i = 0; err == 0 && i < config_option_count; i++) {
            const struct config_option *option = &config_options[i];
            if ((int)option->group != group) {
                continue;
            }
            err = entry(option, false, out);
            for (size_t j = 0; err == 0 && option->type == CONFIG_TYPE_NAMESPACES &&
                               j < config_namespace_field_count;
                 j++) {
                err = entry(&config_namespace_fields[j], true, out);
            }
        }
    }
    return err;
}
