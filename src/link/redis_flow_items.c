/* What was handed out, until it comes back: acknowledged, dropped, buried, or handed out again. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "link/redis_flow_own.h"
#include "link/redis_flow_reply.h"
#include "rt/clock.h"
#include "rt/loop.h"

enum { REASON_MAX = 1000, ACKS_MAX = 500 };

struct place {
    const struct reader *reader;
    uint64_t ms, seq;
};

static uint64_t place_hash(const struct redis_flow *flow, const struct place *place)
{
    uint64_t words[3] = {(uint64_t)(place->reader - flow->readers), place->ms, place->seq};

    return hash_bytes(&flow->key, words, sizeof(words));
}

static bool place_equal(const struct table_item *key, const void *wanted)
{
    const struct item *item = (const struct item *)key;
    const struct place *place = wanted;

    return item->reader == place->reader && item->ms == place->ms && item->seq == place->seq;
}

bool redis_flow_has(const struct reader *reader, const struct redis_entry *entry)
{
    struct place place = {reader, entry->ms, entry->seq};

    return table_find(
               &reader->flow->items, place_hash(reader->flow, &place), place_equal, &place) != NULL;
}

/* ---- giving ---- */

static struct item *new_item(
    struct reader *reader, const struct redis_entry *entry, struct span body)
{
    struct redis_flow *flow = reader->flow;
    struct item *item = mem_try_alloc(MEM_FLEX(struct item, body, body.len));

    if (!item) {
        return NULL;
    }
    *item = (struct item){.kind = reader->kind, .reader = reader, .len = body.len};
    if (body.len) {
        memcpy(item->body, body.data, body.len);
    }
    if (entry) {
        struct place place = {reader, entry->ms, entry->seq};
        item->ms = entry->ms;
        item->seq = entry->seq;
        item->key.hash = place_hash(flow, &place);
        if (table_add(&flow->items, &item->key) != 0) {
            mem_free(item);
            return NULL;
        }
    }
    item->next = flow->all;
    item->link = &flow->all;
    if (item->next) {
        item->next->link = &item->next;
    }
    flow->all = item;
    reader->under_way += 1;
    return item;
}

/* Gives it to flow. */
static void give(struct item *item)
{
    struct redis_flow *flow = item->reader->flow;

    if (item->kind == ITEM_TASK) {
        flow->in.on_task(flow->in.ctx, &item->task);
    } else {
        flow->in.on_signal(flow->in.ctx, &item->signal);
    }
}

bool redis_flow_hand_out(
    struct reader *reader, const struct redis_entry *entry, struct span body, bool again)
{
    struct redis_flow_stats *stats = &reader->flow->stats;
    struct item *item = new_item(reader, entry, body);

    if (!item) {
        return false;
    }
    body = span_of(item->body, item->len);
    if (item->kind == ITEM_TASK) {
        item->task = (struct flow_task){.type = reader->type, .body = body, .again = again};
        stats->tasks += 1;
        stats->tasks_again += again;
    } else {
        item->signal = (struct flow_signal){.body = body, .request = item->kind == ITEM_REQUEST};
        stats->signals += item->kind == ITEM_SIGNAL;
        stats->requests += item->kind == ITEM_REQUEST;
    }
    if (item->kind != ITEM_TASK) {
        give(item);
        return true;
    }
    /* Several readers may have asked for the last free place. */
    item->next_waiting = NULL;
    *reader->flow->ready_last = item;
    reader->flow->ready_last = &item->next_waiting;
    redis_flow_items_ready(reader->flow);
    return true;
}

void redis_flow_items_ready(struct redis_flow *flow)
{
    while (flow->ready_first && !flow->draining && flow->tasks_out < flow->options.tasks_max) {
        struct item *item = flow->ready_first;
        flow->ready_first = item->next_waiting;
        if (!flow->ready_first) {
            flow->ready_last = &flow->ready_first;
        }
        item->out = true;
        flow->tasks_out += 1;
        give(item);
    }
}

/* Its place is free; the item stays. */
static void leave_place(struct item *item)
{
    struct redis_flow *flow = item->reader->flow;

    if (!item->link) {
        return;
    }
    if (item->kind != ITEM_SIGNAL) {
        table_remove(&flow->items, &item->key);
    }
    *item->link = item->next;
    if (item->next) {
        item->next->link = item->link;
    }
    item->link = NULL;
    item->reader->under_way -= 1;
    flow->tasks_out -= item->out;
}

void redis_flow_item_free(struct redis_flow *flow, struct item *item)
{
    (void)flow;
    leave_place(item);
    mem_free((void *)item->why);
    mem_free(item);
}

/* ---- taking back ---- */

void redis_flow_ack(struct reader *reader, uint64_t ms, uint64_t seq)
{
    char id[48];

    int len = snprintf(id, sizeof(id), "%" PRIu64 "-%" PRIu64, ms, seq);
    if (resp_command_word(&reader->acks, span_of(id, (size_t)len)) == 0) {
        reader->ack_count += 1;
    }
}

static void tell_ids(struct reader *reader, const char *verb, const char *group)
{
    struct command command = {0};

    command_str(&command, verb);
    command_str(&command, reader->stream);
    if (group) {
        command_str(&command, group);
    }
    command.count += reader->ack_count;
    command.err = command.err ? command.err
                              : bytes_append(&command.text, reader->acks.data, reader->acks.len);
    redis_flow_tell(reader->flow, &command);
    bytes_fini(&command.text);
}

