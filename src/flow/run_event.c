/* What users see of a run: the members of contracts.md 1, in its order. Whatever is added comes
 * behind them. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>

#include "base/json.h"
#include "flow/run_own.h"

static struct bytes *text_of(struct run_step *step)
{
    return &step->run->scratch->text;
}

static void put(struct run_step *step, const char *format, ...) PRINTF_LIKE(2, 3);

static void put(struct run_step *step, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (!step->err) {
        step->err = bytes_appendv(text_of(step), format, args);
    }
    va_end(args);
}

/* name is with its quotes, colon and whatever comes before them. */
static void put_text(struct run_step *step, const char *name, struct span text, size_t max)
{
    put(step, "%s", name);
    if (!step->err) {
        step->err = text_append_json(text_of(step), text, max);
    }
}

static void begin(struct run_step *step, const char *type)
{
    text_of(step)->len = 0;
    put(step, "{\"type\":\"%s\"", type);
    put_text(step, ",\"run_id\":", span_str(step->run->id), FLOW_RUN_ID_MAX);
}

static void begin_node(struct run_step *step, const char *type, uint32_t node)
{
    begin(step, type);
    put(step, ",\"node_id\":\"%s\"", run_workflow_node(step->run, node)->id);
}

static void end(struct run_step *step)
{
    put(step, ",\"timestamp\":%" PRIu64 "}", step->now_ms / 1000);
    step_op(step, &(struct flow_op){.kind = FLOW_EVENT,
                      .body = span_of(text_of(step)->data, text_of(step)->len)});
    step->run->events++;
}

void event_started(struct run_step *step)
{
    begin(step, "workflow_started");
    put_text(step, ",\"tag\":", span_str(step->run->tag), FLOW_TAG_MAX);
    put(step, ",\"nodes\":%u,\"entry_nodes\":%u", step->run->workflow->node_count,
        step->run->workflow->entry_count);
    end(step);
}

void event_node_started(struct run_step *step, uint32_t node)
{
    begin_node(step, "node_started", node);
    put(step, ",\"attempt\":%u", step->run->nodes[node].attempt);
    end(step);
}

void event_node_completed(
    struct run_step *step, uint32_t node, const char *result_ref, uint64_t counter)
{
    begin_node(step, "node_completed", node);
    put(step, ",\"status\":\"completed\",\"counter\":%" PRIu64 ",\"result_ref\":\"%s\"", counter,
        result_ref);
    end(step);
}

void event_node_failed(
    struct run_step *step, uint32_t node, const struct run_told *told, bool will_retry)
{
    begin_node(step, "node_failed", node);
    put(step, ",\"status\":\"failed\",\"attempt\":%u", told->attempt);
    put_text(step, ",\"error\":", span_str(told->error ? told->error : ""), RUN_ERROR_MAX);
    put(step, ",\"will_retry\":%s", will_retry ? "true" : "false");
    end(step);
}

/* A whole number is written as one. */
void event_progress(struct run_step *step, uint32_t node, double percent, struct span message)
{
    begin_node(step, "node_progress", node);
    if (percent == floor(percent)) {
        put(step, ",\"percent\":%d", (int)percent);
    } else {
        put(step, ",\"percent\":%.3f", percent);
    }
    put_text(step, ",\"message\":", message, RUN_MESSAGE_MAX);
    end(step);
}

void event_approval_requested(struct run_step *step, uint32_t node, struct span message)
{
    begin_node(step, "approval_requested", node);
    put_text(step, ",\"message\":", message, RUN_MESSAGE_MAX);
    end(step);
}

void event_approval_decided(struct run_step *step, uint32_t node, bool approved, struct span by)
{
    begin_node(step, "approval_decided", node);
    put(step, ",\"approved\":%s", approved ? "true" : "false");
    put_text(step, ",\"by\":", by, RUN_USER_MAX);
    end(step);
}

void event_over(struct run_step *step)
{
    const struct run *run = step->run;
    const char *status = run_status_name(run->status);
    uint64_t duration_ms = step->now_ms > run->created_ms ? step->now_ms - run->created_ms : 0;

    begin(step, run->status == RUN_COMPLETED ? "workflow_completed"
                : run->status == RUN_FAILED  ? "workflow_failed"
                                             : "workflow_cancelled");
    if (run->status == RUN_FAILED) {
        put(step, ",\"node_id\":\"%s\"", run_workflow_node(run, run->failed_node)->id);
        put_text(step, ",\"error\":", span_str(run->error ? run->error : ""), RUN_ERROR_MAX);
    } else if (run->status == RUN_CANCELLED) {
        put_text(step, ",\"by\":", span_str(run->by ? run->by : ""), RUN_USER_MAX);
    }
    put(step, ",\"counter\":%" PRIu64 ",\"duration_ms\":%" PRIu64, run->emits - run->consumes,
        duration_ms);
    end(step);
    step_op(
        step, &(struct flow_op){.kind = FLOW_CLOSE, .name = span_str(status), .n = step->now_ms});
}
