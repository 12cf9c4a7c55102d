/* A run's records out of a store: any bytes are judged, and a run that is taken keeps its rules
 * whatever happens to it next.
 *
 * The first line is the header; each other line is a node's id, a space and its record.
 */
#include <errno.h>

#include "flow/changes.h"
#include "flow/run.h"
#include "flow/run_own.h"
#include "fuzz/fuzz.h"

enum { NODES = 6, LINES_MAX = 16 };

static const char definition[] =
    "{\"nodes\":["
    "{\"id\":\"a\",\"type\":\"function\",\"retry\":{\"max_attempts\":3,\"backoff_ms\":100}},"
    "{\"id\":\"b\",\"type\":\"delay\",\"config\":{\"ms\":5}},"
    "{\"id\":\"c\",\"type\":\"hitl\",\"config\":{\"message\":\"?\"}},"
    "{\"id\":\"d\",\"type\":\"function\",\"timeout_ms\":900},"
    "{\"id\":\"e\",\"type\":\"function\"},{\"id\":\"f\",\"type\":\"function\"}],"
    "\"edges\":[{\"from\":\"a\",\"to\":\"b\"},{\"from\":\"a\",\"to\":\"c\",\"when\":\"/x < 5\"},"
    "{\"from\":\"b\",\"to\":\"d\"},{\"from\":\"c\",\"to\":\"d\"},"
    "{\"from\":\"d\",\"to\":\"a\",\"max_iterations\":3,\"when\":\"/x < 7\"},"
    "{\"from\":\"d\",\"to\":\"e\",\"when\":\"failed\"},"
    "{\"from\":\"d\",\"to\":\"f\",\"when\":\"always\"}]}";

static struct span next_line(struct span *text)
{
    const uint8_t *end = text->len ? memchr(text->data, '\n', text->len) : NULL;
    size_t len = end ? (size_t)(end - text->data) : text->len;
    struct span line = span_of(text->data, len);

    len += end != NULL;
    *text = span_of(text->data + len, text->len - len);
    return line;
}

static struct run *restore(struct workflow *workflow, struct span header,
    const struct flow_record *records, uint32_t count)
{
    struct flow_load load = {.run_id = span_str("r"),
        .version = 3,
        .header = header,
        .nodes = records,
        .node_count = count};
    struct run *run = NULL;
    char why[200] = "";
    int err = run_restore(workflow, &load, &run, why, sizeof(why));

    CHECK(err == 0 ? run && !run_check(run) : err == -EBADMSG && !run && why[0]);
    return run;
}

/* What it is written as is read as the same. */
static void check_written(struct run *run)
{
    struct bytes header = {0}, again = {0}, bodies[NODES] = {{0}};
    struct flow_record records[NODES];

    CHECK(record_header(run, &header) == 0);
    for (uint32_t i = 0; i < NODES; i++) {
        CHECK(record_node(run, i, &bodies[i]) == 0);
        records[i] = (struct flow_record){.node = span_str(run->workflow->nodes[i].id),
            .body = span_of(bodies[i].data, bodies[i].len)};
    }
    struct run *copy = restore(run->workflow, span_of(header.data, header.len), records, NODES);
    CHECK(copy);
    CHECK(record_header(copy, &again) == 0);
    fuzz_check_same(&header, &again);
    for (uint32_t i = 0; i < NODES; i++) {
        again.len = 0;
        CHECK(record_node(copy, i, &again) == 0);
        fuzz_check_same(&bodies[i], &again);
        bytes_fini(&bodies[i]);
    }
    run_free(copy);
    bytes_fini(&header);
    bytes_fini(&again);
}

static void one_step(struct run *run, uint32_t node, struct rng *rng, struct changes *changes)
{
    struct bytes token = {0};
    json_t *value = json_pack("{s:i}", "x", (int)rng_below(rng, 10));
    struct run_result result = {.value = value,
        .ref = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"};
    enum run_due due;
    uint64_t now_ms = 1800000000000;

    CHECK(value && run_token_id(run, node, &token) == 0);
    struct span id = span_of(token.data, token.len);
    switch (rng_below(rng, 5)) {
    case 0:
        (void)!run_fail(run, id, "no", rng_below(rng, 2) != 0, now_ms, changes);
        break;
    case 1:
        (void)!run_timer(run, node, now_ms, &due, changes);
        break;
    case 2:
        (void)!run_wait(
            run, id, rng_below(rng, 2) != 0, span_str("?"), now_ms + 5, now_ms, changes);
        break;
    case 3:
        (void)!run_progress(
            run, id, (double)rng_below(rng, 110), span_str("on it"), now_ms, changes);
        break;
    default:
        (void)!run_complete(run, id, &result, now_ms, changes);
        break;
    }
    json_decref(value);
    bytes_fini(&token);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct workflow *workflow;
    struct workflow_faults faults = {0};
    uint8_t *copy = fuzz_copy(data, size);
    struct span rest = span_of(copy, size), header = next_line(&rest);
    struct flow_record records[LINES_MAX];
    struct changes changes = {0};
    uint32_t count = 0;
    struct rng rng;

    if (!workflow) {
        CHECK(workflow_compile(span_str(definition), NULL, NULL, &workflow, &faults) == 0);
    }
    while (rest.len && count < LINES_MAX) {
        struct span line = next_line(&rest);
        const uint8_t *space = line.len ? memchr(line.data, ' ', line.len) : NULL;
        size_t len = space ? (size_t)(space - line.data) : line.len;
        records[count++] = (struct flow_record){.node = span_of(line.data, len),
            .body = space ? span_of(space + 1, line.len - len - 1) : span_of(NULL, 0)};
    }
    struct run *run = restore(workflow, header, records, count);
    rng_init(&rng, size);
    for (int i = 0; run && i < 40; i++) {
        check_written(run);
        changes_reset(&changes);
        one_step(run, (uint32_t)rng_below(&rng, NODES), &rng, &changes);
        CHECK(!run_check(run));
    }
    run_free(run);
    changes_fini(&changes);
    mem_free(copy);
    return 0;
}
