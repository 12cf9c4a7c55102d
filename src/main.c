/* fanout: finds the role in a table and runs it. */
#include <stdio.h>
#include <string.h>

#include "base/attr.h"
#include "role/role.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} roles[] = {
    {"serve", role_serve, "the gateway: clients connect here"},
    {"coordinator", role_coordinator, "runs workflows and publishes what happens in them"},
    {"demo", role_demo,
        "a gateway and a coordinator to try out, with a page at http://127.0.0.1:8084/"},
    {"pub", role_pub, "publish from a terminal, over HTTP or Redis"},
    {"sub", role_sub, "watch channels from a terminal"},
    {"bench", role_bench, "load a gateway and report latency, loss and cost"},
    {"config", role_config, "print the effective configuration and where it comes from"},
};

static void print_help(FILE *out)
{
    fprintf(out, "Usage: fanout COMMAND [options]\n"
                 "       fanout --version | --help\n\n"
                 "Delivers every event to everyone who should see it, once, in order, fast,\n"
                 "and says so when it could not.\n\nCommands\n");
    for (size_t i = 0; i < COUNT_OF(roles); i++) {
        fprintf(out, "  %-11s %s\n", roles[i].name, roles[i].help);
    }
    fprintf(out, "\n`fanout COMMAND --help` lists the options of one.\n");
}

/* The command whose name shares the longest beginning, for a hint. */
static const char *nearest(const char *name)
{
    const char *best = NULL;
    size_t best_len = 0;

    for (size_t i = 0; i < COUNT_OF(roles); i++) {
        size_t len = 0;
        while (name[len] && name[len] == roles[i].name[len]) {
            len += 1;
        }
        if (len > best_len) {
            best_len = len;
            best = roles[i].name;
        }
    }
    return best;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        printf("fanout %s\n", FANOUT_VERSION);
        return 0;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return 0;
    }
    for (size_t i = 0; i < COUNT_OF(roles); i++) {
        if (strcmp(argv[1], roles[i].name) == 0) {
            return roles[i].run(argc - 1, argv + 1);
        }
    }
    const char *hint = nearest(argv[1]);
    fprintf(stderr, "fanout: there is no command \"%s\"%s%s%s\n", argv[1],
        hint ? "; did you mean \"" : "", hint ? hint : "", hint ? "\"?" : "; see fanout --help");
    return 2;
}
