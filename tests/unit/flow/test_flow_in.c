/* Tasks as the store hands them out, from whoever wrote them: which run each is sent to, or why to none. */
#include "flow/flow.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/unit.h"

struct rig {
    struct flow *flow;
    struct flow_store store;
    char run_id[FLOW_RUN_ID_MAX + 1]; /* Of the run that was asked for; "": of none. */
    bool dead;
    char why[400];
};

static struct rig rig;

/* There is no run at all: each task is about one that is not known. */
static void load(void *ctx, struct flow_load *load)
{
    (void)ctx;
    snprintf(
        rig.run_id, sizeof(rig.run_id), "%.*s", (int)load->run_id.len, (char *)load->run_id.data);
    load->err = -ENOENT;
    load->done(load);
}

static void release_task(void *ctx, struct flow_task *task, enum flow_release how, const char *why)
{
    (void)ctx;
    (void)task;
    rig.dead = how == FLOW_DEAD;
    snprintf(rig.why, sizeof(rig.why), "%s", why ? why : "");
}

static int set_up(void **state)
{
    const struct flow_options options = {.runs_max = 2, .result_bytes_max = 4000};
    const struct flow_needs needs = {.store = &rig.store};

    (void)state;
    rig = (struct rig){.store = {.load = load, .release_task = release_task}};
    assert_int_equal(flow_create(&options, &needs, &rig.flow), 0);
    struct flow_events_in in = flow_events_in(rig.flow);
    in.on_state(in.ctx, true, "");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    flow_destroy(rig.flow);
    return 0;
}

static void hear(struct span body)
{
    struct flow_events_in in = flow_events_in(rig.flow);
    struct flow_task task = {.type = span_str("transform"), .body = body};

    rig.run_id[0] = rig.why[0] = '\0';
    rig.dead = false;
    in.on_task(in.ctx, &task);
    for (int i = 0; i < 10; i++) {
        flow_turn(rig.flow, 1790000000000);
    }
    assert_true(flow_idle(rig.flow));
    assert_true(rig.dead); /* Of which run, and why, is the question. */
}

static void sent_to(const char *body, const char *run_id)
{
    hear(span_str(body));
    assert_string_equal(rig.run_id, run_id);
    assert_string_equal(rig.why, "there is no such run");
}

static void refused(const char *body, const char *why)
{
    hear(span_str(body));
    assert_string_equal(rig.run_id, "");
    if (strcmp(rig.why, why) != 0) {
        fail_msg("%s: \"%s\" instead of \"%s\"", body, rig.why, why);
    }
}

static void a_task_goes_to_its_run_however_it_is_written(void **state)
{
    (void)state;
    sent_to(
        "{\"id\":\"r1:a:1:1\",\"run_id\":\"r1\",\"metadata\":{\"config\":{\"run_id\":3}}}", "r1");
    sent_to(" {\n\"run_id\" : \"r2\", \"id\" : \"r2:a:1:1\" } ", "r2");
    sent_to("{\"\\u0069d\":\"x\",\"run\\u005fid\":\"\\u0072\\\"3\"}", "r\"3");
    sent_to("{\"id\":\"a\\/b\",\"run_id\":\"r4\"}", "r4");
    sent_to("{\"id\":\"x\",\"run_id\":\"r\xc3\xa9\"}", "r\xc3\xa9");
}

static void a_task_that_names_no_run_is_dead_with_the_reason(void **state)
{
    char body[400], long_id[200];

    (void)state;
    refused("", "there is no JSON: the text is empty");
    refused("[]", "it is no JSON object");
    refused("{\"run_id\":\"r\"}", "id: a string of 1 to 160 bytes is expected");
    refused("{\"id\":\"x\"}", "run_id: a string of 1 to 64 bytes is expected");
    refused("{\"id\":\"x\",\"run_id\":\"\"}", "run_id: a string of 1 to 64 bytes is expected");
    refused("{\"id\":\"x\",\"run_id\":7}", "run_id: a string of 1 to 64 bytes is expected");
    refused(
        "{\"id\":\"x\",\"run_id\":\"r\\u0000\"}", "run_id: a string of 1 to 64 bytes is expected");
    memset(long_id, 'x', sizeof(long_id) - 1);
    long_id[sizeof(long_id) - 1] = '\0';
    snprintf(body, sizeof(body), "{\"id\":\"x\",\"run_id\":\"%s\"}", long_id);
    refused(body, "run_id: a string of 1 to 64 bytes is expected");
    /* Readers could disagree about whose it is. */
    hear(span_str("{\"id\":\"x\",\"run_id\":\"r1\",\"run_id\":\"r2\"}"));
    assert_string_equal(rig.run_id, "");
    hear(span_str("{\"id\":\"x\",\"run_id\":\"r1\""));
    assert_string_equal(rig.run_id, "");
    hear(span_of("{\"id\":\"x\",\"run_id\":\"r1\"}\0", 26));
    assert_string_equal(rig.run_id, "");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_task_goes_to_its_run_however_it_is_written),
        TEST(a_task_that_names_no_run_is_dead_with_the_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
