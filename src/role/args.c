#include "role/args.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"

/* Reads "12", "12.5", "4k", "1M", "2G". */
int args_read_number(const char *text, double unit_step, double *ret)
{
    char *end;

    /* strtod() alone would take "inf", "nan" and hexadecimal. */
    if (!((*text >= '0' && *text <= '9') || *text == '.') || text[1] == 'x' || text[1] == 'X') {
        return -EINVAL;
    }
    double value = strtod(text, &end);
    switch (*end) {
    case 'k':
    case 'K':
        value *= unit_step;
        end++;
        break;
    case 'M':
        value *= unit_step * unit_step;
        end++;
        break;
    case 'G':
        value *= unit_step * unit_step * unit_step;
        end++;
        break;
    default:
        break;
    }
    if (*end || !isfinite(value) || value > 9e15) {
        return -EINVAL;
    }
    *ret = value;
    return 0;
}

int args_read_time(const char *text, double *ret_seconds)
{
    static const struct {
        const char *suffix;
        double seconds;
    } units[] = {{"ms", 1e-3}, {"us", 1e-6}, {"s", 1}, {"m", 60}, {"h", 3600}, {"", 1}};
    char digits[32];
    size_t len = strspn(text, "0123456789.");

    if (len == 0 || len >= sizeof digits) {
        return -EINVAL;
    }
    memcpy(digits, text, len);
    digits[len] = 0;
    double value;
    if (args_read_number(digits, 1, &value)) {
        return -EINVAL;
    }
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        if (strcmp(text + len, units[i].suffix) == 0) {
            *ret_seconds = value * units[i].seconds;
            return 0;
        }
    }
    return -EINVAL;
}

/* Is word one of "a|b|c"? */
static bool is_choice(const char *choices, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = choices; at; at = strchr(at, '|')) {
        at += *at == '|';
        if (strncmp(at, word, len) == 0 && (at[len] == '|' || at[len] == 0) && len) {
            return true;
        }
    }
    return false;
}

static int store(const struct arg *arg, const char *text, void *options, char *err)
{
    char *target = (char *)options + arg->offset;
    double number = 0;
    const char *example = NULL;

    switch (arg->kind) {
    case ARG_FLAG:
        *(bool *)target = true;
        return 0;
    case ARG_TEXT:
        if (arg->choice && !is_choice(arg->choice, text)) {
            snprintf(err, ARGS_ERR_MAX, "--%s is \"%.60s\"; expected one of %s", arg->name, text,
                arg->choice);
            return -EINVAL;
        }
        *(const char **)target = text;
        return 0;
    case ARG_LIST: {
        struct arg_list *list = (struct arg_list *)target;
        if (list->count == ARGS_LIST_MAX) {
            snprintf(err, ARGS_ERR_MAX, "--%s occurs more than %d times", arg->name, ARGS_LIST_MAX);
            return -EINVAL;
        }
        list->items[list->count++] = text;
        return 0;
    }
    case ARG_COUNT:
        /* A fraction is fine where a unit makes it whole: 1.5k. */
        example = "a whole number, e.g. 1000 or 18k";
        if (args_read_number(text, 1000, &number) || number != floor(number)) {
            break;
        }
        if (number >= arg->min) {
            *(uint64_t *)target = (uint64_t)number;
            return 0;
        }
        break;
    case ARG_SIZE:
        example = "bytes, e.g. 128 or 4k";
        if (args_read_number(text, 1024, &number) == 0 && number >= arg->min) {
            *(uint64_t *)target = (uint64_t)number;
            return 0;
        }
        break;
    case ARG_RATE:
        example = "a number, e.g. 100 or 2.5";
        if (args_read_number(text, 1000, &number) == 0 && number >= arg->min) {
            *(double *)target = number;
            return 0;
        }
        break;
    case ARG_TIME:
        example = "a time, e.g. 5s, 250ms or 2m";
        if (args_read_time(text, &number) == 0 && number >= arg->min) {
            *(double *)target = number;
            return 0;
        }
        break;
    }
    if (arg->min > 0) {
        snprintf(err, ARGS_ERR_MAX, "--%s is \"%.60s\"; expected %s, at least %g", arg->name, text,
            example, arg->min);
    } else {
        snprintf(err, ARGS_ERR_MAX, "--%s is \"%.60s\"; expected %s", arg->name, text, example);
    }
    return -EINVAL;
}

