/* Workflows: any text compiles or is told faults that can be printed; what compiled survives the
 * way through its IR. An input that begins with a zero byte is a small graph, written down as a
 * definition and judged a second time here, from the rules in flow/workflow.h alone. */
#include <errno.h>
#include <jansson.h>

#include "base/utf8.h"
#include "flow/workflow.h"
#include "fuzz/fuzz.h"

enum { GRAPH_NODES = 9, GRAPH_EDGES = 24 };

static void check_faults(const struct workflow_faults *faults)
{
    CHECK(faults->count > 0);
    for (uint32_t i = 0; i < faults->count; i++) {
        size_t len = strlen(faults->lines[i]);
        CHECK(len > 0 && utf8_valid(faults->lines[i], len));
        for (size_t j = 0; j < len; j++) {
            CHECK((uint8_t)faults->lines[i][j] >= ' ');
        }
    }
}

static void check_ends(const struct workflow *workflow)
{
    for (uint32_t i = 0; i < workflow->node_count; i++) {
        const struct workflow_node *node = &workflow->nodes[i];
        CHECK(workflow_find(workflow, span_str(node->id)) == i);
        CHECK(node->entry == (node->in_count == 0));
        for (uint32_t j = 0; j < node->in_count; j++) {
            CHECK(workflow->edges[node->in[j]].to == i);
            CHECK(workflow_before(workflow, workflow->edges[node->in[j]].from, i));
        }
        for (uint32_t j = 0; j < node->out_count; j++) {
            CHECK(workflow->edges[node->out[j]].from == i);
        }
        CHECK(!workflow_before(workflow, i, i));
    }
}

static void check_same(const struct workflow *a, const struct workflow *b)
{
    CHECK(a->node_count == b->node_count && a->edge_count == b->edge_count);
    CHECK(a->entry_count == b->entry_count && strcmp(a->ref, b->ref) == 0);
    for (uint32_t i = 0; i < a->node_count; i++) {
        const struct workflow_node *x = &a->nodes[i], *y = &b->nodes[i];
        CHECK(strcmp(x->id, y->id) == 0 && strcmp(x->type, y->type) == 0);
        CHECK(x->retry.max_attempts == y->retry.max_attempts);
        CHECK(x->retry.backoff_ms == y->retry.backoff_ms);
        CHECK(x->retry.max_backoff_ms == y->retry.max_backoff_ms);
        CHECK(x->retry.factor == y->retry.factor && x->timeout_ms == y->timeout_ms);
        CHECK(x->in_count == y->in_count && x->out_count == y->out_count);
        CHECK(x->terminal == y->terminal);
    }
    for (uint32_t i = 0; i < a->edge_count; i++) {
        const struct workflow_edge *x = &a->edges[i], *y = &b->edges[i];
        CHECK(x->from == y->from && x->to == y->to && x->when == y->when);
        CHECK(x->max_iterations == y->max_iterations && x->body_count == y->body_count);
        CHECK(memcmp(x->body ? x->body : &x->from, y->body ? y->body : &x->from,
                  x->body_count * sizeof *x->body) == 0);
    }
}

static void check_ir(const struct workflow *workflow)
{
    struct bytes ir = {0}, again = {0};
    struct workflow *back = NULL;

    CHECK(workflow_ir(workflow, span_str("u"), span_str("t"), &ir) == 0);
    CHECK(workflow_from_ir(span_of(ir.data, ir.len), &back) == 0);
    check_same(workflow, back);
    CHECK(workflow_ir(back, span_str("u"), span_str("t"), &again) == 0);
    fuzz_check_same(&ir, &again);
    workflow_unref(back);
    bytes_fini(&ir);
    bytes_fini(&again);
}

static bool compiles(struct span text)
{
    struct workflow *workflow = NULL;
    struct workflow_faults faults = {0};
    int err = workflow_compile(text, NULL, NULL, &workflow, &faults);

    if (err == 0) {
        CHECK(faults.count == 0 && faults.more_count == 0);
        check_ends(workflow);
        check_ir(workflow);
    } else {
        CHECK(err == -EINVAL);
        check_faults(&faults);
    }
    workflow_unref(workflow);
    workflow_faults_fini(&faults);
    return err == 0;
}

/* ---- graphs ---- */

static const char *const whens[] = {NULL, "\"/x == 1\"", "\"else\"", "\"failed\"", "\"always\""};

struct graph {
    unsigned nodes, edges;
    struct {
        unsigned from, to, when;
        bool loop;
    } edge[GRAPH_EDGES];
    bool leads[GRAPH_NODES][GRAPH_NODES]; /* On some way without loop edges. */
    bool entered[GRAPH_NODES];
};

