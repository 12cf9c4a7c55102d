#include "tests/sim/flow_scene.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "flow/canon.h"
#include "flow/nodes.h"
#include "flow/run_own.h"

enum { ACTS_MAX = 400000 };

struct scene_totals scene_totals;

static const char run_id[] = "0190c0de-0000-7000-8000-000000000001";

static uint32_t below(struct scene *scene, uint32_t bound)
{
    return (uint32_t)rng_below(&scene->rng, bound);
}

static bool percent(struct scene *scene, uint32_t chance)
{
    return below(scene, 100) < chance;
}

void scene_init(struct scene *scene, uint64_t seed)
{
    struct workflow_faults faults = {0};
    struct bytes text = {0};

    *scene = (struct scene){.now_ms = 1700000000000 + seed % 1000};
    rng_init(&scene->rng, seed ^ 0x5eed);
    make_workflow(&scene->make, seed, seed % 3 != 0);
    scene->may_cancel = !scene->make.calm && seed % 5 == 0;
    make_text(&scene->make, &text);
    int err = workflow_compile(
        span_of(text.data, text.len), nodes_check, NULL, &scene->workflow, &faults);
    if (err) {
        fprintf(stderr, "%.*s\n%s\n", (int)text.len, (const char *)text.data,
            faults.count ? faults.lines[0] : "no fault");
    }
    CHECK(err == 0);
    bytes_fini(&text);
    workflow_faults_fini(&faults);
    model_init(&scene->model, scene->workflow, run_id);
    scene->signals = mem_zalloc(SCENE_SIGNALS_MAX * sizeof(*scene->signals));
}

static void free_flight(struct flight *flight)
{
    if (flight) {
        changes_fini(&flight->changes);
        mem_free(flight);
    }
}

void scene_fini(struct scene *scene)
{
    for (int i = 0; i < SCENE_COORDINATORS; i++) {
        run_free(scene->coordinators[i].run);
        free_flight(scene->coordinators[i].flight);
    }
    for (uint32_t i = 0; i < scene->orphan_count; i++) {
        free_flight(scene->orphans[i]);
    }
    mem_free(scene->signals);
    model_fini(&scene->model);
    workflow_unref(scene->workflow);
}

/* ---- signals ---- */

static void send_signal(struct scene *scene, const struct signal *signal)
{
    if (scene->signal_count < SCENE_SIGNALS_MAX) {
        scene->signals[scene->signal_count] = *signal;
        scene->signals[scene->signal_count++].number = ++scene->signal_numbers;
    }
}

static void take_off(struct scene *scene, uint64_t number)
{
    for (uint32_t i = 0; number && i < scene->signal_count; i++) {
        if (scene->signals[i].number == number) {
            scene->signals[i] = scene->signals[--scene->signal_count];
            return;
        }
    }
}

/* ---- commits ---- */

static void check_copy(const struct scene *scene, const struct run *copy)
{
    struct bytes text = {0};

    CHECK(record_header(copy, &text) == 0);
    CHECK(span_equal(span_of(text.data, text.len), span_str(scene->model.header)));
    for (uint32_t i = 0; i < scene->workflow->node_count; i++) {
        text.len = 0;
        CHECK(record_node(copy, i, &text) == 0);
        const char *record = scene->model.nodes[i].record;
        CHECK(record ? span_equal(span_of(text.data, text.len), span_str(record))
                     : copy->nodes[i].state == NODE_IDLE && copy->nodes[i].visit == 0);
    }
    bytes_fini(&text);
}

/* What the events of a commit say of the counter is what the store counts. */
static void check_counters(const struct scene *scene, uint32_t event, const struct run *run)
{
    for (; event < scene->model.event_count; event++) {
        int64_t counter = judge_counter(scene->model.events[event]);
        bool last = event + 1 == scene->model.event_count;
        if (counter >= 0 && (last || run->status != RUN_FAILED)) {
            CHECK((uint64_t)counter == scene->model.counter);
        }
    }
}

