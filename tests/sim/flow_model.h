/* A store of one run for tests/sim/flow_tokens.c: what a store is to promise (src/flow/ports.h), in
 * memory, and distrustful: each op is held against what was there before. */
#ifndef TESTS_SIM_FLOW_MODEL_H
#define TESTS_SIM_FLOW_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "flow/changes.h"
#include "flow/ports.h"
#include "flow/run.h"
#include "tests/sim/flow_make.h"

enum { MODEL_TOKENS_MAX = 20000, MODEL_EVENTS_MAX = 100000, MODEL_BLOBS_MAX = 60000 };

struct model_token {
    char *id;
    bool consumed;
};

struct model_node {
    char *record;
    char *queued; /* The token that is with the workers. */
    char *task;   /* As JSON. */
    uint64_t timer_ms;
    bool arrived[MAKE_NODES_MAX];
    char *approval;
    char output[FLOW_REF_LEN + 1];
};

struct model {
    struct workflow *workflow;
    char *run_id, *ir, *header;
    uint64_t version, counter;
    struct model_node nodes[MAKE_NODES_MAX];
    struct model_token *tokens;
    char **events;
    char (*blobs)[FLOW_REF_LEN + 1];
    uint32_t token_count, event_count, blob_count;
    uint64_t consumed_count, signals_taken, commits, refused;
    char status[16]; /* "" : not closed. */
};

void model_init(struct model *model, struct workflow *workflow, const char *run_id);
void model_fini(struct model *model);

/* As flow_store.commit; gives the answer at once. */
int model_commit(
    struct model *model, uint64_t version, const struct changes *changes, uint64_t *ret_version);

/* Gives the run as it is here now, or stops; NULL: there is none yet. */
struct run *model_load(const struct model *model);
/* The same by the workflow that the run's IR says, as another process would. */
struct run *model_load_by_ir(const struct model *model);

bool model_has_blob(const struct model *model, const char *ref);
void model_add_blob(struct model *model, struct span ref);

/* Stops with a sentence if the store, or the run in it, breaks a rule. */
void model_check(const struct model *model, const struct run *run);

#endif