void redis_flow_acks_send(struct redis_flow *flow)
{
    for (size_t i = 0; i < flow->reader_count; i++) {
        struct reader *reader = &flow->readers[i];
        if (reader->ack_count > 0) {
            tell_ids(reader, "XACK", reader->group);
            tell_ids(reader, "XDEL", NULL);
            reader->acks.len = 0;
            reader->ack_count = 0;
        }
    }
}

static void acknowledge(struct item *item)
{
    struct redis_flow *flow = item->reader->flow;

    redis_flow_ack(item->reader, item->ms, item->seq);
    if (item->reader->ack_count >= ACKS_MAX && flow->phase == PHASE_UP) {
        redis_flow_acks_send(flow);
    }
}

/* Off our list. When it is not there any more, somebody else has it by now. */
static void remove_signal(struct item *item)
{
    struct redis_flow *flow = item->reader->flow;
    struct command command = {0};

    if (flow->phase == PHASE_UP) { /* Else it comes back, and is judged again. */
        command_str(&command, "LREM");
        command_str(&command, flow->list);
        command_str(&command, "1");
        command_word(&command, span_of(item->body, item->len));
        redis_flow_tell(flow, &command);
        bytes_fini(&command.text);
    }
}

int redis_flow_dead_write(struct redis_flow *flow, const struct item *item)
{
    static const char *const kinds[] = {"task", "signal", "request"};
    struct command *command = redis_flow_call(flow, REDIS_FLOW_DEAD);
    char id[48];

    command_str(command, kinds[item->kind]);
    command_str(command, item->why ? item->why : "");
    command_word(command, span_of(item->body, item->len));
    command_number(command, clock_wall_ns() / 1000000);
    if (item->kind == ITEM_SIGNAL) {
        command_str(command, flow->list);
    } else {
        snprintf(id, sizeof(id), "%" PRIu64 "-%" PRIu64, item->ms, item->seq);
        command_str(command, item->reader->stream);
        command_str(command, item->reader->group);
        command_str(command, id);
    }
    return command->err;
}

static void bury(struct item *item, const char *why)
{
    struct redis_flow *flow = item->reader->flow;
    uint64_t held;

    flow->stats.dead += 1;
    if (log_allow(&flow->dead_limit, loop_now_ms(flow->loop), 10000, &held)) {
        LOG(LOG_WARN, "flow.dead",
            LOG_S("from", item->reader->stream ? item->reader->stream : "completion_signals"),
            LOG_S("why", why), LOG_U("repeats", held));
    }
    item->why = mem_strndup(why, strnlen(why, REASON_MAX));
    if (flow->phase != PHASE_UP || redis_flow_ask(flow, ASK_DEAD, item, 0) != 0) {
        redis_flow_item_free(flow, item); /* It comes back, and is judged again. */
    }
}

void redis_flow_bury(struct reader *reader, const struct redis_entry *entry, const char *why)
{
    struct item *item = new_item(reader, entry, span_of(NULL, 0));

    if (item) {
        bury(item, why);
    }
}

static void later(struct item *item)
{
    struct redis_flow *flow = item->reader->flow;

    item->due_ms = loop_now_ms(flow->loop) + flow->options.later_ms;
    item->next_waiting = NULL;
    *flow->later_last = item;
    flow->later_last = &item->next_waiting;
}

/* They wait equally long, so the first is due first. */
void redis_flow_items_later(struct redis_flow *flow)
{
    uint64_t now_ms = loop_now_ms(flow->loop);

    while (flow->phase == PHASE_UP && !flow->draining && flow->later_first &&
           flow->later_first->due_ms <= now_ms) {
        struct item *item = flow->later_first;
        flow->later_first = item->next_waiting;
        if (!flow->later_first) {
            flow->later_last = &flow->later_first;
        }
        if (item->kind == ITEM_TASK) {
            item->task.again = true;
        }
        give(item);
    }
}

static void release(struct item *item, enum flow_release how, const char *why)
{
    struct redis_flow *flow = item->reader->flow;

    if (flow->shut) {
        redis_flow_item_free(flow, item);
        return;
    }
    switch (how) {
    case FLOW_DONE:
    case FLOW_DROP:
        if (item->kind != ITEM_SIGNAL) {
            acknowledge(item);
        } else if (how == FLOW_DROP) { /* Else its commit removed it. */
            remove_signal(item);
        }
        redis_flow_item_free(flow, item);
        return;
    case FLOW_DEAD:
        bury(item, why ? why : "");
        return;
    case FLOW_LATER:
        later(item);
        return;
    }
}

void redis_flow_release_task(
    void *ctx, struct flow_task *task, enum flow_release how, const char *why)
{
    (void)ctx;
    release((struct item *)((uint8_t *)task - offsetof(struct item, task)), how, why);
}

void redis_flow_release_signal(
    void *ctx, struct flow_signal *signal, enum flow_release how, const char *why)
{
    (void)ctx;
    release((struct item *)((uint8_t *)signal - offsetof(struct item, signal)), how, why);
}
