#include "tests/sim/flow_make.h"

#include "base/check.h"

enum { LOOP_DEPTH_MAX = 3 };

/* A part of the graph that is entered at its head and left at its tail only, as the body of a loop
 * must be. */
struct block {
    uint32_t head, tail;
};

static uint32_t below(struct make *make, uint32_t bound)
{
    return (uint32_t)rng_below(&make->rng, bound);
}

static bool percent(struct make *make, uint32_t chance)
{
    return below(make, 100) < chance;
}

static uint32_t add_node(struct make *make, uint32_t depth)
{
    CHECK(make->node_count < MAKE_NODES_MAX);
    struct make_node *node = &make->nodes[make->node_count];

    *node = (struct make_node){.max_attempts = 1, .in_loop = depth > 0};
    node->kind = percent(make, 80) ? MAKE_WORK : percent(make, 50) ? MAKE_DELAY : MAKE_HUMAN;
    if (percent(make, 40)) {
        node->max_attempts = 1 + below(make, 4);
        node->backoff_ms = below(make, 3) * 700;
    }
    if (!make->calm && percent(make, 30)) {
        node->timeout_ms = 500 + below(make, 4000);
    }
    if (make->seed % 2 && percent(make, 30)) {
        node->fail_percent = 20 + below(make, 50);
        if (percent(make, 80)) { /* Most runs are to live on. */
            node->max_attempts = 3 + below(make, 4);
            node->backoff_ms = below(make, 3) * 300;
        }
    }
    return make->node_count++;
}

static void add_edge(struct make *make, uint32_t from, uint32_t to, uint32_t max_iterations)
{
    for (uint32_t i = 0; i < make->edge_count; i++) {
        if (make->edges[i].from == from && make->edges[i].to == to) {
            return;
        }
    }
    CHECK(make->edge_count < MAKE_EDGES_MAX);
    make->edges[make->edge_count++] =
        (struct make_edge){.from = from, .to = to, .max_iterations = max_iterations};
}

static struct block add_block(struct make *make, uint32_t budget, uint32_t depth);

static struct block add_sequence(struct make *make, uint32_t budget, uint32_t depth)
{
    uint32_t first = 1 + below(make, budget - 1);
    struct block a = add_block(make, first, depth);
    struct block b = add_block(make, budget - first, depth);

    add_edge(make, a.tail, b.head, 0);
    return (struct block){a.head, b.tail};
}

static struct block add_fan(struct make *make, uint32_t budget, uint32_t depth)
{
    uint32_t arms = 2 + below(make, budget - 3 < 4 ? budget - 3 : 4);
    uint32_t head = add_node(make, depth), tails[6];

    for (uint32_t i = 0; i < arms; i++) {
        struct block arm = add_block(make, (budget - 2) / arms, depth);
        add_edge(make, head, arm.head, 0);
        tails[i] = arm.tail;
    }
    uint32_t tail = add_node(make, depth);
    for (uint32_t i = 0; i < arms; i++) {
        add_edge(make, tails[i], tail, 0);
    }
    return (struct block){head, tail};
}

static bool leads_on(const struct make *make, uint32_t node)
{
    for (uint32_t i = 0; i < make->edge_count; i++) {
        if (make->edges[i].from == node) {
            return true;
        }
    }
    return false;
}

/* Any edges, so long as all of it is reached from the head and reaches the tail. */
static struct block add_mesh(struct make *make, uint32_t budget, uint32_t depth)
{
    uint32_t first = make->node_count, count = budget < 12 ? budget : 12;

    for (uint32_t i = 0; i < count; i++) {
        add_node(make, depth);
        for (uint32_t k = 0; i > 0 && k < 1 + below(make, 3); k++) {
            add_edge(make, first + below(make, i), first + i, 0);
        }
    }
    for (uint32_t i = 0; i + 1 < count; i++) {
        if (!leads_on(make, first + i)) {
            add_edge(make, first + i, first + count - 1, 0);
        }
    }
    return (struct block){first, first + count - 1};
}

static struct block add_loop(struct make *make, uint32_t budget, uint32_t depth)
{
    uint32_t head = add_node(make, depth + 1);
    uint32_t tail = head;

    if (budget >= 3) {
        struct block body = add_block(make, budget - 2, depth + 1);
        tail = add_node(make, depth + 1);
        add_edge(make, head, body.head, 0);
        add_edge(make, body.tail, tail, 0);
    }
    add_edge(make, tail, head, 1 + below(make, 3));
    return (struct block){head, tail};
}

static struct block add_block(struct make *make, uint32_t budget, uint32_t depth)
{
    uint32_t kind = below(make, 10);

    if (kind < 3 && depth < LOOP_DEPTH_MAX) {
        return add_loop(make, budget, depth);
    }
    if (budget >= 4 && kind < 6) {
        return add_fan(make, budget, depth);
    }
    if (budget >= 3 && kind < 8) {
        return add_mesh(make, budget, depth);
    }
    if (budget >= 2) {
        return add_sequence(make, budget, depth);
    }
    uint32_t node = add_node(make, depth);
    return (struct block){node, node};
}

