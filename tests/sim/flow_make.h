/* Random workflows for tests/sim/flow_tokens.c, and what each node will do: all of one seed. */
#ifndef TESTS_SIM_FLOW_MAKE_H
#define TESTS_SIM_FLOW_MAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/rng.h"

enum { MAKE_NODES_MAX = 64, MAKE_EDGES_MAX = 400, MAKE_VALUES = 10 };

enum make_when { MAKE_PLAIN, MAKE_LESS, MAKE_ELSE, MAKE_FAILED, MAKE_ALWAYS };
enum make_kind { MAKE_WORK, MAKE_DELAY, MAKE_HUMAN };

struct make_edge {
    uint32_t from, to;
    enum make_when when;
    uint32_t less;           /* MAKE_LESS: taken when the result's v is less. */
    uint32_t max_iterations; /* Not 0: a loop edge. */
};

struct make_node {
    enum make_kind kind;
    uint32_t max_attempts;
    uint32_t backoff_ms;
    uint32_t timeout_ms;
    uint32_t fail_percent;
    bool in_loop;
};

struct make {
    uint64_t seed;
    struct rng rng;
    bool calm; /* Nothing depends on time or on order: the oracle knows what comes of it. */
    struct make_node nodes[MAKE_NODES_MAX];
    struct make_edge edges[MAKE_EDGES_MAX];
    uint32_t node_count, edge_count;
};

/* What a node's attempt comes to. */
struct make_outcome {
    bool fails, final;
    uint32_t v; /* Its result is {"v":v}. */
};

void make_workflow(struct make *make, uint64_t seed, bool calm);
/* Appends its definition. */
void make_text(const struct make *make, struct bytes *out);
struct make_outcome make_outcome(
    const struct make *make, uint32_t node, uint32_t visit, uint32_t attempt);

#endif
