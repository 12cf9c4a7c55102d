/* Lists of runs, their end, and the shelf. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/flow_suite_rig.h"

/* ---- lists ---- */

struct listed {
    char ids[512]; /* Of the runs, a blank behind each. */
    char last[FLOW_RUN_ID_MAX + 1];
    bool done, more;
    int err;
};

static void list_done(struct flow_list *list)
{
    struct listed *listed = list->owner;
    static const char mark[] = "\"run_id\":\"";

    listed->done = true;
    listed->err = list->err;
    listed->more = list->more;
    memcpy(listed->last, list->last, sizeof(listed->last));
    for (uint32_t i = 0; list->err == 0 && i < list->count; i++) {
        char header[SUITE_TEXT_MAX] = {0};
        assert_true(list->headers[i].len < sizeof(header));
        memcpy(header, list->headers[i].data, list->headers[i].len);
        const char *id = strstr(header, mark);
        assert_non_null(id);
        id += strlen(mark);
        size_t len = strlen(listed->ids);
        snprintf(listed->ids + len, sizeof(listed->ids) - len, "%.*s ", (int)strcspn(id, "\""), id);
    }
}

static struct listed list(struct suite *suite, const char *status, const char *tag,
    const char *user, const char *after, uint32_t limit)
{
    struct listed listed = {0};
    struct flow_list list = {.done = list_done,
        .owner = &listed,
        .status = span_str(status),
        .tag = span_str(tag),
        .user = span_str(user),
        .after = span_str(after),
        .limit = limit};

    suite->store.list(suite->store.ctx, &list);
    suite_until(suite, &listed.done);
    assert_int_equal(listed.err, 0);
    return listed;
}

/* All pages of limit runs, one behind the other. */
static struct listed list_all(
    struct suite *suite, const char *status, const char *tag, const char *user, uint32_t limit)
{
    struct listed all = {0};
    struct listed page = list(suite, status, tag, user, "", limit);

    for (uint32_t pages = 0;; pages++) {
        assert_true(pages < 50);
        size_t len = strlen(all.ids);
        snprintf(all.ids + len, sizeof(all.ids) - len, "%s", page.ids);
        if (!page.more) {
            return all;
        }
        assert_true(page.last[0] != '\0');
        char after[sizeof(page.last)];
        memcpy(after, page.last, sizeof(after));
        page = list(suite, status, tag, user, after, limit);
    }
}

static void close_run(struct suite *suite, const char *run_id, uint64_t version, const char *user,
    const char *tag, const char *status)
{
    char header[SUITE_TEXT_MAX];

    suite_header(header, run_id, user, tag, status, suite_now(suite));
    assert_int_equal(suite_commit(suite, run_id, version,
                         OPS(op_header(header, 0), op_close(status, suite_now(suite))), NULL),
        0);
}

static void lists_are_newest_first_and_by_status_tag_and_user(void **state)
{
    struct suite *suite = *state;
    uint64_t t = suite_now(suite), v[6];

    assert_string_equal(list(suite, "", "", "", "", 10).ids, "");
    assert_false(list(suite, "", "", "", "", 10).more);
    v[0] = suite_run(suite, "r0", "alice", "flights", t);
    v[1] = suite_run(suite, "r1", "bob", "flights", t + 1);
    v[2] = suite_run(suite, "r2", "alice", "hotels", t + 2);
    v[3] = suite_run(suite, "r3", "alice", "flights", t + 3);
    v[4] = suite_run(suite, "r4", "bob", "hotels", t + 4);
    v[5] = suite_run(suite, "r5", "alice", "flights", t + 5);
    close_run(suite, "r3", v[3], "alice", "flights", "completed");
    close_run(suite, "r4", v[4], "bob", "hotels", "failed");
    assert_true(v[0] && v[1] && v[2] && v[5]);
    for (uint32_t limit = 1; limit <= 7; limit += 2) {
        assert_string_equal(list_all(suite, "", "", "", limit).ids, "r5 r4 r3 r2 r1 r0 ");
        assert_string_equal(list_all(suite, "running", "", "", limit).ids, "r5 r2 r1 r0 ");
        assert_string_equal(list_all(suite, "completed", "", "", limit).ids, "r3 ");
        assert_string_equal(list_all(suite, "cancelled", "", "", limit).ids, "");
        assert_string_equal(list_all(suite, "", "flights", "", limit).ids, "r5 r3 r1 r0 ");
        assert_string_equal(list_all(suite, "", "", "bob", limit).ids, "r4 r1 ");
        assert_string_equal(list_all(suite, "running", "flights", "alice", limit).ids, "r5 r0 ");
        assert_string_equal(list_all(suite, "failed", "", "bob", limit).ids, "r4 ");
        assert_string_equal(list_all(suite, "", "hotels", "carol", limit).ids, "");
    }
    assert_string_equal(list(suite, "", "", "", "r3", 2).ids, "r2 r1 ");
}

