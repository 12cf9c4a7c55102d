/* What is read of runs, results, approvals and definitions. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "link/redis_flow_own.h"
#include "link/redis_flow_reply.h"

enum { LIST_LOOKED_MAX = 1000 };

/* What one answer may hold: the rest of the inbox is for what is around it. */
static size_t room(const struct redis_flow *flow)
{
    return flow->inbox_bytes - flow->inbox_bytes / 4;
}

/* ---- asking ---- */

static void write_get(struct redis_flow *flow, struct flow_get *get, const char *prefix)
{
    struct command *command = redis_flow_call(flow, REDIS_FLOW_GET);
    size_t most = room(flow);

    command_joined(command, prefix, get->key, span_of(NULL, 0));
    command_number(command, get->bytes_max && get->bytes_max < most ? get->bytes_max : most);
}

static void write_events(struct redis_flow *flow, const struct flow_events *events)
{
    struct command *command = redis_flow_call(flow, REDIS_FLOW_EVENTS);

    command_word(command, events->run_id);
    command_number(command, events->since);
    command_number(command, events->limit);
    command_number(command, room(flow));
}

static void write_list(struct redis_flow *flow, const struct flow_list *list)
{
    struct command *command = redis_flow_call(flow, REDIS_FLOW_LIST);

    command_word(command, list->status);
    command_word(command, list->tag);
    command_word(command, list->user);
    command_word(command, list->after);
    command_number(command, list->limit);
    command_number(command, LIST_LOOKED_MAX);
}

static int write_shelf(struct redis_flow *flow, const struct flow_shelf *shelf)
{
    static const char *const verbs[] = {
        [FLOW_SHELF_PUT] = "HSET",
        [FLOW_SHELF_GET] = "HGET",
        [FLOW_SHELF_DELETE] = "HDEL",
        [FLOW_SHELF_LIST] = "HGETALL",
    };
    struct command *command = &flow->command;

    command_str(command, verbs[shelf->act]);
    command_str(command, "wf.workflows");
    if (shelf->act != FLOW_SHELF_LIST) {
        command_word(command, shelf->tag);
    }
    if (shelf->act == FLOW_SHELF_PUT) {
        struct bytes *text = &flow->scratch;
        text->len = 0;
        int r = bytes_appendf(text, "{\"updated_ms\":%" PRIu64 ",\"definition\":", shelf->now_ms);
        r = r ? r : bytes_append(text, shelf->body.data, shelf->body.len);
        r = r ? r : bytes_append_byte(text, '}');
        command_word(command, span_of(text->data, text->len));
        return r ? r : command->err;
    }
    return command->err;
}

int redis_flow_read_write(struct redis_flow *flow, enum ask_kind kind, void *request)
{
    struct command *command = &flow->command;

    switch (kind) {
    case ASK_LOAD: {
        const struct flow_load *load = request;
        redis_flow_call(flow, REDIS_FLOW_LOAD);
        command_word(command, load->run_id);
        command_str(command, load->want_ir ? "1" : "0");
        return command->err;
    }
    case ASK_BLOB:
        write_get(flow, request, "cas:");
        return command->err;
    case ASK_APPROVAL:
        write_get(flow, request, "hitl:approval:");
        return command->err;
    case ASK_EVENTS:
        write_events(flow, request);
        return command->err;
    case ASK_LIST:
        write_list(flow, request);
        return command->err;
    case ASK_SHELF:
        return write_shelf(flow, request);
    default:
        return -EINVAL;
    }
}

/* ---- answers ---- */

/* What cannot be read is not what our scripts write. */
static int judged(int err)
{
    return err == -EBADMSG ? -EIO : err;
}

static void loaded(struct flow_load *load, int err, struct span reply)
{
    struct span *words = NULL;
    struct flow_record *nodes = NULL;
    size_t count = 0;

    err = err ? err : redis_flow_words(reply, &words, &count);
    if (err == 0 && (count < 3 || count % 2 == 0 || !redis_flow_number(words[0], &load->version))) {
        err = -EBADMSG;
    }
    if (err == 0) {
        nodes = mem_try_alloc((count / 2) * sizeof(*nodes));
        err = nodes ? 0 : -ENOMEM;
    }
    if (err == 0) {
        load->header = words[1];
        load->ir = words[2];
        load->node_count = (uint32_t)(count - 3) / 2;
        for (uint32_t i = 0; i < load->node_count; i++) {
            nodes[i] = (struct flow_record){words[3 + 2 * i], words[4 + 2 * i]};
        }
        load->nodes = nodes;
    }
    load->err = judged(err);
    load->done(load);
    mem_free(nodes);
    mem_free(words);
}

