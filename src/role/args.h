/* Args: the flags of a terminal tool, as one table.
 *
 * A tool describes its flags once; parsing, --help and the sentences about mistakes come from that
 * table. `--name value` and `--name=value` are the same; `--` ends the flags. Texts are borrowed
 * from argv and live as long as it does.
 */
#ifndef ROLE_ARGS_H
#define ROLE_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/attr.h"

enum { ARGS_LIST_MAX = 128, ARGS_ERR_MAX = 256 };

enum arg_kind {
    ARG_FLAG,  /* bool: present or not. */
    ARG_TEXT,  /* const char *. */
    ARG_LIST,  /* struct arg_list: may be repeated. */
    ARG_COUNT, /* uint64_t: "18000", "18k", "1M". */
    ARG_RATE,  /* double: as a count, with a fraction. */
    ARG_TIME,  /* double, seconds: "5", "5s", "250ms", "2m". */
    ARG_SIZE,  /* uint64_t, bytes: "128", "4k", "1M", in powers of 1024. */
};

struct arg_list {
    const char *items[ARGS_LIST_MAX];
    size_t count;
};

struct arg {
    const char *name; /* Without the dashes; NULL makes the row a heading of the help. */
    enum arg_kind kind;
    size_t offset;      /* Of the value in the tool's options struct. */
    const char *value;  /* What the help calls the value, e.g. "URL"; NULL for ARG_FLAG. */
    const char *help;   /* One line, or several divided by '\n'. */
    const char *choice; /* ARG_TEXT: allowed words, "steady|idle-memory"; NULL: any text. */
    double min;         /* Numbers: the least that is accepted. */
};

enum args_result { ARGS_OK, ARGS_HELP, ARGS_WRONG };

/* Reads argv[1..argc-1] into options; what is no flag goes to rest. ARGS_HELP when --help or -h
 * occurs. On ARGS_WRONG err holds a sentence without a full stop. */
MUST_USE enum args_result args_parse(const struct arg *table, size_t table_count, int argc,
    char **argv, void *options, struct arg_list *rest, char err[ARGS_ERR_MAX]);

/* Prints the table, one flag a line. */
void args_help(FILE *out, const struct arg *table, size_t table_count);

/* The single values, for whoever reads such texts elsewhere. Return 0 or -EINVAL. */
MUST_USE int args_read_number(const char *text, double unit_step, double *ret);
MUST_USE int args_read_time(const char *text, double *ret_seconds);

#endif