static void a_list_of_runs_begun_at_one_time_misses_none(void **state)
{
    struct suite *suite = *state;
    uint64_t t = suite_now(suite);
    char id[8];

    for (unsigned i = 0; i < 9; i++) {
        snprintf(id, sizeof(id), "r%u", i);
        suite_run(suite, id, "alice", "flights", t);
    }
    struct listed all = list_all(suite, "", "", "", 2);
    for (unsigned i = 0; i < 9; i++) {
        snprintf(id, sizeof(id), "r%u ", i);
        assert_non_null(strstr(all.ids, id));
    }
    assert_int_equal(strlen(all.ids), 9 * 3);
}

static void a_run_that_is_over_is_kept_for_the_retention_time(void **state)
{
    struct suite *suite = *state;
    struct suite_events events;
    bool gone = false;

    uint64_t v = suite_r1(suite);
    uint64_t v2 = suite_run(suite, "r2", "alice", "flights", suite_now(suite));
    assert_true(v2 > 0);
    assert_int_equal(
        suite_commit(suite, "r1", v, OPS(op_event(EVENT(1)), op_node("a", "{}")), &v), 0);
    close_run(suite, "r1", v, "alice", "flights", "completed");
    suite_events(suite, "r1", 0, 0, &events);
    assert_int_equal(events.err, 0);
    assert_int_equal(events.total, 1);
    assert_string_equal(list_all(suite, "completed", "", "", 5).ids, "r1 ");
    suite->port->pass(suite->port->ctx, FLOW_SUITE_RETENTION_MS + 1500);
    for (uint32_t i = 0; !gone; i++) {
        assert_true(i < 1000);
        suite->port->pump(suite->port->ctx);
        struct suite_loaded *run = suite_load(suite, "r1");
        gone = run->err == -ENOENT;
        free(run);
    }
    suite_events(suite, "r1", 0, 0, &events);
    assert_int_equal(events.err, -ENOENT);
    assert_string_equal(list_all(suite, "", "", "", 5).ids, "r2 ");
    assert_string_equal(list_all(suite, "completed", "", "", 5).ids, "");
    struct suite_loaded *other = suite_load(suite, "r2");
    assert_int_equal(other->err, 0);
    free(other);
}

/* ---- the shelf ---- */

struct shelved {
    char text[512]; /* tag=body@time, a blank behind each. */
    int err;
    bool done, created;
};

static void shelf_done(struct flow_shelf *shelf)
{
    struct shelved *to = shelf->owner;

    to->done = true;
    to->err = shelf->err;
    to->created = shelf->created;
    for (uint32_t i = 0; shelf->err == 0 && i < shelf->count; i++) {
        const struct flow_shelf_item *item = &shelf->items[i];
        size_t len = strlen(to->text);
        snprintf(to->text + len, sizeof(to->text) - len, "%.*s=%.*s@%llu ", (int)item->tag.len,
            (const char *)item->tag.data, (int)item->body.len, (const char *)item->body.data,
            (unsigned long long)item->updated_ms);
    }
}

static struct shelved shelf(struct suite *suite, enum flow_shelf_act act, const char *tag,
    const char *body, uint64_t now_ms)
{
    struct shelved to = {0};
    struct flow_shelf shelf = {.done = shelf_done,
        .owner = &to,
        .act = act,
        .tag = span_str(tag),
        .body = span_str(body),
        .now_ms = now_ms};

    suite->store.shelf(suite->store.ctx, &shelf);
    suite_until(suite, &to.done);
    return to;
}

static void the_shelf_keeps_definitions_by_tag(void **state)
{
    struct suite *suite = *state;

    struct shelved got = shelf(suite, FLOW_SHELF_LIST, "", "", 0);
    assert_int_equal(got.err, 0);
    assert_string_equal(got.text, "");
    assert_int_equal(shelf(suite, FLOW_SHELF_GET, "a", "", 0).err, -ENOENT);
    assert_int_equal(shelf(suite, FLOW_SHELF_DELETE, "a", "", 0).err, -ENOENT);
    got = shelf(suite, FLOW_SHELF_PUT, "b", "{\"n\":1}", 100);
    assert_int_equal(got.err, 0);
    assert_true(got.created);
    assert_true(shelf(suite, FLOW_SHELF_PUT, "a", "{\"n\":2}", 200).created);
    assert_true(shelf(suite, FLOW_SHELF_PUT, "c", "{\"n\":3}", 300).created);
    got = shelf(suite, FLOW_SHELF_PUT, "b", "{\"n\":4}", 400);
    assert_int_equal(got.err, 0);
    assert_false(got.created);
    assert_string_equal(shelf(suite, FLOW_SHELF_GET, "b", "", 0).text, "b={\"n\":4}@400 ");
    assert_int_equal(shelf(suite, FLOW_SHELF_DELETE, "c", "", 0).err, 0);
    assert_string_equal(
        shelf(suite, FLOW_SHELF_LIST, "", "", 0).text, "a={\"n\":2}@200 b={\"n\":4}@400 ");
    assert_true(shelf(suite, FLOW_SHELF_PUT, "c", "{\"n\":5}", 500).created);
}

const struct suite_case suite_list_cases[] = {
    SUITE_CASE(lists_are_newest_first_and_by_status_tag_and_user),
    SUITE_CASE(a_list_of_runs_begun_at_one_time_misses_none),
    SUITE_CASE(the_shelf_keeps_definitions_by_tag),
    SUITE_CASE(a_run_that_is_over_is_kept_for_the_retention_time),
    {NULL, NULL},
};
