/* The story as it was published, and what the store is left with. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "tests/sim/flow_scene.h"

/* What the events have told of a node so far. */
struct told {
    uint32_t starts, completions, failures; /* Attempts, all in all. */
    uint32_t visits, ends;                  /* An end: no attempt follows. */
    uint32_t attempt;                       /* Under way; 0: none. */
    uint32_t next_attempt;                  /* After a failure with will_retry; 0: none. */
    double furthest;
};

struct story {
    const struct scene *scene;
    struct told nodes[MAKE_NODES_MAX];
    uint32_t at; /* Events read. */
    bool over;
    char end[16];
};

static const char *text_of(const json_t *event, const char *name)
{
    const char *text = json_string_value(json_object_get(event, name));
    CHECK(text);
    return text;
}

static uint32_t number_of(const json_t *event, const char *name)
{
    const json_t *value = json_object_get(event, name);
    CHECK(json_is_integer(value) && json_integer_value(value) >= 0);
    return (uint32_t)json_integer_value(value);
}

int64_t judge_counter(const char *event)
{
    const char *at = strstr(event, "\"counter\":");
    int64_t counter = -1;

    if (at) {
        CHECK(sscanf(at, "\"counter\":%ld", &counter) == 1);
    }
    return counter;
}

/* Somebody before it was over before it began. */
static void check_cause(const struct story *story, uint32_t node)
{
    const struct make *make = &story->scene->make;
    bool any = false, over = false;

    for (uint32_t i = 0; i < make->edge_count; i++) {
        if (make->edges[i].to == node && !make->edges[i].max_iterations) {
            any = true;
            over |= story->nodes[make->edges[i].from].ends > 0;
        }
    }
    CHECK(!any || over);
}

static void read_started(struct story *story, const json_t *event, uint32_t node)
{
    struct told *told = &story->nodes[node];
    uint32_t attempt = number_of(event, "attempt");

    CHECK(told->attempt == 0);
    CHECK(attempt == (told->next_attempt ? told->next_attempt : 1));
    told->visits += attempt == 1;
    told->starts++;
    told->attempt = attempt;
    told->next_attempt = 0;
    told->furthest = -1;
    check_cause(story, node);
}

static void read_failed(struct story *story, const json_t *event, uint32_t node)
{
    struct told *told = &story->nodes[node];
    const json_t *again = json_object_get(event, "will_retry");

    CHECK(told->attempt && number_of(event, "attempt") == told->attempt);
    CHECK(json_is_boolean(again) && text_of(event, "error")[0]);
    told->next_attempt = json_is_true(again) ? told->attempt + 1 : 0;
    told->ends += !json_is_true(again);
    told->failures++;
    told->attempt = 0;
}

static void read_node_event(struct story *story, const char *type, const json_t *event)
{
    uint32_t node;

    CHECK(sscanf(text_of(event, "node_id"), "n%u", &node) == 1);
    struct told *told = &story->nodes[node];
    if (strcmp(type, "node_started") == 0) {
        read_started(story, event, node);
    } else if (strcmp(type, "node_failed") == 0) {
        read_failed(story, event, node);
    } else if (strcmp(type, "node_completed") == 0) {
        CHECK(told->attempt && strcmp(text_of(event, "status"), "completed") == 0);
        told->completions++;
        told->ends++;
        told->attempt = 0;
    } else if (strcmp(type, "node_progress") == 0) {
        double percent = json_number_value(json_object_get(event, "percent"));
        CHECK(told->attempt && percent > told->furthest);
        told->furthest = percent;
    } else {
        CHECK(told->attempt && strncmp(type, "approval_", 9) == 0);
    }
}

static void read_event(struct story *story, const char *text)
{
    json_t *event = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    CHECK(event);
    const char *type = text_of(event, "type");

    CHECK(!story->over && number_of(event, "timestamp") > 0);
    CHECK((story->at == 0) == (strcmp(type, "workflow_started") == 0));
    if (strncmp(type, "workflow_", 9) != 0) {
        read_node_event(story, type, event);
    } else if (story->at > 0) {
        story->over = true;
        snprintf(story->end, sizeof(story->end), "%s", type + 9);
        CHECK(number_of(event, "counter") == 0);
    }
    story->at++;
    json_decref(event);
}

static void check_left(const struct model *model)
{
    CHECK(model->counter == 0 && model->consumed_count == model->token_count);
    for (uint32_t i = 0; i < model->workflow->node_count; i++) {
        const struct model_node *node = &model->nodes[i];
        CHECK(!node->queued && !node->timer_ms);
        CHECK(!node->approval || !strstr(node->approval, "pending"));
        for (uint32_t k = 0; k < MAKE_NODES_MAX; k++) {
            CHECK(!node->arrived[k]);
        }
    }
}

/* Every token that came to be was told of, once. */
static void check_tokens(const struct story *story, const struct run *run)
{
    uint64_t starts = 0, ends = 0;

    for (uint32_t i = 0; i < run->workflow->node_count; i++) {
        starts += story->nodes[i].starts;
        ends += story->nodes[i].completions + story->nodes[i].failures;
        CHECK(story->nodes[i].visits == run->nodes[i].visit);
        scene_totals.skipped += run->nodes[i].state == NODE_SKIPPED;
    }
    CHECK(ends <= starts && starts <= story->scene->model.token_count);
    if (run->status == RUN_COMPLETED) {
        CHECK(starts == ends && starts == story->scene->model.token_count);
    }
}

static void check_told(const struct story *story, const struct run *run)
{
    struct oracle oracle;

    oracle_ask(&story->scene->make, &oracle);
    CHECK(oracle.run_fails == (run->status == RUN_FAILED));
    if (oracle.run_fails) {
        return;
    }
    for (uint32_t i = 0; i < run->workflow->node_count; i++) {
        static const enum node_state states[] = {NODE_SKIPPED, NODE_COMPLETED, NODE_FAILED};
        CHECK(run->nodes[i].visit == oracle.visits[i]);
        CHECK(story->nodes[i].starts == oracle.attempts[i]);
        CHECK(story->nodes[i].completions == oracle.completions[i]);
        CHECK(run->nodes[i].state == states[oracle.ends[i]]);
    }
    scene_totals.told++;
}

void judge(const struct scene *scene)
{
    struct story story = {.scene = scene};

    for (uint32_t i = 0; i < scene->model.event_count; i++) {
        read_event(&story, scene->model.events[i]);
    }
    CHECK(story.over && strcmp(story.end, scene->model.status) == 0);
    check_left(&scene->model);
    struct run *run = model_load_by_ir(&scene->model);
    check_tokens(&story, run);
    if (scene->make.calm) {
        check_told(&story, run);
    }
    scene_totals.completed += run->status == RUN_COMPLETED;
    scene_totals.failed += run->status == RUN_FAILED;
    scene_totals.cancelled += run->status == RUN_CANCELLED;
    scene_totals.nodes += run->workflow->node_count;
    scene_totals.tokens += scene->model.token_count;
    for (uint32_t i = 0; i < run->workflow->node_count; i++) {
        scene_totals.loops += run->nodes[i].visit > 1;
        scene_totals.joins += run->workflow->nodes[i].in_count > 1 && run->nodes[i].visit > 0;
    }
    run_free(run);
}
