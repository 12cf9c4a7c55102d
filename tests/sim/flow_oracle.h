/* What is to come of a workflow, told by somebody who never heard of tokens. */
#ifndef TESTS_SIM_FLOW_ORACLE_H
#define TESTS_SIM_FLOW_ORACLE_H

#include "tests/sim/flow_make.h"

struct oracle {
    bool run_fails;
    /* Of each node, when the run does not fail. */
    uint32_t visits[MAKE_NODES_MAX];      /* How often it began, */
    uint32_t attempts[MAKE_NODES_MAX];    /* tried, all in all, */
    uint32_t completions[MAKE_NODES_MAX]; /* and completed. */
    enum oracle_end { ORACLE_SKIPPED, ORACLE_COMPLETED, ORACLE_FAILED } ends[MAKE_NODES_MAX];
};

void oracle_ask(const struct make *make, struct oracle *oracle);

#endif