/* The store takes a commit. copy: the run as its coordinator thinks it is now, if it lives. */
static int deliver(struct scene *scene, struct flight *flight, struct run *copy)
{
    uint32_t events = scene->model.event_count;
    uint64_t version = 0;
    int err = model_commit(&scene->model, flight->version, &flight->changes, &version);

    if (err) {
        return err;
    }
    struct run *run = model_load(&scene->model);
    model_check(&scene->model, run);
    if (flight->steps == 1) {
        check_counters(scene, events, run);
    }
    if (copy) {
        copy->version = version;
        check_copy(scene, copy);
    }
    take_off(scene, flight->signals[0]);
    take_off(scene, flight->signals[1]);
    run_free(run);
    return 0;
}

static void forget(struct coordinator *c)
{
    run_free(c->run);
    c->run = NULL;
}

/* Something becomes of a coordinator's commit: applied or lost, and the answer heard or not. */
static void land(struct scene *scene, struct coordinator *c)
{
    struct flight *flight = c->flight;
    uint32_t fate = below(scene, 20);

    c->flight = NULL;
    if (fate == 0) { /* It never came. */
        forget(c);
    } else if (fate == 1) { /* It came, and nobody heard of it. */
        scene_totals.lost_answers++;
        (void)!deliver(scene, flight, c->run);
        forget(c);
    } else if (deliver(scene, flight, c->run)) {
        forget(c);
    }
    free_flight(flight);
}

static void crash(struct scene *scene, struct coordinator *c)
{
    scene_totals.crashes++;
    forget(c);
    if (c->flight && scene->orphan_count < SCENE_ORPHANS_MAX) {
        scene->orphans[scene->orphan_count++] = c->flight;
    } else {
        free_flight(c->flight);
    }
    c->flight = NULL;
    c->down = true;
}

static void land_orphan(struct scene *scene)
{
    uint32_t i = below(scene, scene->orphan_count);
    struct flight *flight = scene->orphans[i];

    scene->orphans[i] = scene->orphans[--scene->orphan_count];
    if (percent(scene, 60) && deliver(scene, flight, NULL) == 0) {
        scene_totals.late_commits++;
    }
    free_flight(flight);
}

/* ---- what a coordinator does ---- */

static void load(struct scene *scene, struct coordinator *c)
{
    forget(c);
    c->run = model_load(&scene->model);
    c->run->task_types = "function";
    c->fresh = true;
    scene_totals.reloads++;
}

static struct flight *new_flight(uint64_t version)
{
    struct flight *flight = mem_zalloc(sizeof(*flight));
    flight->version = version;
    return flight;
}

static void send_off(struct coordinator *c, struct flight *flight)
{
    CHECK(!c->flight && flight->changes.count > 0);
    c->flight = flight;
    c->fresh = false;
}

static int complete(
    struct scene *scene, struct run *run, struct span token, uint32_t v, struct changes *changes)
{
    char text[32], ref[FLOW_REF_LEN + 1];

    snprintf(text, sizeof(text), "{\"v\":%u}", v);
    canon_ref(span_str(text), ref);
    json_t *value = json_pack("{s:i}", "v", (int)v);
    struct run_result result = {.ref = ref, .value = value, .blob = span_str(text)};
    uint32_t node;
    if (run_token(run, token, &node) == 0 && !run_wants_value(run, node) && v % 2) {
        /* The worker stored it and sent the reference alone. */
        result.value = NULL;
        result.blob = span_of(NULL, 0);
        model_add_blob(&scene->model, span_str(ref));
    }
    int err = run_complete(run, token, &result, scene->now_ms, changes);
    json_decref(value);
    return err;
}

static int apply_signal(
    struct scene *scene, struct run *run, const struct signal *signal, struct changes *changes)
{
    struct span token = span_str(signal->token);

    switch (signal->kind) {
    case SIGNAL_COMPLETED:
        return complete(scene, run, token, signal->v, changes);
    case SIGNAL_FAILED:
        return run_fail(run, token, "it broke", signal->final, scene->now_ms, changes);
    case SIGNAL_PROGRESS:
        return run_progress(
            run, token, signal->percent, span_str(signal->message), scene->now_ms, changes);
    case SIGNAL_BOGUS:
        break;
    }
    return complete(scene, run, token, signal->v, changes);
}

