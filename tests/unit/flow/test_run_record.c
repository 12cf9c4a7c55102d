/* Records: what was written is read back; what nobody wrote is refused, with its place. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "flow/run_own.h"
#include "tests/support/unit.h"
#include "tests/unit/flow/run_fixture.h"

#define REF "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const char nodes[] = "[{\"id\":\"a\",\"type\":\"function\",\"retry\":{\"max_attempts\":2}},"
                            "{\"id\":\"b\",\"type\":\"function\"}]";
static const char edges[] = "[{\"from\":\"a\",\"to\":\"b\"},"
                            "{\"from\":\"b\",\"to\":\"b\",\"max_iterations\":3}]";

/* The header and records of a run that waits for b, as text that a test can change. */
struct papers {
    struct rig rig;
    struct bytes header, a, b;
};

static void write_papers(struct papers *p)
{
    *p = (struct papers){0};
    rig_start(&p->rig, nodes, edges);
    assert_int_equal(rig_progress(&p->rig, "r:a:1:1", 12.5, "on it"), 0);
    assert_int_equal(rig_complete(&p->rig, "r:a:1:1", "1"), 0);
    assert_int_equal(rig_complete(&p->rig, "r:b:1:1", "1"), 0); /* Once round the loop. */
    assert_int_equal(record_header(p->rig.run, &p->header), 0);
    assert_int_equal(record_node(p->rig.run, 0, &p->a), 0);
    assert_int_equal(record_node(p->rig.run, 1, &p->b), 0);
}

static void free_papers(struct papers *p)
{
    rig_fini(&p->rig);
    bytes_fini(&p->header);
    bytes_fini(&p->a);
    bytes_fini(&p->b);
}

static int restore(const struct papers *p, struct run **ret_run, char *why, size_t why_cap)
{
    const struct flow_record records[] = {
        {.node = span_str("a"), .body = span_of(p->a.data, p->a.len)},
        {.node = span_str("b"), .body = span_of(p->b.data, p->b.len)}};
    const struct flow_load load = {.run_id = span_str("r"),
        .version = 7,
        .header = span_of(p->header.data, p->header.len),
        .nodes = records,
        .node_count = 2};

    return run_restore(p->rig.workflow, &load, ret_run, why, why_cap);
}

static void what_was_written_is_read_back(void **state)
{
    struct papers p;
    struct run *run;
    char why[200];

    (void)state;
    write_papers(&p);
    assert_int_equal(restore(&p, &run, why, sizeof(why)), 0);
    assert_int_equal(run->version, 7);
    assert_int_equal(run->created_ms, RIG_NOW_MS);
    assert_string_equal(run->tag, "t");
    assert_string_equal(run->user, "u");
    assert_int_equal(run->emits, 3);
    assert_int_equal(run->consumes, 2);
    assert_int_equal(run->events, p.rig.run->events);
    assert_true(run->nodes[0].percent == 12.5);
    assert_int_equal(run->nodes[0].notes[0], p.rig.run->nodes[0].notes[0]);
    assert_int_equal(run->nodes[0].edges[0], EDGE_TAKEN);
    assert_int_equal(run->nodes[1].visit, 2);
    assert_int_equal(run->nodes[1].loops[0], 1);
    assert_int_equal(run->nodes[1].from, 1);
    run_free(run);
    free_papers(&p);
}

static void the_header_is_enough_for_a_list(void **state)
{
    struct papers p;
    char expected[800];

    (void)state;
    write_papers(&p);
    snprintf(expected, sizeof(expected),
        "{\"v\":1,\"run_id\":\"r\",\"tag\":\"t\",\"user\":\"u\",\"status\":\"running\","
        "\"workflow_ref\":\"%s\",\"inputs_ref\":\"%s\",\"created_ms\":1697234567123,"
        "\"finished_ms\":0,\"counter\":1,\"emits\":3,\"consumes\":2,\"events\":7,\"nodes\":2}",
        p.rig.workflow->ref, p.rig.run->inputs_ref);
    assert_int_equal(bytes_append_byte(&p.header, 0), 0);
    assert_string_equal((const char *)p.header.data, expected);
    free_papers(&p);
}

