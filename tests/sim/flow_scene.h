/* One run of one workflow among two coordinators, workers, humans and a network, all unreliable. */
#ifndef TESTS_SIM_FLOW_SCENE_H
#define TESTS_SIM_FLOW_SCENE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rng.h"
#include "flow/changes.h"
#include "flow/run.h"
#include "tests/sim/flow_make.h"
#include "tests/sim/flow_model.h"
#include "tests/sim/flow_oracle.h"

enum { SCENE_COORDINATORS = 2, SCENE_SIGNALS_MAX = 4000, SCENE_ORPHANS_MAX = 64 };

enum signal_kind { SIGNAL_COMPLETED, SIGNAL_FAILED, SIGNAL_PROGRESS, SIGNAL_BOGUS };

/* What a worker sent. It stays in the store until a commit dealt with it or somebody dropped it. */
struct signal {
    uint64_t number; /* Of no other. */
    enum signal_kind kind;
    char token[160];
    uint32_t node;
    uint32_t v;
    bool final;
    double percent;
    char message[16];
};

/* A commit on its way to the store. */
struct flight {
    struct changes changes;
    uint64_t version;
    uint64_t signals[2]; /* Those it deals with; 0: none. */
    uint32_t steps;
};

struct coordinator {
    struct run *run; /* A copy, maybe old; NULL: none. */
    bool fresh;      /* Loaded just now. */
    bool down;
    uint32_t pause; /* Acts it sits out. */
    struct flight *flight;
};

struct scene {
    struct make make;
    struct rng rng;
    struct workflow *workflow;
    struct model model;
    struct coordinator coordinators[SCENE_COORDINATORS];
    struct flight *orphans[SCENE_ORPHANS_MAX]; /* Of coordinators that died meanwhile. */
    uint32_t orphan_count;
    struct signal *signals;
    uint32_t signal_count;
    uint64_t signal_numbers;
    char worked[MAKE_NODES_MAX][160]; /* The task of each node that a worker had last. */
    uint64_t now_ms;
    bool may_cancel;
};

/* Over all runs: what has not happened has not been tested. */
struct scene_totals {
    uint64_t commits, refused, lost_answers, crashes, stale_signals, poison, reloads, timeouts,
        retries, delays, decisions, cancels, batches, late_commits, spurious_timers;
    uint64_t completed, failed, cancelled, told, nodes, tokens, loops, joins, skipped;
};
extern struct scene_totals scene_totals;

void scene_init(struct scene *scene, uint64_t seed);
void scene_fini(struct scene *scene);
/* Until the run is over and nothing is on its way. */
void scene_play(struct scene *scene);

/* flow_judge.c: stops unless the story that was published is a good one. */
void judge(const struct scene *scene);
/* The counter of an event, or -1. */
int64_t judge_counter(const char *event);

#endif
