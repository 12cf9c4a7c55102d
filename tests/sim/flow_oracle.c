/* The slow way, from the rules in words: look for a node about which all that leads to it is
 * decided, decide it, begin again; until nothing is left. Whoever shares no line with src/flow
 * shares no mistake. */
#include "tests/sim/flow_oracle.h"

#include "base/check.h"

struct world {
    const struct make *make;
    struct oracle *oracle;
    bool decided[MAKE_NODES_MAX];
    bool passed[MAKE_EDGES_MAX]; /* Of edges whose node is decided. */
    uint32_t rounds[MAKE_EDGES_MAX];
    bool given[MAKE_NODES_MAX]; /* A loop leads here now. */
};

static bool can_decide(const struct world *w, uint32_t node, bool *ret_begins)
{
    bool any = false, begins = false;

    for (uint32_t i = 0; i < w->make->edge_count; i++) {
        const struct make_edge *edge = &w->make->edges[i];
        if (edge->to == node && !edge->max_iterations) {
            if (!w->decided[edge->from]) {
                return false;
            }
            any = true;
            begins |= w->passed[i];
        }
    }
    *ret_begins = begins || !any || w->given[node];
    return true;
}

/* All that a node leads to, itself included; forward ways only. */
static void reach(const struct world *w, uint32_t from, bool *marks)
{
    bool more = true;

    marks[from] = true;
    while (more) {
        more = false;
        for (uint32_t i = 0; i < w->make->edge_count; i++) {
            const struct make_edge *edge = &w->make->edges[i];
            if (!edge->max_iterations && marks[edge->from] && !marks[edge->to]) {
                marks[edge->to] = more = true;
            }
        }
    }
}

static void go_round(struct world *w, uint32_t loop)
{
    const struct make_edge *edge = &w->make->edges[loop];
    bool body[MAKE_NODES_MAX] = {false};

    w->rounds[loop]++;
    reach(w, edge->to, body);
    for (uint32_t node = 0; node < w->make->node_count; node++) {
        bool onward[MAKE_NODES_MAX] = {false};
        reach(w, node, onward);
        if (!body[node] || !onward[edge->from]) {
            continue;
        }
        w->decided[node] = false;
        for (uint32_t i = 0; i < w->make->edge_count; i++) {
            if (w->make->edges[i].from == node && i != loop) {
                w->passed[i] = false;
                w->rounds[i] = 0;
            }
        }
    }
    w->given[edge->to] = true;
}

static bool wants(const struct make_edge *edge, bool failed, uint32_t v)
{
    return edge->when == MAKE_ALWAYS || (failed && edge->when == MAKE_FAILED) ||
           (!failed && (edge->when == MAKE_PLAIN || (edge->when == MAKE_LESS && v < edge->less)));
}

/* What comes after a node. False: it failed, and nobody minds it. */
static bool decide_ways(struct world *w, uint32_t node, bool failed, uint32_t v)
{
    bool handled = false, less = false;

    for (uint32_t i = 0; i < w->make->edge_count; i++) {
        const struct make_edge *edge = &w->make->edges[i];
        if (edge->from == node && edge->max_iterations && w->rounds[i] < edge->max_iterations &&
            wants(edge, failed, v)) {
            go_round(w, i);
            return true;
        }
    }
    for (uint32_t i = 0; i < w->make->edge_count; i++) {
        const struct make_edge *edge = &w->make->edges[i];
        if (edge->from == node && edge->max_iterations) {
            w->rounds[i] = 0;
        } else if (edge->from == node) {
            w->passed[i] = wants(edge, failed, v);
            handled |= w->passed[i];
            less |= w->passed[i] && edge->when == MAKE_LESS;
        }
    }
    for (uint32_t i = 0; i < w->make->edge_count; i++) {
        if (w->make->edges[i].from == node && w->make->edges[i].when == MAKE_ELSE) {
            w->passed[i] = !failed && !less;
        }
    }
    return handled || !failed;
}

/* Works on a node until it is done or has no attempt left. Returns false when that fails the run. */
static bool work(struct world *w, uint32_t node)
{
    struct make_outcome outcome;
    uint32_t attempt = 0;

    w->oracle->visits[node]++;
    do {
        attempt++;
        w->oracle->attempts[node]++;
        outcome = make_outcome(w->make, node, w->oracle->visits[node], attempt);
    } while (outcome.fails && !outcome.final && attempt < w->make->nodes[node].max_attempts);
    w->oracle->completions[node] += !outcome.fails;
    w->oracle->ends[node] = outcome.fails ? ORACLE_FAILED : ORACLE_COMPLETED;
    w->given[node] = false;
    w->decided[node] = true;
    return decide_ways(w, node, outcome.fails, outcome.v);
}

void oracle_ask(const struct make *make, struct oracle *oracle)
{
    struct world w = {.make = make, .oracle = oracle};
    bool more = true;

    *oracle = (struct oracle){0};
    while (more) {
        more = false;
        for (uint32_t node = 0; node < make->node_count; node++) {
            bool begins;
            if (w.decided[node] || !can_decide(&w, node, &begins)) {
                continue;
            }
            more = true;
            if (!begins) {
                w.decided[node] = true;
                oracle->ends[node] = ORACLE_SKIPPED;
            } else if (!work(&w, node)) {
                oracle->run_fails = true;
                return;
            }
        }
    }
    for (uint32_t node = 0; node < make->node_count; node++) {
        CHECK(w.decided[node]);
    }
}
