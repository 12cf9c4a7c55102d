/* Waiting for work: each reader asks on its own connection, one question at a time, for as much as
 * may be under way.
 *
 * A question never waits longer in Redis than the life sign before it is good for: whoever finds us
 * dead finds nothing on its way to us. After a connection is made, and after entries of a dead one
 * were claimed for us, a reader first goes through what is ours in Redis already and hands out what
 * is not under way here. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "link/redis_flow_own.h"
#include "link/redis_flow_reply.h"
#include "rt/loop.h"

enum { BATCH_MAX = 64, TAKE_MAX = 256, PAUSE_MS = 500 };

static void pause_reader(struct reader *reader)
{
    reader->pause_until_ms = loop_now_ms(reader->flow->loop) + PAUSE_MS;
}

/* ---- asking ---- */

static uint32_t may_take(const struct reader *reader, uint32_t batch_max)
{
    const struct redis_flow *flow = reader->flow;
    uint32_t most = flow->options.signals_max;

    if (reader->kind == ITEM_TASK) {
        uint32_t free_count = flow->options.tasks_max - flow->tasks_out;
        most = flow->options.type_tasks_max;
        batch_max = flow->ready_first ? 0 : free_count < batch_max ? free_count : batch_max;
    }
    uint32_t left = most > reader->under_way ? most - reader->under_way : 0;
    return left < batch_max ? left : batch_max;
}

static int put(struct reader *reader, const struct command *command)
{
    struct bytes *out = &reader->conn.out;
    size_t before = out->len;

    int r = command->err ? command->err : resp_command_begin(out, command->count);
    r = r ? r : bytes_append(out, command->text.data, command->text.len);
    if (r) {
        out->len = before;
    }
    return r;
}

/* Waits for one signal, and takes what is there beside it. */
static int ask_signals(struct reader *reader, uint32_t count)
{
    struct redis_flow *flow = reader->flow;
    struct command wait = {0};
    char block[16];

    snprintf(block, sizeof(block), "%d.%03d", BLOCK_MS / 1000, BLOCK_MS % 1000);
    command_str(&wait, "BLMOVE");
    command_str(&wait, "completion_signals");
    command_str(&wait, flow->list);
    command_str(&wait, "LEFT");
    command_str(&wait, "RIGHT");
    command_str(&wait, block);
    int r = put(reader, &wait);
    bytes_fini(&wait.text);
    if (r == 0) {
        reader->expected = 1;
    }
    if (r == 0 && count > 1) {
        struct command *take = redis_flow_call(flow, REDIS_FLOW_TAKE);
        command_str(take, flow->list);
        command_number(take, count - 1);
        r = put(reader, take);
        reader->expected += r == 0;
    }
    return r;
}

static int ask_entries(struct reader *reader, uint32_t count)
{
    struct redis_flow *flow = reader->flow;
    struct command command = {0};
    char from[48];

    snprintf(from, sizeof(from), "%" PRIu64 "-%" PRIu64, reader->ms, reader->seq);
    command_str(&command, "XREADGROUP");
    command_str(&command, "GROUP");
    command_str(&command, reader->group);
    command_str(&command, flow->name);
    command_str(&command, "COUNT");
    command_number(&command, count);
    if (!reader->looking) {
        command_str(&command, "BLOCK");
        command_number(&command, BLOCK_MS);
    }
    command_str(&command, "STREAMS");
    command_str(&command, reader->stream);
    command_str(&command, reader->looking ? from : ">");
    int r = put(reader, &command);
    bytes_fini(&command.text);
    if (r == 0) {
        reader->expected = 1;
        reader->asked_looking = reader->looking;
    }
    return r;
}

void redis_flow_reader_pump(struct reader *reader)
{
    struct redis_flow *flow = reader->flow;
    bool task = reader->kind != ITEM_SIGNAL;
    uint32_t count = may_take(reader, task ? reader->count_max : (uint32_t)TAKE_MAX);
    uint64_t now_ms = loop_now_ms(flow->loop);

    if (flow->phase != PHASE_UP || flow->draining || reader->expected || count == 0 ||
        now_ms < reader->pause_until_ms || !redis_flow_alive(flow)) {
        return;
    }
    int r = task ? ask_entries(reader, count) : ask_signals(reader, count);
    if (r != 0) {
        pause_reader(reader);
    }
    if (reader->expected) {
        reader->asked_ms = now_ms;
        redis_conn_flush(&reader->conn);
    }
}

void redis_flow_readers_pump(struct redis_flow *flow)
{
    for (size_t i = 0; i < flow->reader_count && flow->phase == PHASE_UP; i++) {
        redis_flow_reader_pump(&flow->readers[i]);
    }
}

/* ---- answers ---- */

static void signal_came(struct reader *reader, struct span body)
{
    /* Without memory, or when nothing is begun any more, it stays on our list, for whoever takes
     * that over: we, after the next connection, or another. */
    if (!reader->flow->draining && !redis_flow_hand_out(reader, NULL, body, false)) {
        redis_flow_fail(reader->flow, "no memory for a signal");
    }
}

