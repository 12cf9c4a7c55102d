/* The graph without its loop edges: it has no cycle, begins somewhere, and leads everywhere. */
#include <string.h>

#include "base/mem.h"
#include "flow/workflow_own.h"

enum {
    PATH_HEAD = 8, /* Nodes of a long cycle that are named: so many, ..., */
    PATH_TAIL = 3, /* and so many. */
};

enum { WHITE, GREY, BLACK };

/* Room for one walk; an entry per node. */
struct scratch {
    uint32_t *order;  /* Nodes, each behind all that lead to it. */
    uint32_t *degree; /* Edges that lead to it and are not walked yet. */
    uint32_t *path, *next;
    uint8_t *colour;
    uint32_t ordered;
};

static bool scratch_init(struct scratch *scratch, uint32_t nodes)
{
    *scratch =
        (struct scratch){.order = mem_try_zalloc(nodes * (4 * sizeof(uint32_t) + sizeof(uint8_t)))};
    if (!scratch->order) {
        return false;
    }
    scratch->degree = scratch->order + nodes;
    scratch->path = scratch->degree + nodes;
    scratch->next = scratch->path + nodes;
    scratch->colour = (uint8_t *)(scratch->next + nodes);
    return true;
}

static bool is_whole(const struct workflow_edge *edge)
{
    return edge->from != UINT32_MAX && edge->to != UINT32_MAX;
}

/* Fills in and out of each node, in the order the edges are written. */
static bool link_nodes(struct workflow *workflow)
{
    uint32_t *at = mem_try_alloc(2 * (size_t)workflow->edge_count * sizeof *at + 1);

    workflow->links = at;
    if (!at) {
        return false;
    }
    for (uint32_t i = 0; i < workflow->edge_count; i++) {
        const struct workflow_edge *edge = &workflow->edges[i];
        if (is_whole(edge)) {
            workflow->nodes[edge->from].out_count++;
            workflow->nodes[edge->to].in_count += !edge->max_iterations;
        }
    }
    for (uint32_t i = 0; i < workflow->node_count; i++) {
        struct workflow_node *node = &workflow->nodes[i];
        node->in = at;
        node->out = at + node->in_count;
        at += node->in_count + node->out_count;
        node->entry = node->in_count == 0;
        node->terminal = true;
        workflow->entry_count += node->entry;
        node->in_count = node->out_count = 0;
    }
    for (uint32_t i = 0; i < workflow->edge_count; i++) {
        const struct workflow_edge *edge = &workflow->edges[i];
        if (!is_whole(edge)) {
            continue;
        }
        struct workflow_node *from = &workflow->nodes[edge->from];
        from->out[from->out_count++] = i;
        if (!edge->max_iterations) {
            struct workflow_node *to = &workflow->nodes[edge->to];
            to->in[to->in_count++] = i;
            from->terminal = false;
        }
    }
    return true;
}

/* Two edges between the same nodes would be one predecessor that comes twice. Returns whether there
 * are any. */
static bool find_duplicates(struct draft *draft, struct scratch *scratch)
{
    const struct workflow *workflow = draft->workflow;
    uint32_t *seen = scratch->next; /* By node: the edge of this one that leads there, plus one. */
    bool found = false;

    for (uint32_t i = 0; i < workflow->node_count; i++) {
        const struct workflow_node *node = &workflow->nodes[i];
        for (uint32_t j = 0; j < node->out_count; j++) {
            uint32_t edge = node->out[j], to = workflow->edges[edge].to;
            if (!seen[to]) {
                seen[to] = edge + 1;
                continue;
            }
            found = true;
            workflow_faults_add(draft->faults,
                "edges[%u]: leads from \"%s\" to \"%s\", as edges[%u] does", edge,
                workflow_quote(node->id, strlen(node->id)).text,
                workflow_quote(workflow->nodes[to].id, strlen(workflow->nodes[to].id)).text,
                seen[to] - 1);
        }
        for (uint32_t j = 0; j < node->out_count; j++) {
            seen[workflow->edges[node->out[j]].to] = 0;
        }
    }
    return found;
}

/* Kahn's algorithm: what is on a cycle, or behind one, stays out. */
static void sort_nodes(const struct workflow *workflow, struct scratch *scratch)
{
    for (uint32_t i = 0; i < workflow->node_count; i++) {
        scratch->degree[i] = workflow->nodes[i].in_count;
        if (scratch->degree[i] == 0) {
            scratch->order[scratch->ordered++] = i;
        }
    }
    for (uint32_t i = 0; i < scratch->ordered; i++) {
        const struct workflow_node *node = &workflow->nodes[scratch->order[i]];
        for (uint32_t j = 0; j < node->out_count; j++) {
            const struct workflow_edge *edge = &workflow->edges[node->out[j]];
            if (!edge->max_iterations && --scratch->degree[edge->to] == 0) {
                scratch->order[scratch->ordered++] = edge->to;
            }
        }
    }
}

/* nodes: the way, whose last one leads to its first. */
static void tell_cycle(struct draft *draft, uint32_t closing, const uint32_t *nodes, uint32_t count)
{
    struct bytes text = {0};
    int err = 0;

    for (uint32_t i = 0; i < count && !err; i++) {
        const char *id = draft->workflow->nodes[nodes[i]].id;
        if (i < PATH_HEAD || i + PATH_TAIL >= count) {
            err = bytes_appendf(&text, "%s -> ", workflow_quote(id, strlen(id)).text);
        } else if (i == PATH_HEAD) {
            err = bytes_append_str(&text, "... -> ");
        }
    }
    const char *first = draft->workflow->nodes[nodes[0]].id;
    err = err ? err : bytes_appendf(&text, "%s", workflow_quote(first, strlen(first)).text);
    if (err) {
        draft->no_memory = true;
    } else {
        workflow_faults_add(draft->faults,
            "edges[%u]: closes the cycle %s; an edge that leads back needs \"max_iterations\"",
            closing, (const char *)text.data);
    }
    bytes_fini(&text);
}

