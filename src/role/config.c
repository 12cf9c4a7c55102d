#include "role/config.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "ctl/config.h"

static const char usage[] =
    "Usage: fanout config [--check | --json | --yaml | --doc] [flags of fanout serve]\n"
    "\n"
    "Prints every effective setting and where it came from: flag, environment, file or default.\n"
    "Secrets are shown as ***. Exit code 0: all is well; 2: there are faults; 1: anything else.\n"
    "\n"
    "Output\n"
    "  --check\n"
    "          Print nothing unless there are faults or warnings.\n"
    "  --json\n"
    "          Print JSON; sizes in bytes, durations in milliseconds.\n"
    "  --yaml\n"
    "          Print a file that --config can read.\n"
    "  --doc\n"
    "          Print the reference of all options (docs/config.md).\n"
    "\n";

enum output { OUT_TEXT, OUT_JSON, OUT_YAML, OUT_CHECK, OUT_DOC };

/* Is it one of our own flags? */
static int output_of(const char *arg)
{
    static const char *const flags[] = {
        [OUT_JSON] = "--json",
        [OUT_YAML] = "--yaml",
        [OUT_CHECK] = "--check",
        [OUT_DOC] = "--doc",
    };
    for (int i = OUT_JSON; i <= OUT_DOC; i++) {
        if (strcmp(arg, flags[i]) == 0) {
            return i;
        }
    }
    return -1;
}

/* Takes our own flags out of argv. Returns how many words are left, or -1: two outputs asked for.
 */
static int take_output(int argc, char **argv, char **rest, enum output *ret_output)
{
    int count = 0, found = -1;
    for (int i = 0; i < argc; i++) {
        int output = i > 0 ? output_of(argv[i]) : -1;
        if (output < 0) {
            rest[count] = argv[i];
            count += 1;
        } else if (found >= 0 && found != output) {
            return -1;
        } else {
            found = output;
        }
    }
    *ret_output = found < 0 ? OUT_TEXT : (enum output)found;
    return count;
}

static int write_out(int err, struct bytes *text)
{
    if (err < 0) {
        fprintf(stderr, "fanout config: %s\n", strerror(-err));
    } else if (fwrite(text->data, 1, text->len, stdout) != text->len || fflush(stdout) != 0) {
        fprintf(stderr, "fanout config: cannot write: %s\n", strerror(errno));
        err = -errno;
    }
    bytes_fini(text);
    return err < 0 ? 1 : 0;
}

static void show_lines(const char *prefix, const struct config_lines *lines)
{
    for (uint32_t i = 0; i < lines->count; i++) {
        fprintf(stderr, "%s%s\n", prefix, lines->items[i]);
    }
    if (lines->more_count > 0) {
        fprintf(stderr, "%sand %u more\n", prefix, lines->more_count);
    }
}

static int show(const struct config *config, enum output output)
{
    struct bytes text = {0};
    enum config_format format = output == OUT_JSON   ? CONFIG_JSON
                                : output == OUT_YAML ? CONFIG_YAML
                                                     : CONFIG_TEXT;
    return output == OUT_CHECK ? 0 : write_out(config_print(config, format, &text), &text);
}

static int show_help(void)
{
    struct bytes text = {0};
    int err = bytes_append_str(&text, usage);
    err = err == 0 ? config_help(CONFIG_CONFIG, &text) : err;
    return write_out(err, &text);
}

int role_config(int argc, char **argv)
{
    struct config_report report = {0};
    struct config *config = NULL;
    enum output output = OUT_TEXT;
    char **rest = mem_zalloc(((size_t)argc + 1) * sizeof *rest);
    int count = take_output(argc, argv, rest, &output);
    int code = 1;
    if (count < 0) {
        fputs("fanout config: expected one of --check, --json, --yaml and --doc\n", stderr);
        code = 2;
    } else if (output == OUT_DOC) {
        struct bytes text = {0};
        code = write_out(config_doc(&text), &text);
    } else {
        int result = config_load(CONFIG_CONFIG, count, rest, environ, &config, &report);
        show_lines("warning: ", &report.notices);
        show_lines("", &report.faults);
        code = result == 0         ? show(config, output)
               : result == 1       ? show_help()
               : result == -EINVAL ? 2
                                   : 1;
        if (result == -ENOMEM) {
            fputs("fanout config: out of memory\n", stderr);
        }
    }
    config_free(config);
    config_report_fini(&report);
    mem_free(rest);
    return code;
}
