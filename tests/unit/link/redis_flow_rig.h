/* A store of runs on a real Redis, on a loop of its own, and what it handed out. */
#ifndef TESTS_UNIT_LINK_REDIS_FLOW_RIG_H
#define TESTS_UNIT_LINK_REDIS_FLOW_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "link/redis_flow.h"
#include "tests/unit/link/redis_fixture.h"

enum { RIG_HELD_MAX = 512 };

struct rig {
    struct loop *loop;
    struct redis_flow *flow;
    struct flow_store store;
    bool up;
    char why[640];
    uint32_t ups, downs, timer_count;
    char timer[160]; /* The last one's "run:node". */
    struct flow_task *tasks[RIG_HELD_MAX];
    struct flow_signal *signals[RIG_HELD_MAX];
    uint32_t task_count, signal_count, again_count;
};

/* transform, http and delay are worked on; search is not. */
struct redis_flow_options rig_options(const char *name);
void rig_start(
    struct rig *rig, const struct server *server, const struct redis_flow_options *options);
/* Waits until it is up. */
void rig_up(struct rig *rig);
void rig_stop(struct rig *rig);
/* Without a word to Redis, as when it was killed. */
void rig_die(struct rig *rig);
void rig_turn(struct rig *rig);
void rig_run_ms(struct rig *rig, uint32_t ms);
/* Until *count is at least this; fails the test after a good while. */
void rig_wait(struct rig *rig, const uint32_t *count, uint32_t at_least);

/* Waits for the answer, which must be that; gives the new version. */
uint64_t rig_commit(struct rig *rig, const char *run, uint64_t version, const struct flow_op *ops,
    uint32_t op_count, int err);
/* A run of user "u" that has just begun, by one commit: a token t1 for node "a" of type transform. */
void rig_begin(struct rig *rig, const char *run);

/* What Redis answers, as text: strings as they are, lists as [a b], nil as (nil). */
void rig_ask(struct server *server, const char *words, char *out, size_t cap);
void rig_expect(struct server *server, const char *words, const char *answer);

static inline struct span s(const char *text)
{
    return span_str(text);
}

#endif
