/* A run of a workflow given as text, and what a step changed, as text again. */
#ifndef TESTS_UNIT_FLOW_RUN_FIXTURE_H
#define TESTS_UNIT_FLOW_RUN_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "flow/changes.h"
#include "flow/run.h"

enum { RIG_NOW_MS = 1697234567123 };

/* Of FLOW_EVENT and such in the text of a step. */
struct rig {
    struct workflow *workflow;
    struct run *run;
    struct changes changes; /* Of the last step. */
    uint64_t now_ms;
    struct bytes text; /* rig_ops(), rig_events() … until the next call. */
};

/* nodes and edges: JSON arrays. The run is "r", its tag "t", its user "u". Stops if it cannot be. */
void rig_init(struct rig *rig, const char *nodes, const char *edges);
/* The same, and started at RIG_NOW_MS with the inputs {}. */
void rig_start(struct rig *rig, const char *nodes, const char *edges);
void rig_fini(struct rig *rig);

/* Each step empties the changes before, and checks the run after it. */
int rig_complete(struct rig *rig, const char *token, const char *json);
int rig_fail(struct rig *rig, const char *token, const char *error, bool final);
int rig_wait(struct rig *rig, const char *token, bool human, uint64_t due_ms);
int rig_progress(struct rig *rig, const char *token, double percent, const char *message);
int rig_timer(struct rig *rig, const char *node, enum run_due *ret_due);
int rig_cancel(struct rig *rig, const char *by);

/* The ops of the last step: "CONSUME r:a:1:1; EMIT r:b:1:1; QUEUE b@function; NODE a; HEADER 1;
 * EVENT node_completed; …", with the names they have in ports.h. */
const char *rig_ops(struct rig *rig);
/* The events of the last step, a line each. */
const char *rig_events(struct rig *rig);
/* The types of the events with their nodes: "node_completed a, node_started b". */
const char *rig_story(struct rig *rig);
/* The body of the last op of that kind, for that node if it is not NULL. */
const char *rig_body(struct rig *rig, enum flow_op_kind kind, const char *node);

struct run_node *rig_node(struct rig *rig, const char *id);
const char *rig_state(struct rig *rig, const char *id);

/* Writes the run as records, restores it from them, and puts the copy in its place. */
void rig_reload(struct rig *rig);

#endif
