/* kill -9 at any moment: what was answered is there, whole, and nothing is there by halves.
 *
 * A child commits steps of many runs without pause and writes each answered version into a pipe; it is
 * killed after a random time, and the same directory is opened again and again. The long tier
 * (FANOUT_TEST_ALL) does so more often. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/rng.h"
#include "rt/clock.h"
#include "tests/unit/store/flow_db_rig.h"

enum { RUNS = 40 };

struct acked {
    uint32_t run;
    uint32_t version;
};

/* One step: everything in it says which version it makes. */
struct step {
    char id[16], header[64], record[64], event[64], more[64], token[32], ref[FLOW_REF_LEN + 1];
    char body[600], due_node[8];
    struct flow_op ops[12];
    uint32_t op_count;
    struct flow_commit commit;
    uint32_t run;
    bool answered;
};

static void make_ref(char out[FLOW_REF_LEN + 1], uint32_t run, uint64_t version)
{
    snprintf(out, FLOW_REF_LEN + 1, "sha256:%032x%032llx", run, (unsigned long long)version);
}

static void step_done(struct flow_commit *commit)
{
    ((struct step *)commit->owner)->answered = true;
}

static void make_step(struct step *step, uint32_t run, uint64_t version)
{
    unsigned long long next = version + 1;
    uint32_t n = 0;

    *step = (struct step){.run = run};
    snprintf(step->id, sizeof(step->id), "run%u", run);
    snprintf(step->header, sizeof(step->header), "{\"n\":%llu}", next);
    snprintf(step->record, sizeof(step->record), "{\"record\":%llu}", next);
    snprintf(step->event, sizeof(step->event), "{\"event\":%llu}", next);
    snprintf(step->more, sizeof(step->more), "{\"more\":%llu}", next);
    snprintf(step->token, sizeof(step->token), "t%llu", next);
    snprintf(step->due_node, sizeof(step->due_node), "n%llu", next % 30);
    make_ref(step->ref, run, next);
    memset(step->body, 'x', next % 7 == 0 ? 500 : 50);
    if (version == 0) {
        step->ops[n++] = op_open("u", "t", 1);
    }
    step->ops[n++] = op_token(FLOW_CONSUME, step->token);
    step->ops[n++] = op_header(step->header, 1);
    step->ops[n++] = op_node("a", step->record);
    step->ops[n++] = op_node(step->due_node, step->record);
    step->ops[n++] = op_event(step->event);
    step->ops[n++] = op_event(step->more);
    step->ops[n++] = op_blob(step->ref, step->body);
    step->ops[n++] = op_timer(step->due_node, 1ull << 50);
    step->op_count = n;
    step->commit = (struct flow_commit){
        .done = step_done,
        .owner = step,
        .run_id = span_str(step->id),
        .user = span_str("u"),
        .version = version,
        .ops = step->ops,
        .op_count = n,
    };
}

/* Never returns. */
static void child(struct rig *rig, struct suite *suite, const uint64_t *versions, int pipe_fd)
{
    struct step *steps = calloc(RUNS, sizeof(*steps));
    uint64_t next[RUNS];

    if (!steps || rig_try_open(rig, &suite->in) < 0) {
        fprintf(stderr, "%s\n", rig->why);
        _exit(1);
    }
    struct flow_store store = flow_db_store(rig->db);
    memcpy(next, versions, sizeof(next));
    for (;;) {
        for (uint32_t i = 0; i < RUNS; i++) {
            make_step(&steps[i], i, next[i]);
            store.commit(store.ctx, &steps[i].commit);
        }
        while (flow_db_turn(rig->db, rig->now_ms)) {
        }
        for (uint32_t i = 0; i < RUNS; i++) {
            next[i] = steps[i].commit.ret_version;
            struct acked acked = {i, (uint32_t)next[i]};
            if (!steps[i].answered || steps[i].commit.err ||
                write(pipe_fd, &acked, sizeof(acked)) != sizeof(acked)) {
                _exit(3);
            }
        }
    }
}

static void check_run(struct suite *suite, uint32_t run, uint64_t *version)
{
    struct suite_events events;
    char id[16], expected[128], ref[FLOW_REF_LEN + 1], out[SUITE_TEXT_MAX];
    unsigned long long v;

    snprintf(id, sizeof(id), "run%u", run);
    suite_events(suite, id, *version ? 2 * (*version - 1) : 0, 1000, &events);
    if (events.err == -ENOENT) {
        assert_int_equal(*version, 0);
        return;
    }
    assert_int_equal(events.err, 0);
    assert_int_equal(sscanf(events.header, "{\"n\":%llu}", &v), 1);
    assert_true(v >= *version); /* What was answered is there; what was not may be. */
    assert_true(v <= *version + 1);
    assert_int_equal(events.total, 2 * v);
    suite_events(suite, id, 2 * (v - 1), 0, &events);
    snprintf(expected, sizeof(expected), "{\"event\":%llu}\n{\"more\":%llu}\n", v, v);
    assert_string_equal(events.text, expected);
    make_ref(ref, run, v);
    assert_int_equal(suite_get(suite, suite->store.blob, ref, 0, out), 0);
    assert_int_equal(strlen(out), v % 7 == 0 ? 500 : 50);
    make_ref(ref, run, v + 1);
    assert_int_equal(suite_get(suite, suite->store.blob, ref, 0, out), -ENOENT);
    /* Its token is used up. The version is right, so nothing else refuses this. */
    snprintf(out, sizeof(out), "t%llu", v);
    assert_int_equal(suite_commit(suite, id, v, OPS(op_token(FLOW_CONSUME, out)), NULL), -EALREADY);
    *version = v;
}

static void what_was_answered_survives_kill_9(void **state)
{
    (void)state;
    struct rig rig;
    struct suite suite;
    struct rng rng;
    uint64_t versions[RUNS] = {0}, steps = 0;
    unsigned rounds = getenv("FANOUT_TEST_ALL") ? 60 : 8;

    rng_init(&rng, 7);
    rig_init(&rig, true);
    suite_open(&suite, &rig.port);
    for (unsigned round = 0; round < rounds; round++) {
        int pipes[2];
        flow_db_destroy(rig.db);
        rig.db = NULL;
        assert_int_equal(pipe(pipes), 0);
        pid_t pid = fork();
        if (pid == 0) {
            close(pipes[0]);
            child(&rig, &suite, versions, pipes[1]);
        }
        close(pipes[1]);
        /* From the first answer on, so that a slow machine kills no one who has not begun. */
        struct acked acked;
        uint64_t until_ns = 0;
        while (until_ns == 0 || clock_now_ns() < until_ns) {
            assert_int_equal(read(pipes[0], &acked, sizeof(acked)), sizeof(acked));
            versions[acked.run] = acked.version;
            if (until_ns == 0) {
                until_ns = clock_now_ns() + rng_next(&rng) % 150000000;
            }
        }
        kill(pid, SIGKILL);
        while (read(pipes[0], &acked, sizeof(acked)) == sizeof(acked)) {
            versions[acked.run] = acked.version;
        }
        close(pipes[0]);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        suite.up = false;
        assert_int_equal(rig_try_open(&rig, &suite.in), 0);
        suite.store = flow_db_store(rig.db);
        suite_until(&suite, &suite.up);
        steps = 0;
        for (uint32_t run = 0; run < RUNS; run++) {
            check_run(&suite, run, &versions[run]);
            steps += versions[run];
        }
    }
    assert_true(steps > RUNS);
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_was_answered_survives_kill_9)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
