/* The command line: getopt_long() over a table made from the registry. */
#include "ctl/config_build.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/nearest.h"
#include "ctl/config_value.h"

/* What getopt_long() returns; rows follow from CODE_ROW, their "no-" forms from CODE_NO. */
enum { CODE_HELP = 1000, CODE_CONFIG, CODE_ROW = 2000, CODE_NO = 4000, FLAG_MAX = 256 };

struct arg {
    const struct config_option *option;
    const char *value; /* Within argv. */
    bool negated;
};

struct config_args {
    const char *file;
    size_t count;
    struct arg items[];
};

struct flag_table {
    struct option flags[FLAG_MAX];
    char names[FLAG_MAX][CONFIG_NAME_MAX + 4];
    size_t count;
};

static void add_flag(
    struct flag_table *table, const char *prefix, const char *name, int has_arg, int code)
{
    CHECK(table->count + 1 < FLAG_MAX);
    char *copy = table->names[table->count];
    snprintf(copy, sizeof table->names[0], "%s%s", prefix, name);
    table->flags[table->count] = (struct option){copy, has_arg, NULL, code};
    table->count += 1;
}

static void fill_table(struct flag_table *table, enum config_role role)
{
    char name[CONFIG_NAME_MAX];
    add_flag(table, "", "help", no_argument, CODE_HELP);
    add_flag(table, "", "config", required_argument, CODE_CONFIG);
    for (size_t i = 0; i < config_option_count; i++) {
        const struct config_option *option = &config_options[i];
        if (!(option->roles & role)) {
            continue;
        }
        bool is_bool = option->type == CONFIG_TYPE_BOOL;
        config_flag_name(option, name);
        add_flag(
            table, "", name, is_bool ? optional_argument : required_argument, CODE_ROW + (int)i);
        if (is_bool) {
            add_flag(table, "no-", name, no_argument, CODE_NO + (int)i);
        }
    }
}

static void fault_unknown(
    struct config_build *build, const struct flag_table *table, const char *arg)
{
    struct bytes quoted = {0};
    size_t len = strcspn(arg, "=");
    struct nearest best = {0};
    for (size_t i = 0; len > 2 && i < table->count; i++) {
        nearest_try(&best, span_of(arg + 2, len - 2), table->flags[i].name);
    }
    if (config_quote(span_of(arg, len), &quoted) < 0 || bytes_append_byte(&quoted, '\0') < 0) {
        build->no_memory = true;
    } else {
        config_fault(build, "command line", "%s is not a flag here%s%s%s", (char *)quoted.data,
            best.name[0] ? "; did you mean --" : "", best.name, best.name[0] ? "?" : "");
    }
    bytes_fini(&quoted);
}

static void fault_word(struct config_build *build, const char *word)
{
    struct bytes quoted = {0};
    if (config_quote(span_str(word), &quoted) < 0 || bytes_append_byte(&quoted, '\0') < 0) {
        build->no_memory = true;
    } else {
        config_fault(
            build, "command line", "%s is unexpected; flags begin with --", (char *)quoted.data);
    }
    bytes_fini(&quoted);
}

/* getopt_long() also takes the start of a name, which would change its meaning with every flag we
 * add: only the whole name counts. The word is the last one used, or the one before its value. */
static const char *word_of(char **argv)
{
    bool value_apart = optarg && optarg == argv[optind - 1];
    return argv[optind - (value_apart ? 2 : 1)];
}

static bool is_whole(const char *word, const char *name)
{
    size_t len = strlen(name);
    return strncmp(word, "--", 2) == 0 && strncmp(word + 2, name, len) == 0 &&
           (word[2 + len] == '\0' || word[2 + len] == '=');
}

static const char *flag_of_code(const struct flag_table *table, int code)
{
    for (size_t i = 0; i < table->count; i++) {
        if (table->flags[i].val == code) {
            return table->flags[i].name;
        }
    }
    return "?";
}

/* Takes argv apart; getopt_long() reorders what it is given, so it gets a copy. */
static int parse(struct config_build *build, const struct flag_table *table, int argc, char **argv,
    struct config_args *args)
{
    bool help = false;
    optind = 0; /* GNU: start anew. */
    opterr = 0;
    for (;;) {
        int at = optind ? optind : 1;
        int index = -1;
        int code = getopt_long(argc, argv, ":h", table->flags, &index);
        if (code == -1) {
            break;
        }
        if (code >= CODE_HELP && !is_whole(word_of(argv), table->flags[index].name)) {
            fault_unknown(build, table, word_of(argv));
            continue;
        }
        if (code == CODE_HELP || code == 'h') {
            help = true;
        } else if (code == CODE_CONFIG) {
            args->file = optarg;
        } else if (code == ':') {
            config_fault(build, "command line", "--%s needs a value", flag_of_code(table, optopt));
        } else if (code == '?' && optopt >= CODE_HELP) {
            config_fault(build, "command line", "--%s takes no value", flag_of_code(table, optopt));
        } else if (code == '?') {
            /* optind has moved past the word, except within a cluster of short flags. */
            fault_unknown(build, table, argv[optind > at ? optind - 1 : at]);
        } else {
            bool negated = code >= CODE_NO;
            args->items[args->count] = (struct arg){
                &config_options[code - (negated ? CODE_NO : CODE_ROW)], optarg, negated};
            args->count += 1;
        }
    }
    for (int i = optind; i < argc; i++) {
        fault_word(build, argv[i]);
    }
    return help ? 1 : 0;
}

int config_args_create(struct config_build *build, enum config_role role, int argc, char **argv,
    struct config_args **ret_args)
{
    static char role_name[] = "fanout";
    size_t count = argc > 1 ? (size_t)argc : 1;
    struct flag_table *table = mem_try_zalloc(sizeof *table);
    struct config_args *args = mem_try_zalloc(sizeof *args + count * sizeof args->items[0]);
    char **copy = mem_try_zalloc((count + 1) * sizeof *copy);
    int result = -ENOMEM;
    if (table && args && copy) {
        copy[0] = role_name;
        for (size_t i = 1; i < count; i++) {
            copy[i] = argv[i];
        }
        fill_table(table, role);
        result = parse(build, table, (int)count, copy, args);
        *ret_args = args;
        args = NULL;
    }
    mem_free(copy);
    mem_free(args);
    mem_free(table);
    return result;
}

void config_args_destroy(struct config_args *args)
{
    mem_free(args);
}

const char *config_args_file(const struct config_args *args)
{
    return args->file;
}

void config_args_apply(struct config_build *build, const struct config_args *args)
{
    for (size_t i = 0; i < args->count; i++) {
        const struct arg *arg = &args->items[i];
        char name[CONFIG_NAME_MAX], place[CONFIG_NAME_MAX + 16];
        snprintf(place, sizeof place, "flag --%s%s", arg->negated ? "no-" : "",
            config_flag_name(arg->option, name));
        const char *value = arg->negated ? "false" : arg->value ? arg->value : "true";
        config_build_set(build, arg->option,
            (struct config_place){CONFIG_LAYER_FLAG, .text = place}, span_str(value));
    }
}
