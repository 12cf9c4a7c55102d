/* What the cases of flow_store_suite.c share: a store that is open, what it handed out, and
 * requests that are waited for. */
#ifndef TESTS_SUPPORT_FLOW_SUITE_RIG_H
#define TESTS_SUPPORT_FLOW_SUITE_RIG_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "tests/support/flow_store_suite.h"
#include "tests/support/unit.h"

enum { SUITE_TASKS_KEPT = 256, SUITE_TIMERS_KEPT = 256, SUITE_TEXT_MAX = 2048 };

struct suite_timer {
    char run_id[FLOW_RUN_ID_MAX + 1], node[FLOW_NODE_ID_MAX + 1];
};

struct suite {
    const struct flow_suite_port *port;
    struct flow_store store;
    struct flow_events_in in;
    bool up;
    struct flow_task *tasks[SUITE_TASKS_KEPT]; /* Given to us, in order; not given back yet. */
    uint32_t task_count;
    struct suite_timer timers[SUITE_TIMERS_KEPT];
    uint32_t timer_count;
};

/* A piece of the suite; ends with a NULL name. */
struct suite_case {
    const char *name;
    CMUnitTestFunction fn; /* *state: struct suite *, open. */
};

#define SUITE_CASE(fn)                                                                             \
    {                                                                                              \
#fn, fn                                                                                    \
    }

extern const struct suite_case suite_run_cases[], suite_list_cases[], suite_work_cases[];

/* What the cases talk about. */
#define REF_A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define REF_B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define TOKEN(id, node)                                                                            \
    "{\"id\":\"" id "\",\"run_id\":\"r1\",\"from_node\":\"\",\"to_node\":\"" node                  \
    "\",\"payload_ref\":\"" REF_A "\",\"hop\":0,\"metadata\":{}}"
#define EVENT(n) "{\"type\":\"node_progress\",\"run_id\":\"r1\",\"percent\":" #n "}"

void suite_open(struct suite *suite, const struct flow_suite_port *port);
void suite_close(struct suite *suite);

/* Turns until *done; fails after ten seconds. */
void suite_until(struct suite *suite, const bool *done);
/* Some turns, for what should not happen. */
void suite_turns(struct suite *suite);
void suite_until_tasks(struct suite *suite, uint32_t count);
void suite_until_timers(struct suite *suite, uint32_t count);

/* Gives a task back; the others move up. */
void suite_release(struct suite *suite, uint32_t index, enum flow_release how, const char *why);

#define OPS(...)                                                                                   \
    (const struct flow_op[]){__VA_ARGS__}, COUNT_OF(((const struct flow_op[]){__VA_ARGS__}))

/* Hands in a commit and waits for its answer; *ret_version (may be NULL) is written on 0. */
int suite_commit(struct suite *suite, const char *run_id, uint64_t version,
    const struct flow_op *ops, uint32_t op_count, uint64_t *ret_version);

/* The ops, by name. Texts live for the test: string literals, or ctx of the caller. */
struct flow_op op_open(const char *user, const char *tag, uint64_t now_ms);
struct flow_op op_header(const char *json, uint64_t counter);
struct flow_op op_node(const char *node, const char *json);
struct flow_op op_event(const char *json);
struct flow_op op_token(enum flow_op_kind kind, const char *token); /* CONSUME, EMIT */
struct flow_op op_queue(const char *node, const char *type, const char *token, const char *body);
struct flow_op op_unqueue(const char *node, const char *type);
struct flow_op op_blob(const char *ref, const char *body);
struct flow_op op_timer(const char *node, uint64_t due_ms);
struct flow_op op_plain(enum flow_op_kind kind, const char *node, const char *id, const char *body);
struct flow_op op_close(const char *status, uint64_t now_ms);

/* The store's clock. */
uint64_t suite_now(const struct suite *suite);

/* The run "r1" of alice, tag "flights", open since now; its version. */
uint64_t suite_r1(struct suite *suite);

/* Opens a run with one commit: header {"run_id":…,"tag":…,"user":…,"status":"running",…}. */
uint64_t suite_run(
    struct suite *suite, const char *run_id, const char *user, const char *tag, uint64_t now_ms);
/* The header that suite_run() writes, with that status, to out. */
const char *suite_header(char out[SUITE_TEXT_MAX], const char *run_id, const char *user,
    const char *tag, const char *status, uint64_t now_ms);

/* A run as it is, copied. */
struct suite_loaded {
    int err;
    uint64_t version;
    char header[SUITE_TEXT_MAX], ir[SUITE_TEXT_MAX];
    char nodes[16][2][SUITE_TEXT_MAX]; /* Id and record, sorted by id. */
    uint32_t node_count;
};
/* Gives it; for free(). */
struct suite_loaded *suite_load(struct suite *suite, const char *run_id);

/* Text of a get, copied to out; its err. */
typedef void suite_get_fn(void *ctx, struct flow_get *get);
int suite_get(struct suite *suite, suite_get_fn *fn, const char *key, size_t bytes_max,
    char out[SUITE_TEXT_MAX]);

/* Events as one text, each with a '\n' behind it. */
struct suite_events {
    int err;
    uint64_t total;
    uint32_t count;
    char header[SUITE_TEXT_MAX], text[4 * SUITE_TEXT_MAX];
};
void suite_events(struct suite *suite, const char *run_id, uint64_t since, uint64_t limit,
    struct suite_events *ret_events);

#endif