static const struct arg *find(const struct arg *table, size_t table_count, const char *name)
{
    for (size_t i = 0; i < table_count; i++) {
        if (table[i].name && strcmp(table[i].name, name) == 0) {
            return &table[i];
        }
    }
    return NULL;
}

enum args_result args_parse(const struct arg *table, size_t table_count, int argc, char **argv,
    void *options, struct arg_list *rest, char err[ARGS_ERR_MAX])
{
    bool only_rest = false;

    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (only_rest || word[0] != '-' || word[1] == 0) {
            if (rest->count == ARGS_LIST_MAX) {
                snprintf(err, ARGS_ERR_MAX, "too many words behind the command");
                return ARGS_WRONG;
            }
            rest->items[rest->count++] = word;
            continue;
        }
        if (strcmp(word, "--") == 0) {
            only_rest = true;
            continue;
        }
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            return ARGS_HELP;
        }
        char name[64];
        const char *body = word + (word[1] == '-' ? 2 : 1);
        const char *equals = strchr(body, '=');
        size_t len = equals ? (size_t)(equals - body) : strlen(body);
        snprintf(name, sizeof name, "%.*s", (int)(len < 63 ? len : 63), body);
        const struct arg *arg = word[1] == '-' ? find(table, table_count, name) : NULL;
        if (!arg) {
            struct nearest meant = {0};
            for (size_t j = 0; j < table_count; j++) {
                if (table[j].name) {
                    nearest_try(&meant, span_str(name), table[j].name);
                }
            }
            snprintf(err, ARGS_ERR_MAX,
                meant.name[0] ? "unknown flag %.*s; did you mean --%s?"
                              : "unknown flag %.*s; see --help",
                (int)(body - word + (ptrdiff_t)(len < 63 ? len : 63)), word, meant.name);
            return ARGS_WRONG;
        }
        const char *value = equals ? equals + 1 : NULL;
        if (arg->kind == ARG_FLAG) {
            if (value) {
                snprintf(err, ARGS_ERR_MAX, "--%s takes no value", arg->name);
                return ARGS_WRONG;
            }
        } else if (!value) {
            if (i + 1 == argc) {
                snprintf(err, ARGS_ERR_MAX, "--%s needs a value: --%s %s", arg->name, arg->name,
                    arg->value);
                return ARGS_WRONG;
            }
            value = argv[++i];
        }
        if (store(arg, value, options, err)) {
            return ARGS_WRONG;
        }
    }
    return ARGS_OK;
}

void args_help(FILE *out, const struct arg *table, size_t table_count)
{
    enum { COLUMN = 26 };

    for (size_t i = 0; i < table_count; i++) {
        if (!table[i].name) {
            fprintf(out, "\n%s\n", table[i].help);
            continue;
        }
        char left[64];
        int len = snprintf(left, sizeof left, "  --%s%s%s", table[i].name,
            table[i].value ? " " : "", table[i].value ? table[i].value : "");
        fprintf(out, "%-*s", COLUMN, left);
        if (len >= COLUMN) {
            fprintf(out, "\n%*s", COLUMN, "");
        }
        for (const char *line = table[i].help; line;) {
            const char *end = strchr(line, '\n');
            fprintf(out, "%.*s\n", end ? (int)(end - line) : (int)strlen(line), line);
            if (end) {
                fprintf(out, "%*s", COLUMN, "");
            }
            line = end ? end + 1 : NULL;
        }
    }
}
