/* The samples in the program are workflows. */
#include "role/samples.h"

#include "flow/nodes.h"
#include "flow/workflow.h"
#include "tests/support/unit.h"

static void each_sample_compiles(void **state)
{
    size_t count = 0;

    (void)state;
    for (const struct sample *sample = samples; sample->name; sample++) {
        struct workflow_faults faults = {0};
        struct workflow *workflow = NULL;
        int err = workflow_compile(
            span_of(sample->data, sample->len), nodes_check, NULL, &workflow, &faults);
        if (!err) {
            nodes_check_references(workflow, &faults);
        }
        if (err || faults.count) {
            fail_msg("%s: %s", sample->name, faults.count ? faults.lines[0] : "no fault");
        }
        assert_true(json_is_object(json_object_get(workflow->definition, "example_inputs")));
        assert_true(json_is_string(json_object_get(workflow->definition, "description")));
        workflow_unref(workflow);
        workflow_faults_fini(&faults);
        count += 1;
    }
    assert_int_equal(count, 4);
}

/* They need nothing but this program: no network, no worker outside. */
static void each_sample_runs_by_itself(void **state)
{
    (void)state;
    for (const struct sample *sample = samples; sample->name; sample++) {
        struct workflow_faults faults = {0};
        struct workflow *workflow = NULL;
        assert_int_equal(workflow_compile(span_of(sample->data, sample->len), nodes_check, NULL,
                             &workflow, &faults),
            0);
        for (uint32_t i = 0; i < workflow->node_count; i++) {
            enum node_work work = node_type_find(span_str(workflow->nodes[i].type))->work;
            assert_true(work != NODE_WORK_OUTSIDE && work != NODE_WORK_HTTP);
        }
        workflow_unref(workflow);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_sample_compiles),
        cmocka_unit_test(each_sample_runs_by_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