static struct graph graph_of(const uint8_t *data, size_t size)
{
    struct graph g = {.nodes = size ? 1 + data[0] % GRAPH_NODES : 1};

    for (size_t i = 1; i + 1 < size && g.edges < GRAPH_EDGES; i += 2, g.edges++) {
        g.edge[g.edges].from = data[i] % 16 % g.nodes;
        g.edge[g.edges].to = data[i] / 16 % g.nodes;
        g.edge[g.edges].loop = data[i + 1] & 1;
        g.edge[g.edges].when = data[i + 1] / 2 % COUNT_OF(whens);
    }
    for (unsigned i = 0; i < g.edges; i++) {
        if (!g.edge[i].loop) {
            g.leads[g.edge[i].from][g.edge[i].to] = true;
            g.entered[g.edge[i].to] = true;
        }
    }
    for (unsigned k = 0; k < g.nodes; k++) {
        for (unsigned i = 0; i < g.nodes; i++) {
            for (unsigned j = 0; j < g.nodes; j++) {
                g.leads[i][j] |= g.leads[i][k] && g.leads[k][j];
            }
        }
    }
    return g;
}

static bool in_body(const struct graph *g, unsigned loop, unsigned node)
{
    unsigned to = g->edge[loop].to, from = g->edge[loop].from;
    return (node == to || g->leads[to][node]) && (node == from || g->leads[node][from]);
}

static bool loop_is_sound(const struct graph *g, unsigned loop)
{
    unsigned head = g->edge[loop].to, tail = g->edge[loop].from;

    if (head != tail && !g->leads[head][tail]) {
        return false;
    }
    for (unsigned i = 0; i < g->edges; i++) {
        bool from = in_body(g, loop, g->edge[i].from), to = in_body(g, loop, g->edge[i].to);
        if (g->edge[i].loop ? from != to
                            : (from && !to && g->edge[i].from != tail) ||
                                  (!from && to && g->edge[i].to != head)) {
            return false;
        }
    }
    for (unsigned i = 0; i < g->nodes; i++) {
        if (!g->entered[i] && i != head && in_body(g, loop, i)) {
            return false;
        }
    }
    return true;
}

static bool else_is_sound(const struct graph *g, unsigned edge)
{
    for (unsigned i = 0; i < g->edges; i++) {
        if (g->edge[i].from == g->edge[edge].from && g->edge[i].when == 1) {
            return !g->edge[edge].loop;
        }
    }
    return false;
}

static bool is_sound(const struct graph *g)
{
    for (unsigned i = 0; i < g->nodes; i++) {
        if (g->leads[i][i]) {
            return false;
        }
    }
    for (unsigned i = 0; i < g->edges; i++) {
        for (unsigned j = 0; j < i; j++) {
            if (g->edge[i].from == g->edge[j].from && g->edge[i].to == g->edge[j].to) {
                return false;
            }
        }
        if ((g->edge[i].loop && !loop_is_sound(g, i)) ||
            (g->edge[i].when == 2 && !else_is_sound(g, i))) {
            return false;
        }
    }
    return true;
}

static void write_graph(const struct graph *g, struct bytes *out)
{
    int err = bytes_append_str(out, "{\"nodes\":[");

    for (unsigned i = 0; i < g->nodes && !err; i++) {
        err = bytes_appendf(out, "%s{\"id\":\"%u\",\"type\":\"t\"}", i ? "," : "", i);
    }
    err = err ? err : bytes_append_str(out, "],\"edges\":[");
    for (unsigned i = 0; i < g->edges && !err; i++) {
        const char *when = whens[g->edge[i].when];
        err = bytes_appendf(out, "%s{\"from\":\"%u\",\"to\":\"%u\"%s%s%s}", i ? "," : "",
            g->edge[i].from, g->edge[i].to, when ? ",\"when\":" : "", when ? when : "",
            g->edge[i].loop ? ",\"max_iterations\":2" : "");
    }
    CHECK(!err && bytes_append_str(out, "]}") == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct workflow *workflow = NULL;

    if (size > 0 && data[0] == 0) {
        struct graph g = graph_of(data + 1, size - 1);
        struct bytes text = {0};
        write_graph(&g, &text);
        CHECK(compiles(span_of(text.data, text.len)) == is_sound(&g));
        bytes_fini(&text);
        return 0;
    }
    (void)compiles(span_of(data, size));
    if (workflow_from_ir(span_of(data, size), &workflow) == 0) {
        check_ends(workflow);
        check_ir(workflow);
        workflow_unref(workflow);
    }
    return 0;
}