/* A signal judged by the copy at hand, and by a fresh one before it counts as poison. */
static int judge_signal(struct scene *scene, struct coordinator *c, const struct signal *signal,
    struct changes *changes)
{
    int err = apply_signal(scene, c->run, signal, changes);

    if (err == -EINVAL && !c->fresh && changes->count == 0) {
        load(scene, c);
        err = apply_signal(scene, c->run, signal, changes);
    }
    return err;
}

static void take_signal(struct scene *scene, struct coordinator *c)
{
    struct flight *flight = new_flight(0);
    bool two = percent(scene, 15);

    for (int i = 0; i < (two ? 2 : 1) && scene->signal_count; i++) {
        struct signal signal = scene->signals[below(scene, scene->signal_count)];
        uint32_t before = flight->changes.count;
        if (signal.number == flight->signals[0]) {
            break;
        }
        int err = judge_signal(scene, c, &signal, &flight->changes);
        if (err == 0) {
            flight->signals[i] = signal.number;
            flight->steps++;
            CHECK(changes_add(&flight->changes, &(struct flow_op){.kind = FLOW_SIGNAL}) == 0);
            continue;
        }
        CHECK(flight->changes.count == before); /* Nothing changed. */
        if (before) { /* Judged behind a step that may never be: another time. */
            break;
        }
        if (err == -EINVAL) {
            CHECK(c->fresh && signal.kind == SIGNAL_BOGUS);
            scene_totals.poison++;
        } else {
            CHECK(err == -EALREADY || err == -ESHUTDOWN);
            scene_totals.stale_signals++;
        }
        take_off(scene, signal.number);
        break;
    }
    if (flight->changes.count == 0) {
        free_flight(flight);
        return;
    }
    scene_totals.batches += flight->steps > 1;
    flight->version = c->run->version;
    send_off(c, flight);
}

/* A step that no signal began. */
static void end_step(struct coordinator *c, int err, struct flight *flight)
{
    CHECK(err == 0 || err == -EALREADY || err == -ESHUTDOWN || err == -EINVAL);
    if (err == 0 && flight->changes.count) {
        flight->version = c->run->version;
        flight->steps++;
        send_off(c, flight);
        return;
    }
    CHECK(err || !flight->changes.count);
    free_flight(flight);
}

/* A task off a stream that this coordinator works on. */
static void take_task(struct scene *scene, struct coordinator *c, uint32_t node)
{
    struct flight *flight = new_flight(0);
    bool human = scene->make.nodes[node].kind == MAKE_HUMAN;
    char *token = mem_strdup(scene->model.nodes[node].queued);
    uint64_t due_ms = human ? 0 : scene->now_ms + below(scene, 300);
    int err = run_wait(c->run, span_str(token), human, span_str("may it?"), due_ms, scene->now_ms,
        &flight->changes);

    if (err == -EINVAL) {
        load(scene, c);
        err = run_wait(c->run, span_str(token), human, span_str("may it?"), due_ms, scene->now_ms,
            &flight->changes);
        CHECK(err != -EINVAL);
    }
    mem_free(token);
    end_step(c, err, flight);
}

static struct make_outcome outcome_of(
    const struct scene *scene, const struct run *run, uint32_t node)
{
    return make_outcome(&scene->make, node, run->nodes[node].visit, run->nodes[node].attempt);
}

/* The node's attempt ends as it is to end. */
static int finish(struct scene *scene, struct run *run, uint32_t node, struct changes *changes)
{
    struct make_outcome outcome = outcome_of(scene, run, node);
    struct bytes token = {0};

    CHECK(run_token_id(run, node, &token) == 0);
    struct span id = span_of(token.data, token.len);
    int err = outcome.fails ? run_fail(run, id, "it broke", outcome.final, scene->now_ms, changes)
                            : complete(scene, run, id, outcome.v, changes);
    bytes_fini(&token);
    return err;
}