/* Goes from `start` as deep as it can; an edge to a node of its own path closes a cycle. */
static void walk_cycles(struct draft *draft, struct scratch *scratch, uint32_t start)
{
    const struct workflow *workflow = draft->workflow;
    uint32_t depth = 0;

    scratch->path[depth++] = start;
    scratch->colour[start] = GREY;
    while (depth > 0 && !draft->no_memory) {
        uint32_t index = scratch->path[depth - 1];
        const struct workflow_node *node = &workflow->nodes[index];
        if (scratch->next[index] == node->out_count) {
            scratch->colour[index] = BLACK;
            depth--;
            continue;
        }
        uint32_t edge = node->out[scratch->next[index]++], to = workflow->edges[edge].to;
        if (workflow->edges[edge].max_iterations || scratch->colour[to] == BLACK) {
            continue;
        }
        if (scratch->colour[to] == WHITE) {
            scratch->colour[to] = GREY;
            scratch->path[depth++] = to;
            continue;
        }
        uint32_t at = depth - 1;
        while (scratch->path[at] != to) {
            at--;
        }
        tell_cycle(draft, edge, scratch->path + at, depth - at);
    }
}

static void tell_cycles(struct draft *draft, struct scratch *scratch)
{
    for (uint32_t i = 0; i < draft->workflow->node_count; i++) {
        if (scratch->degree[i] > 0 && scratch->colour[i] == WHITE) {
            walk_cycles(draft, scratch, i);
        }
    }
}

/* What no entry leads to: cycles that nothing enters, and what is behind them. */
static void tell_unreachable(struct draft *draft, struct scratch *scratch)
{
    const struct workflow *workflow = draft->workflow;
    uint32_t count = 0;

    memset(scratch->colour, WHITE, workflow->node_count);
    for (uint32_t i = 0; i < workflow->node_count; i++) {
        if (workflow->nodes[i].entry) {
            scratch->colour[i] = BLACK;
            scratch->path[count++] = i;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct workflow_node *node = &workflow->nodes[scratch->path[i]];
        for (uint32_t j = 0; j < node->out_count; j++) {
            const struct workflow_edge *edge = &workflow->edges[node->out[j]];
            if (!edge->max_iterations && scratch->colour[edge->to] == WHITE) {
                scratch->colour[edge->to] = BLACK;
                scratch->path[count++] = edge->to;
            }
        }
    }
    for (uint32_t i = 0; i < workflow->node_count; i++) {
        if (scratch->colour[i] == WHITE) {
            const char *id = workflow->nodes[i].id;
            workflow_faults_add(draft->faults,
                "nodes[%u]: \"%s\" is never reached: no way leads to it from where a run begins", i,
                workflow_quote(id, strlen(id)).text);
        }
    }
}

/* Who is before whom, as bits; all that lead to a node are done when it comes. */
static bool fill_before(struct workflow *workflow, const struct scratch *scratch)
{
    size_t words = (workflow->node_count + 63) / 64;

    workflow->before = mem_try_zalloc(workflow->node_count * words * sizeof *workflow->before);
    if (!workflow->before) {
        return false;
    }
    for (uint32_t i = 0; i < scratch->ordered; i++) {
        const struct workflow_node *node = &workflow->nodes[scratch->order[i]];
        uint64_t *row = workflow->before + scratch->order[i] * words;
        for (uint32_t j = 0; j < node->in_count; j++) {
            uint32_t from = workflow->edges[node->in[j]].from;
            for (size_t word = 0; word < words; word++) {
                row[word] |= workflow->before[from * words + word];
            }
            row[from / 64] |= UINT64_C(1) << (from % 64);
        }
    }
    return true;
}

static bool all_whole(const struct workflow *workflow)
{
    for (uint32_t i = 0; i < workflow->edge_count; i++) {
        if (!is_whole(&workflow->edges[i])) {
            return false;
        }
    }
    return true;
}

static void judge(struct draft *draft, struct scratch *scratch)
{
    struct workflow *workflow = draft->workflow;

    bool duplicates = find_duplicates(draft, scratch);
    sort_nodes(workflow, scratch);
    if (scratch->ordered < workflow->node_count) {
        if (workflow->entry_count == 0) {
            workflow_faults_add(draft->faults,
                "nodes: a run has no node to begin with; expected one that no edge leads to");
        }
        tell_cycles(draft, scratch);
    }
    /* A missing edge can be what leads to a node, or back to a loop's beginning. */
    if (!all_whole(workflow)) {
        return;
    }
    if (scratch->ordered < workflow->node_count) {
        if (workflow->entry_count > 0) {
            tell_unreachable(draft, scratch);
        }
    } else if (!fill_before(workflow, scratch)) {
        draft->no_memory = true;
    } else if (!duplicates) {
        workflow_judge_loops(draft);
    }
}

void workflow_link(struct draft *draft)
{
    struct scratch scratch;

    if (draft->workflow->node_count == 0) {
        return;
    }
    if (!link_nodes(draft->workflow) || !scratch_init(&scratch, draft->workflow->node_count)) {
        draft->no_memory = true;
        return;
    }
    judge(draft, &scratch);
    mem_free(scratch.order);
}