/* What each edge waits for. An `else` needs a condition beside it. */
static void add_whens(struct make *make)
{
    for (uint32_t node = 0; node < make->node_count; node++) {
        uint32_t style = below(make, 10);
        bool condition = false;
        for (uint32_t i = 0; i < make->edge_count; i++) {
            struct make_edge *edge = &make->edges[i];
            if (edge->from != node || style < 5) {
                continue;
            }
            edge->less = 1 + below(make, MAKE_VALUES - 1);
            if (edge->max_iterations) {
                static const enum make_when whens[] = {
                    MAKE_PLAIN, MAKE_LESS, MAKE_LESS, MAKE_FAILED, MAKE_ALWAYS};
                edge->when = whens[below(make, 5)];
            } else if (style < 8) {
                edge->when = condition && percent(make, 60) ? MAKE_ELSE : MAKE_LESS;
                condition = true;
            } else {
                static const enum make_when whens[] = {
                    MAKE_PLAIN, MAKE_FAILED, MAKE_ALWAYS, MAKE_ALWAYS};
                edge->when = whens[below(make, 4)];
            }
        }
    }
}

static uint32_t choose_size(struct make *make)
{
    uint32_t max = percent(make, 40) ? 8 : percent(make, 65) ? 24 : 56;
    return 1 + below(make, max);
}

void make_workflow(struct make *make, uint64_t seed, bool calm)
{
    *make = (struct make){.seed = seed, .calm = calm};
    rng_init(&make->rng, seed);
    uint32_t size = choose_size(make), tails[MAKE_NODES_MAX], blocks = 0;

    while (make->node_count < size) {
        struct block block = add_block(make, 1 + below(make, size - make->node_count), 0);
        for (uint32_t k = 0; blocks && k < below(make, 4); k++) {
            add_edge(make, tails[below(make, blocks)], block.head, 0);
        }
        tails[blocks++] = block.tail;
    }
    /* Ways that end, where no loop forbids them. */
    for (uint32_t k = below(make, 4); k > 0; k--) {
        uint32_t from = below(make, make->node_count);
        if (!make->nodes[from].in_loop) {
            add_edge(make, from, add_node(make, 0), 0);
        }
    }
    add_whens(make);
}

static void put(struct bytes *out, const char *format, ...) PRINTF_LIKE(2, 3);

static void put(struct bytes *out, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    CHECK(bytes_appendv(out, format, args) == 0);
    va_end(args);
}

static void put_node(struct bytes *out, const struct make_node *node, uint32_t index)
{
    static const char *const types[] = {"\"function\"", "\"delay\",\"config\":{\"ms\":100}",
        "\"hitl\",\"config\":{\"message\":\"may it?\"}"};

    put(out, "%s{\"id\":\"n%u\",\"type\":%s", index ? "," : "", index, types[node->kind]);
    if (node->max_attempts > 1) {
        put(out, ",\"retry\":{\"max_attempts\":%u,\"backoff_ms\":%u}", node->max_attempts,
            node->backoff_ms);
    }
    if (node->timeout_ms) {
        put(out, ",\"timeout_ms\":%u", node->timeout_ms);
    }
    put(out, "}");
}

static void put_edge(struct bytes *out, const struct make_edge *edge, bool first)
{
    static const char *const whens[] = {"", "", "else", "failed", "always"};

    put(out, "%s{\"from\":\"n%u\",\"to\":\"n%u\"", first ? "" : ",", edge->from, edge->to);
    if (edge->when == MAKE_LESS) {
        put(out, ",\"when\":\"/v < %u\"", edge->less);
    } else if (edge->when != MAKE_PLAIN) {
        put(out, ",\"when\":\"%s\"", whens[edge->when]);
    }
    if (edge->max_iterations) {
        put(out, ",\"max_iterations\":%u", edge->max_iterations);
    }
    put(out, "}");
}

void make_text(const struct make *make, struct bytes *out)
{
    put(out, "{\"nodes\":[");
    for (uint32_t i = 0; i < make->node_count; i++) {
        put_node(out, &make->nodes[i], i);
    }
    put(out, "],\"edges\":[");
    for (uint32_t i = 0; i < make->edge_count; i++) {
        put_edge(out, &make->edges[i], i == 0);
    }
    put(out, "]}");
}

struct make_outcome make_outcome(
    const struct make *make, uint32_t node, uint32_t visit, uint32_t attempt)
{
    struct rng rng;
    struct make_outcome outcome = {0};

    rng_init(&rng, make->seed * 1000003 + node * 10007 + visit * 101 + attempt);
    outcome.fails = rng_below(&rng, 100) < make->nodes[node].fail_percent;
    outcome.final = outcome.fails && rng_below(&rng, 6) == 0;
    outcome.v = (uint32_t)rng_below(&rng, MAKE_VALUES);
    return outcome;
}