static bool signals_came(struct reader *reader, struct span reply)
{
    uint64_t id = reader->conn.id;
    struct resp_item item;

    if (!resp_next(&reply, &item)) {
        return false;
    }
    if (item.type == '$') {
        if (!item.nil) {
            signal_came(reader, item.text);
        }
        return true;
    }
    if (item.type != '*') {
        return false;
    }
    for (size_t left = item.count; left > 0; left--) { /* Nil has none. */
        if (!resp_next(&reply, &item) || item.type != '$') {
            return false;
        }
        signal_came(reader, item.text);
        if (reader->conn.id != id) {
            return true; /* Closed meanwhile. */
        }
    }
    return true;
}

static void entry_came(struct reader *reader, const struct redis_entry *entry)
{
    if (reader->asked_looking) {
        reader->ms = entry->ms;
        reader->seq = entry->seq;
    }
    if (reader->flow->draining || (reader->asked_looking && redis_flow_has(reader, entry))) {
        return;
    }
    if (entry->gone) {
        redis_flow_ack(reader, entry->ms, entry->seq);
    } else if (!entry->found) {
        redis_flow_bury(reader, entry,
            reader->kind == ITEM_TASK ? "the entry has no field token"
                                      : "the entry has no field request");
    } else if (!redis_flow_hand_out(reader, entry, entry->value, reader->asked_looking)) {
        redis_flow_fail(reader->flow, "no memory for a piece of work"); /* It is looked for then. */
    }
}

static bool entries_came(struct reader *reader, struct span reply)
{
    uint64_t id = reader->conn.id;
    struct redis_entries entries;
    struct redis_entry entry;
    uint32_t count = 0;
    int r;

    if (redis_entries_begin(reply, &entries) != 0) {
        return false;
    }
    while ((r = redis_entries_next(&entries, reader->field, &entry)) == 1) {
        entry_came(reader, &entry);
        count += 1;
        if (reader->conn.id != id) {
            return true;
        }
    }
    if (r == 0 && reader->asked_looking && count == 0) {
        reader->looking = false; /* That was all. */
    }
    return r == 0;
}

static bool refused(struct reader *reader, struct span reply)
{
    struct redis_flow *flow = reader->flow;
    char why[REDIS_SENTENCE_MAX];
    int err = redis_flow_error(reply);

    redis_error_sentence(reply, why, sizeof(why));
    pause_reader(reader);
    switch (err) {
    case -EAGAIN:
        redis_flow_reload(flow);
        return true;
    case -ESRCH: /* The stream was deleted, or all of Redis was. */
        flow->groups_due = true;
        return true;
    case -ENOSPC: /* Signals cannot be moved while it is full. */
        redis_flow_full(flow, why);
        return true;
    default:
        redis_flow_fail(flow, why);
        return false;
    }
}

bool redis_flow_reader_passed(struct reader *reader)
{
    struct redis_flow *flow = reader->flow;

    if (reader->passed_seen == reader->inbox.passed_count) {
        return true;
    }
    /* A batch larger than the inbox is ours in Redis now: it is gone through again, one by one. One
     * that alone is so large waits there. */
    reader->passed_seen = reader->inbox.passed_count;
    if (reader->expected == 0) {
        redis_flow_fail(flow, "Redis answers what nobody asked");
        return false;
    }
    reader->expected -= 1;
    pause_reader(reader);
    if (reader->kind != ITEM_SIGNAL) {
        if (reader->count_max == 1 && reader->asked_looking) {
            LOG(LOG_WARN, "flow.too_large", LOG_S("stream", reader->stream),
                LOG_U("bytes_max", reader->inbox.bytes_max));
            reader->looking = false;
        } else if (!reader->looking) {
            redis_flow_look_again(flow, span_str(reader->stream));
        }
        reader->count_max = 1;
    }
    return true;
}

bool redis_flow_reader_answered(struct reader *reader, struct span reply)
{
    struct redis_flow *flow = reader->flow;
    uint64_t id = reader->conn.id;

    if (!redis_flow_reader_passed(reader)) {
        return false;
    }
    if (reader->expected == 0) {
        redis_flow_fail(flow, "Redis answers what nobody asked");
        return false;
    }
    reader->expected -= 1;
    if (reply.data[0] == '-') {
        if (!refused(reader, reply)) {
            return false;
        }
    } else if (!(reader->kind == ITEM_SIGNAL ? signals_came(reader, reply)
                                             : entries_came(reader, reply))) {
        redis_flow_fail(flow, "Redis answers in a way it never does");
        return false;
    }
    if (reader->conn.id != id) {
        return false;
    }
    redis_inbox_pop(&reader->inbox, reply);
    return true;
}

void redis_flow_reader_reset(struct reader *reader)
{
    reader->expected = 0;
    reader->pause_until_ms = 0;
    reader->looking = reader->kind != ITEM_SIGNAL;
    reader->ms = reader->seq = 0;
    reader->count_max = BATCH_MAX;
}

void redis_flow_look_again(struct redis_flow *flow, struct span stream)
{
    for (size_t i = 0; i < flow->reader_count; i++) {
        struct reader *reader = &flow->readers[i];
        if (reader->kind != ITEM_SIGNAL && span_equal(stream, span_str(reader->stream))) {
            reader->looking = true;
            reader->ms = reader->seq = 0;
        }
    }
}
