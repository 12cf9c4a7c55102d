/* What users see of a run: the members of contracts.md 1, in its order. Whatever is added comes
 * behind them. */
#include <math.h>
#include <stdio.h>

#include "flow/run_own.h"

static struct run_writer begin(struct run_step *step, const char *type)
{
    struct run_writer w = {.out = &step->run->scratch->text, .err = step->err};

    w.out->len = 0;
    put_raw(&w, "{\"type\":\"");
    put_raw(&w, type);
    put_raw(&w, "\"");
    put_text(&w, "run_id", step->run->id);
    return w;
}

static struct run_writer begin_node(struct run_step *step, const char *type, uint32_t node)
{
    struct run_writer w = begin(step, type);

    put_text(&w, "node_id", run_workflow_node(step->run, node)->id);
    return w;
}

static void put_bool(struct run_writer *w, const char *name, bool value)
{
    put_raw(w, ",\"");
    put_raw(w, name);
    put_raw(w, value ? "\":true" : "\":false");
}

static void end(struct run_step *step, struct run_writer *w)
{
    put_number(w, "timestamp", step->now_ms / 1000);
    put_raw(w, "}");
    step->err = w->err;
    step_op(
        step, &(struct flow_op){.kind = FLOW_EVENT, .body = span_of(w->out->data, w->out->len)});
    step->run->events++;
}

void event_started(struct run_step *step)
{
    struct run_writer w = begin(step, "workflow_started");

    put_text(&w, "tag", step->run->tag);
    put_number(&w, "nodes", step->run->workflow->node_count);
    put_number(&w, "entry_nodes", step->run->workflow->entry_count);
    end(step, &w);
}

void event_node_started(struct run_step *step, uint32_t node)
{
    struct run_writer w = begin_node(step, "node_started", node);

    put_number(&w, "attempt", step->run->nodes[node].attempt);
    end(step, &w);
}

void event_node_completed(
    struct run_step *step, uint32_t node, const char *result_ref, uint64_t counter)
{
    struct run_writer w = begin_node(step, "node_completed", node);

    put_text(&w, "status", "completed");
    put_number(&w, "counter", counter);
    put_text(&w, "result_ref", result_ref);
    end(step, &w);
}

void event_node_failed(
    struct run_step *step, uint32_t node, const struct run_told *told, bool will_retry)
{
    struct run_writer w = begin_node(step, "node_failed", node);

    put_text(&w, "status", "failed");
    put_number(&w, "attempt", told->attempt);
    put_text(&w, "error", told->error ? told->error : "");
    put_bool(&w, "will_retry", will_retry);
    end(step, &w);
}

/* A whole number is written as one. */
void event_progress(struct run_step *step, uint32_t node, double percent, struct span message)
{
    struct run_writer w = begin_node(step, "node_progress", node);
    char text[32];

    if (percent == floor(percent)) {
        put_number(&w, "percent", (uint64_t)percent);
    } else {
        snprintf(text, sizeof(text), ",\"percent\":%.3f", percent);
        put_raw(&w, text);
    }
    put_clean(&w, "message", message, RUN_MESSAGE_MAX);
    end(step, &w);
}

void event_approval_requested(struct run_step *step, uint32_t node, struct span message)
{
    struct run_writer w = begin_node(step, "approval_requested", node);

    put_clean(&w, "message", message, RUN_MESSAGE_MAX);
    end(step, &w);
}

void event_approval_decided(struct run_step *step, uint32_t node, bool approved, struct span by)
{
    struct run_writer w = begin_node(step, "approval_decided", node);

    put_bool(&w, "approved", approved);
    put_clean(&w, "by", by, RUN_USER_MAX);
    end(step, &w);
}

void event_over(struct run_step *step)
{
    static const char *const types[] = {
        "", "workflow_completed", "workflow_failed", "workflow_cancelled"};
    const struct run *run = step->run;
    struct run_writer w = begin(step, types[run->status]);

    if (run->status == RUN_FAILED) {
        put_text(&w, "node_id", run_workflow_node(run, run->failed_node)->id);
        put_text(&w, "error", run->error ? run->error : "");
    } else if (run->status == RUN_CANCELLED) {
        put_text(&w, "by", run->by ? run->by : "");
    }
    put_number(&w, "counter", run->emits - run->consumes);
    put_number(
        &w, "duration_ms", step->now_ms > run->created_ms ? step->now_ms - run->created_ms : 0);
    end(step, &w);
    step_op(step,
        &(struct flow_op){
            .kind = FLOW_CLOSE, .name = span_str(run_status_name(run->status)), .n = step->now_ms});
}