static void got(struct flow_get *get, int err, struct span reply)
{
    struct resp_item item;

    if (!err) {
        err = !resp_next(&reply, &item) ? -EBADMSG
              : item.type == ':'        ? -EMSGSIZE
              : item.type != '$'        ? -EBADMSG
              : item.nil                ? -ENOENT
                                        : 0;
    }
    get->body = err ? span_of(NULL, 0) : item.text;
    get->err = judged(err);
    get->done(get);
}

static void told(struct flow_events *events, int err, struct span reply)
{
    struct span *words = NULL;
    size_t count = 0;

    err = err ? err : redis_flow_words(reply, &words, &count);
    if (err == 0 && (count < 2 || !redis_flow_number(words[1], &events->total))) {
        err = -EBADMSG;
    }
    if (err == 0) {
        events->header = words[0];
        events->bodies = words + 2;
        events->count = (uint32_t)(count - 2);
    }
    events->err = judged(err);
    events->done(events);
    mem_free(words);
}

static void listed(struct flow_list *list, int err, struct span reply)
{
    struct span *words = NULL;
    size_t count = 0;

    err = err ? err : redis_flow_words(reply, &words, &count);
    if (err == 0 && (count < 2 || words[0].len != 1 || words[1].len > FLOW_RUN_ID_MAX)) {
        err = -EBADMSG;
    }
    list->last[0] = '\0';
    list->more = false;
    if (err == 0) {
        list->more = words[0].data[0] == '1';
        snprintf(list->last, sizeof(list->last), "%.*s", (int)words[1].len,
            words[1].len ? (const char *)words[1].data : "");
        list->headers = words + 2;
        list->count = (uint32_t)(count - 2);
    }
    list->err = judged(err);
    list->done(list);
    mem_free(words);
}

static int by_tag(const void *a, const void *b)
{
    const struct flow_shelf_item *x = a, *y = b;
    size_t len = x->tag.len < y->tag.len ? x->tag.len : y->tag.len;
    int order = len ? memcmp(x->tag.data, y->tag.data, len) : 0;

    return order ? order : (x->tag.len > y->tag.len) - (x->tag.len < y->tag.len);
}

/* All of them, by tag. What is none of ours is left out: others may write there. */
static int shelf_list(
    struct flow_shelf *shelf, struct span reply, struct flow_shelf_item **ret_items)
{
    struct span *words = NULL;
    size_t count = 0;

    int r = redis_flow_words(reply, &words, &count);
    struct flow_shelf_item *items =
        r ? NULL : mem_try_alloc((count / 2 + 1) * sizeof(struct flow_shelf_item));
    if (!items) {
        mem_free(words);
        return r ? r : -ENOMEM;
    }
    shelf->count = 0;
    for (size_t i = 0; i + 1 < count; i += 2) {
        struct flow_shelf_item *item = &items[shelf->count];
        item->tag = words[i];
        shelf->count += redis_flow_shelved(words[i + 1], item) == 0;
    }
    qsort(items, shelf->count, sizeof(*items), by_tag);
    mem_free(words);
    *ret_items = items;
    return 0;
}

static void shelved(struct flow_shelf *shelf, int err, struct span reply)
{
    struct flow_shelf_item one = {.tag = shelf->tag}, *items = NULL;
    struct span rest = reply;
    struct resp_item item;

    if (err == 0 && shelf->act == FLOW_SHELF_LIST) {
        err = shelf_list(shelf, reply, &items);
        shelf->items = items;
    } else if (err == 0) {
        bool number = shelf->act != FLOW_SHELF_GET;
        err = resp_next(&rest, &item) && item.type == (number ? ':' : '$') ? 0 : -EBADMSG;
    }
    if (err == 0 && shelf->act == FLOW_SHELF_PUT) {
        shelf->created = span_equal(item.text, span_str("1"));
    } else if (err == 0 && shelf->act == FLOW_SHELF_DELETE) {
        err = span_equal(item.text, span_str("0")) ? -ENOENT : 0;
    } else if (err == 0 && shelf->act == FLOW_SHELF_GET) {
        err = item.nil ? -ENOENT : redis_flow_shelved(item.text, &one);
        shelf->items = &one;
        shelf->count = err == 0;
    }
    shelf->err = judged(err);
    shelf->done(shelf);
    mem_free(items);
}

void redis_flow_read_done(
    struct redis_flow *flow, enum ask_kind kind, void *request, int err, struct span reply)
{
    (void)flow;
    switch (kind) {
    case ASK_LOAD:
        loaded(request, err, reply);
        return;
    case ASK_BLOB:
    case ASK_APPROVAL:
        got(request, err, reply);
        return;
    case ASK_EVENTS:
        told(request, err, reply);
        return;
    case ASK_LIST:
        listed(request, err, reply);
        return;
    case ASK_SHELF:
        shelved(request, err, reply);
        return;
    default:
        return;
    }
}
