/* What commits that were applied count. */
#include <string.h>

#include "flow/flow_own.h"

/* Events are ours: they begin with their type. */
static bool is_event(const struct flow_op *op, const char *begin)
{
    size_t len = strlen(begin);
    return op->kind == FLOW_EVENT && op->body.len > len && memcmp(op->body.data, begin, len) == 0;
}

void count_changes(struct flow *flow, const struct changes *changes)
{
    for (uint32_t i = 0; i < changes->count; i++) {
        const struct flow_op *op = &changes->ops[i];
        flow->stats.tokens_emitted += op->kind == FLOW_EMIT;
        flow->stats.tokens_consumed += op->kind == FLOW_CONSUME;
        flow->stats.events += op->kind == FLOW_EVENT;
        flow->stats.nodes_completed += is_event(op, "{\"type\":\"node_completed\"");
        if (is_event(op, "{\"type\":\"node_failed\"")) {
            bool again = memmem(op->body.data, op->body.len, "\"will_retry\":true", 17);
            flow->stats.nodes_failed += !again;
            flow->stats.nodes_retried += again;
        }
        flow->stats.runs_started += op->kind == FLOW_OPEN;
        if (op->kind == FLOW_CLOSE) {
            flow->stats.runs_completed += span_equal(op->name, span_str("completed"));
            flow->stats.runs_failed += span_equal(op->name, span_str("failed"));
            flow->stats.runs_cancelled += span_equal(op->name, span_str("cancelled"));
        }
    }
}
