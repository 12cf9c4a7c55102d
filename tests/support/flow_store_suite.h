/* What every store of runs must do, as one suite: the same cases run against the embedded store and
 * against Redis, so that the coordinator cannot tell them apart. */
#ifndef TESTS_SUPPORT_FLOW_STORE_SUITE_H
#define TESTS_SUPPORT_FLOW_STORE_SUITE_H

#include <stdint.h>

#include "flow/ports.h"

/* How the store must be opened; the cases count on it. */
enum {
    FLOW_SUITE_TASKS_MAX = 4,        /* Pieces of work under way at once. */
    FLOW_SUITE_RETENTION_MS = 1500,  /* Of a run that is over. */
    FLOW_SUITE_LATER_MS_MAX = 20000, /* FLOW_LATER and timers come again within this. */
};

/* The types of task that the cases use; the store under test has workers for them. */
#define FLOW_SUITE_TYPE_A "transform"
#define FLOW_SUITE_TYPE_B "aggregate"

/* A kind of store, as the test of it brings it along. Everything fails the test by cmocka when it
 * cannot do its work. */
struct flow_suite_port {
    void *ctx;
    /* Opens an empty store that hears `in`, which outlives it, and gives its port. */
    void (*open)(void *ctx, const struct flow_events_in *in, struct flow_store *ret_store);
    void (*close)(void *ctx);
    /* One turn: what is ready comes. May wait, a few ms. */
    void (*pump)(void *ctx);
    /* The wall clock that timers go by. */
    uint64_t (*now_ms)(void *ctx);
    /* That time passes on this clock: a virtual one moves on, a real one is waited for. Then it may
     * take some more pump() until what was due has come. */
    void (*pass)(void *ctx, uint64_t ms);
    /* How much went to wf.dead. */
    uint64_t (*dead_count)(void *ctx);
};

/* Runs all cases, each with a store of its own. Returns how many failed. */
int flow_store_suite(const char *name, const struct flow_suite_port *port);

#endif
