#include "tests/unit/store/flow_db_rig.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

int rig_try_open(struct rig *rig, const struct flow_events_in *in)
{
    rig->options.in = *in;
    rig->options.dir = rig->on_disk ? rig->dir : NULL;
    return flow_db_open(&rig->options, &rig->db, rig->why);
}

static void remove_dir(struct rig *rig)
{
    char path[512];
    struct dirent *entry;

    DIR *dir = rig->dir[0] ? opendir(rig->dir) : NULL;
    while (dir && (entry = readdir(dir))) {
        snprintf(path, sizeof(path), "%s/%s", rig->dir, entry->d_name);
        unlink(path);
    }
    if (dir) {
        closedir(dir);
        rmdir(rig->dir);
    }
    rig->dir[0] = '\0';
}

static void port_open(void *ctx, const struct flow_events_in *in, struct flow_store *ret_store)
{
    struct rig *rig = ctx;

    if (rig->on_disk && !rig->dir[0]) {
        snprintf(rig->dir, sizeof(rig->dir), "/tmp/fanout_flow_db.XXXXXX");
        assert_non_null(mkdtemp(rig->dir));
    }
    if (rig_try_open(rig, in) < 0) {
        fail_msg("%s", rig->why);
    }
    *ret_store = flow_db_store(rig->db);
}

static void port_close(void *ctx)
{
    struct rig *rig = ctx;

    flow_db_destroy(rig->db);
    rig->db = NULL;
    remove_dir(rig);
}

static void port_pump(void *ctx)
{
    struct rig *rig = ctx;

    while (flow_db_turn(rig->db, rig->now_ms)) {
    }
}

static uint64_t port_now_ms(void *ctx)
{
    return ((struct rig *)ctx)->now_ms;
}

static void port_pass(void *ctx, uint64_t ms)
{
    ((struct rig *)ctx)->now_ms += ms;
}

static uint64_t port_dead_count(void *ctx)
{
    struct flow_db_stats stats;

    flow_db_stats(((struct rig *)ctx)->db, &stats);
    return stats.dead;
}

void rig_init(struct rig *rig, bool on_disk)
{
    *rig = (struct rig){.on_disk = on_disk, .now_ms = 1700000000000ull};
    rig->options = flow_db_options_default();
    rig->options.retention_ms = FLOW_SUITE_RETENTION_MS;
    rig->options.tasks_max = FLOW_SUITE_TASKS_MAX;
    rig->port = (struct flow_suite_port){
        .ctx = rig,
        .open = port_open,
        .close = port_close,
        .pump = port_pump,
        .now_ms = port_now_ms,
        .pass = port_pass,
        .dead_count = port_dead_count,
    };
}

void rig_fini(struct rig *rig)
{
    if (rig->db) {
        port_close(rig);
    }
    remove_dir(rig);
    free(rig->publisher.text);
}

void rig_reopen(struct rig *rig, struct suite *suite)
{
    flow_db_destroy(rig->db);
    rig->db = NULL;
    suite->task_count = suite->timer_count = 0;
    suite->up = false;
    if (rig_try_open(rig, &suite->in) < 0) {
        fail_msg("%s", rig->why);
    }
    suite->store = flow_db_store(rig->db);
    suite_until(suite, &suite->up);
}

/* ---- the publisher ---- */

static void take(struct rig_publisher *publisher, struct flow_publication *publication)
{
    uint32_t count = publication->count;

    if (publisher->err) {
        count = 0;
    } else if (publisher->take_max && count > publisher->take_max) {
        count = publisher->take_max;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct span body = publication->bodies[i], run = publication->run_id;
        size_t room = run.len + body.len + 32;
        if (publisher->cap - publisher->len < room) {
            publisher->cap = publisher->cap * 2 + room;
            publisher->text = realloc(publisher->text, publisher->cap);
            assert_non_null(publisher->text);
        }
        publisher->len += (size_t)snprintf(publisher->text + publisher->len, room,
            "%.*s %llu %.*s\n", (int)run.len, (const char *)run.data,
            (unsigned long long)(publication->seq + i), (int)body.len, (const char *)body.data);
    }
    publisher->taken += count;
    publication->ret_count = count;
    publication->err = publisher->err;
    publication->done(publication);
}

static void publish(void *ctx, struct flow_publication *publication)
{
    struct rig_publisher *publisher = ctx;

    publisher->calls += 1;
    if (!publisher->hold) {
        take(publisher, publication);
        return;
    }
    uint32_t same = 1;
    for (uint32_t i = 0; i < publisher->held_count; i++) {
        same += span_equal(publisher->held[i]->run_id, publication->run_id);
    }
    publisher->at_once_max = same > publisher->at_once_max ? same : publisher->at_once_max;
    assert_true(publisher->held_count < COUNT_OF(publisher->held));
    publisher->held[publisher->held_count++] = publication;
}

void rig_publish(struct rig *rig)
{
    rig->publisher.port = (struct flow_publisher){&rig->publisher, publish};
    rig->options.publisher = &rig->publisher.port;
}

void rig_publisher_answer(struct rig *rig)
{
    while (rig->publisher.held_count) {
        take(&rig->publisher, rig->publisher.held[--rig->publisher.held_count]);
    }
}