static void take_timer(struct scene *scene, struct coordinator *c, uint32_t node)
{
    struct flight *flight = new_flight(0);
    enum run_due due;
    int err = run_timer(c->run, node, scene->now_ms, &due, &flight->changes);

    if (err == 0 && due == RUN_DUE_DELAY) {
        err = finish(scene, c->run, node, &flight->changes);
        scene_totals.delays++;
    }
    scene_totals.timeouts += err == 0 && due == RUN_DUE_TIMEOUT;
    scene_totals.retries += err == 0 && due == RUN_DUE_ATTEMPT;
    scene_totals.spurious_timers += err == 0 && due == RUN_DUE_NOTHING;
    end_step(c, err, flight);
}

static void take_decision(struct scene *scene, struct coordinator *c, uint32_t node)
{
    struct flight *flight = new_flight(0);
    int err = -EINVAL;

    for (int i = 0; i < 2 && (err == -EINVAL || err == -EALREADY); i++) {
        if (i) {
            load(scene, c);
        }
        bool approved =
            node < scene->workflow->node_count && !outcome_of(scene, c->run, node).fails;
        err = run_decide(c->run, node, approved, span_str("ann"),
            span_str("{\"status\":\"approved\"}"), scene->now_ms, &flight->changes);
    }
    if (err == 0) {
        err = finish(scene, c->run, node, &flight->changes);
        CHECK(err == 0);
        scene_totals.decisions++;
    }
    end_step(c, err, flight);
}

static void take_cancel(struct scene *scene, struct coordinator *c)
{
    struct flight *flight = new_flight(0);
    int err = run_cancel(c->run, span_str("ann"), scene->now_ms, &flight->changes);

    scene_totals.cancels += err == 0;
    end_step(c, err, flight);
}

static void start(struct scene *scene, struct coordinator *c)
{
    struct flight *flight = new_flight(0);
    static const char inputs[] = "{\"city\":\"NYC\"}";
    struct run *run;

    CHECK(
        run_create(scene->workflow, span_str(run_id), span_str("sim"), span_str("ann"), &run) == 0);
    run->task_types = "function";
    CHECK(run_start(run, span_str(inputs), scene->now_ms, &flight->changes) == 0);
    flight->steps = 1;
    c->run = run;
    send_off(c, flight);
}

static bool is_due(const struct scene *scene, uint32_t node)
{
    uint64_t timer_ms = scene->model.nodes[node].timer_ms;
    return timer_ms && timer_ms <= scene->now_ms;
}

static void coordinate(struct scene *scene, struct coordinator *c)
{
    uint32_t node = below(scene, scene->workflow->node_count);
    const struct model_node *at = &scene->model.nodes[node];

    if (!c->run) {
        if (scene->model.version == 0) {
            start(scene, c);
            return;
        }
        load(scene, c);
    }
    if (percent(scene, 40) && scene->signal_count) {
        take_signal(scene, c);
    } else if (at->queued && scene->make.nodes[node].kind != MAKE_WORK) {
        take_task(scene, c, node);
    } else if (is_due(scene, node) || percent(scene, 1)) {
        take_timer(scene, c, node);
    } else if (at->approval && percent(scene, 30)) {
        take_decision(scene, c, node);
    } else if (scene->may_cancel && scene->model.commits > 2 && percent(scene, 2)) {
        take_cancel(scene, c);
    }
    c->fresh = false;
}

/* ---- the others ---- */

