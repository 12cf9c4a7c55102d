#include "tests/support/flow_store_suite.h"

#include <stdlib.h>

#include "base/attr.h"
#include "tests/support/flow_suite_rig.h"

enum { CASES_MAX = 100 };

struct start {
    const struct flow_suite_port *port;
    struct suite suite;
};

static int open_case(void **state)
{
    struct start *start = *state;

    suite_open(&start->suite, start->port);
    *state = &start->suite;
    return 0;
}

static int close_case(void **state)
{
    suite_close(*state);
    return 0;
}

int flow_store_suite(const char *name, const struct flow_suite_port *port)
{
    const struct suite_case *parts[] = {suite_run_cases, suite_list_cases, suite_work_cases};
    struct start *start = calloc(1, sizeof(*start));
    struct CMUnitTest tests[CASES_MAX];
    size_t count = 0;

    if (!start) {
        return 1;
    }
    start->port = port;
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        for (const struct suite_case *c = parts[i]; c->name && count < CASES_MAX; c++) {
            tests[count++] = (struct CMUnitTest){c->name, c->fn, open_case, close_case, start};
        }
    }
    int failed = _cmocka_run_group_tests(name, tests, count, NULL, NULL);
    free(start);
    return failed;
}