static void a_run_that_failed_says_of_what_in_its_header(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, nodes, edges);
    assert_int_equal(rig_fail(&rig, "r:a:1:1", "no \"way\"", true), 0);
    assert_non_null(
        strstr(rig_body(&rig, FLOW_HEADER, NULL), "\"status\":\"failed\",\"workflow_ref\""));
    assert_non_null(strstr(rig_body(&rig, FLOW_HEADER, NULL),
        "\"nodes\":2,\"error\":\"no \\\"way\\\"\",\"failed_node\":\"a\"}"));
    rig_fini(&rig);
}

/* Puts other text in the place of some. */
static void forge(struct bytes *text, const char *was, const char *is)
{
    struct bytes forged = {0};
    const uint8_t *at = memmem(text->data, text->len, was, strlen(was));

    assert_non_null(at);
    size_t before = (size_t)(at - text->data);
    assert_int_equal(bytes_append(&forged, text->data, before), 0);
    assert_int_equal(bytes_append(&forged, is, strlen(is)), 0);
    assert_int_equal(bytes_append(&forged, at + strlen(was), text->len - before - strlen(was)), 0);
    bytes_fini(text);
    *text = forged;
}

static void what_nobody_wrote_is_refused_with_its_place(void **state)
{
    static const struct {
        char paper; /* h: the header; a, b: the node's record. */
        const char *was, *is, *why;
    } rows[] = {
        {'h', "{", "[", "the run's header: the JSON is not as it was written"},
        {'h', "\"v\":1", "\"v\":2", "the run's header: v is not as it was written"},
        {'h', "\"run_id\":\"r\"", "\"run_id\":\"q\"",
            "the run's header: run_id, tag or user is not as it was written"},
        {'h', "\"user\":\"u\"", "\"user\":\"\"",
            "the run's header: run_id, tag or user is not as it was written"},
        {'h', "\"running\"", "\"walking\"", "the run's header: status is not as it was written"},
        {'h', "\"workflow_ref\":\"sha256:", "\"workflow_ref\":\"sha512:",
            "the run's header: workflow_ref is not as it was written"},
        {'h', "\"inputs_ref\":\"sha256:", "\"inputs_ref\":\"sha256;",
            "the run's header: inputs_ref is not as it was written"},
        {'h', "\"counter\":1", "\"counter\":2",
            "the run's header: counter is not as it was written"},
        {'h', "\"emits\":3", "\"emits\":-3", "the run's header: emits is not as it was written"},
        {'h', "\"emits\":3", "\"emits\":3.0", "the run's header: emits is not as it was written"},
        {'h', "\"emits\":3", "\"emits\":100001",
            "the run's header: emits is not as it was written"},
        {'h', "\"nodes\":2", "\"nodes\":3", "the run's header: nodes is not as it was written"},
        {'h', "\"nodes\":2", "\"nodes\":2,\"more\":1",
            "the run's header: a member nobody knows is not as it was written"},
        {'h', "\"nodes\":2", "\"nodes\":2,\"failed_node\":\"c\"",
            "the run's header: failed_node is not as it was written"},
        {'h', "\"status\":\"running\"", "\"status\":\"completed\"",
            "the run's records do not agree: the run goes on without a token, or is over with one"},
        {'h', "\"emits\":3,\"consumes\":2", "\"emits\":4,\"consumes\":3", NULL},
        {'h', "\"counter\":1,\"emits\":3", "\"counter\":2,\"emits\":4",
            "the run's records do not agree: the counter is not the number of tokens in flight"},
        {'a', "\"state\":\"completed\"", "\"state\":\"done\"", "a: state is not as it was written"},
        {'a', "\"state\":\"completed\"", "\"state\":\"idle\"",
            "the run's records do not agree: a node that did not begin has a result"},
        {'a', "\"edges\":\"t\"", "\"edges\":\"tt\"", "a: edges is not as it was written"},
        {'a', "\"edges\":\"t\"", "\"edges\":\"x\"", "a: edges is not as it was written"},
        {'a', "\"edges\":\"t\"", "\"edges\":\"s\"",
            "the run's records do not agree: an edge is taken or skipped against its `when`"},
        {'a', "\"percent\":12500", "\"percent\":100001", "a: percent is not as it was written"},
        {'a', "\"notes\":\"", "\"notes\":\"0", "a: notes is not as it was written"},
        {'a', "\"result_ref\":\"", "\"result_ref\":\"" REF "\",\"x\":\"",
            "a: a member nobody knows is not as it was written"},
        {'b', "\"loops\":[1]", "\"loops\":[4]",
            "the run's records do not agree: a loop was taken more often than it may"},
        {'b', "\"loops\":[1]", "\"loops\":[1,1]", "b: loops is not as it was written"},
        {'b', "\"loops\":[1]", "\"loops\":[true]", "b: loops is not as it was written"},
        {'b', "\"from\":\"b\"", "\"from\":\"z\"", "b: from is not as it was written"},
        {'b', "\"attempt\":1", "\"attempt\":2",
            "the run's records do not agree: a node has more attempts than it may"},
        {'b', "\"attempt\":1", "\"attempt\":1,\"human\":true",
            "the run's records do not agree: a human is asked by a node that does not wait"},
        {'b', "\"attempt\":1", "\"attempt\":1,\"human\":1", "b: human is not as it was written"},
        {'b', "\"state\":\"queued\"", "\"state\":\"skipped\"",
            "the run's records do not agree: a node that is to begin did not"},
        {'a', "\"state\":\"completed\"", "\"state\":\"queued\"",
            "the run's records do not agree: a node in flight is finished"},
        {'a', ",\"edges\":\"t\"", "",
            "the run's records do not agree: an edge of a node that is over is open"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct papers p;
        struct run *run = NULL;
        char why[200] = "";

        write_papers(&p);
        forge(rows[i].paper == 'h'   ? &p.header
              : rows[i].paper == 'a' ? &p.a
                                     : &p.b,
            rows[i].was, rows[i].is);
        int err = restore(&p, &run, why, sizeof(why));
        if (rows[i].why) {
            assert_string_equal(why, rows[i].why);
            assert_int_equal(err, -EBADMSG);
            assert_null(run);
        } else {
            assert_int_equal(err, 0);
            run_free(run);
        }
        free_papers(&p);
    }
}

static void a_record_of_nobody_or_twice_is_refused(void **state)
{
    struct papers p;
    struct run *run = NULL;
    char why[200];

    (void)state;
    write_papers(&p);
    for (int i = 0; i < 2; i++) {
        struct flow_record records[] = {{.node = span_str("b"), .body = span_of(p.b.data, p.b.len)},
            {.node = span_str(i ? "b" : "c"), .body = span_of(p.b.data, p.b.len)}};
        struct flow_load load = {.run_id = span_str("r"),
            .header = span_of(p.header.data, p.header.len),
            .nodes = records,
            .node_count = 2};
        assert_int_equal(run_restore(p.rig.workflow, &load, &run, why, sizeof(why)), -EBADMSG);
        assert_string_equal(why, "a node's record: the node's name is not as it was written");
    }
    free_papers(&p);
}

static void restoring_survives_a_lack_of_memory_anywhere(void **state)
{
    struct papers p;
    char why[200];

    (void)state;
    write_papers(&p);
    for (int64_t n = 0;; n++) {
        struct run *run = NULL;
        mem_fail_after(n);
        int err = restore(&p, &run, why, sizeof(why));
        mem_fail_after(-1);
        if (err == 0) {
            assert_true(n > 8);
            run_free(run);
            break;
        }
        assert_int_equal(err, -ENOMEM);
        assert_null(run);
    }
    free_papers(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read_back),
        cmocka_unit_test(the_header_is_enough_for_a_list),
        cmocka_unit_test(a_run_that_failed_says_of_what_in_its_header),
        cmocka_unit_test(what_nobody_wrote_is_refused_with_its_place),
        cmocka_unit_test(a_record_of_nobody_or_twice_is_refused),
        cmocka_unit_test(restoring_survives_a_lack_of_memory_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