/* A worker has the task of this node, for the first time or once more. */
static void work(struct scene *scene, uint32_t node)
{
    json_t *task = json_loads(scene->model.nodes[node].task, 0, NULL);
    const json_t *meta = json_object_get(task, "metadata");
    const char *token = json_string_value(json_object_get(task, "id"));
    CHECK(token && strcmp(token, scene->model.nodes[node].queued) == 0);
    CHECK(model_has_blob(&scene->model, json_string_value(json_object_get(task, "payload_ref"))));
    struct make_outcome outcome = make_outcome(&scene->make, node,
        (uint32_t)json_integer_value(json_object_get(meta, "visit")),
        (uint32_t)json_integer_value(json_object_get(meta, "attempt")));
    struct signal signal = {.node = node, .v = outcome.v, .final = outcome.final};

    snprintf(signal.token, sizeof(signal.token), "%s", token);
    signal.kind = SIGNAL_PROGRESS;
    for (int at = 0; at < 100 && percent(scene, 55); at += 30) {
        signal.percent = at;
        snprintf(signal.message, sizeof(signal.message), "at %d", at);
        send_signal(scene, &signal);
    }
    signal.kind = outcome.fails ? SIGNAL_FAILED : SIGNAL_COMPLETED;
    if (scene->make.calm || percent(scene, 80)) { /* Else it died over it. */
        send_signal(scene, &signal);
    }
    if (percent(scene, 20)) {
        send_signal(scene, &signal);
    }
    json_decref(task);
}

/* A worker that has a task does it, once. One that died is noticed after a while, or is not dead:
 * then there are two. */
static bool may_work(struct scene *scene, uint32_t node)
{
    const char *queued = scene->model.nodes[node].queued;

    if (!queued || scene->make.nodes[node].kind != MAKE_WORK || scene->signal_count > 100) {
        return false;
    }
    if (strcmp(scene->worked[node], queued) == 0) {
        return !scene->make.calm && percent(scene, 5);
    }
    snprintf(scene->worked[node], sizeof(scene->worked[node]), "%s", queued);
    return true;
}

static void send_bogus(struct scene *scene)
{
    static const char *const tails[] = {":n0:999:1", ":n0:1:99", ":nobody:1:1", "", ":n0:1",
        ":n0:01:1", ":n0:0:1", ":n0:1:1:1", ":n0:1:4294967297", ":n0:+1:1"};
    struct signal signal = {.kind = SIGNAL_BOGUS};

    snprintf(signal.token, sizeof(signal.token), "%s%s", percent(scene, 90) ? run_id : "other",
        tails[below(scene, 10)]);
    send_signal(scene, &signal);
}

static void pass_time(struct scene *scene)
{
    scene->now_ms +=
        scene->make.calm || percent(scene, 90) ? below(scene, 200) : below(scene, 3000);
}

static void act_of(struct scene *scene, struct coordinator *c)
{
    uint32_t what = below(scene, 100);

    if (c->pause) {
        c->pause--;
    } else if (what < 2) {
        crash(scene, c);
    } else if (what < 4) {
        c->pause = below(scene, 100);
    } else if (c->down) {
        c->down = percent(scene, 80);
    } else if (!c->flight) {
        coordinate(scene, c);
    } else if (what < 60) {
        land(scene, c);
    }
}

static void act(struct scene *scene)
{
    uint32_t node = below(scene, scene->workflow->node_count);
    uint32_t what = below(scene, 100);

    if (what < 60) {
        act_of(scene, &scene->coordinators[below(scene, SCENE_COORDINATORS)]);
    } else if (what < 85) {
        if (may_work(scene, node)) {
            work(scene, node);
        }
    } else if (what < 87) {
        if (scene->orphan_count) {
            land_orphan(scene);
        }
    } else if (what < 88) {
        if (!scene->model.status[0] || percent(scene, 5)) {
            send_bogus(scene);
        }
    } else {
        pass_time(scene);
    }
}

static bool is_quiet(const struct scene *scene)
{
    bool flights = scene->orphan_count > 0;

    for (int i = 0; i < SCENE_COORDINATORS; i++) {
        flights |= scene->coordinators[i].flight != NULL;
    }
    return scene->model.status[0] && !flights && scene->signal_count == 0;
}

void scene_play(struct scene *scene)
{
    uint32_t acts = 0;

    while (!is_quiet(scene)) {
        CHECK(acts++ < ACTS_MAX); /* A run that does not end. */
        act(scene);
    }
    scene_totals.commits += scene->model.commits;
    scene_totals.refused += scene->model.refused;
}
