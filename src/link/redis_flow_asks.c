/* The command connection of the coordinator's store: many asks under way, answered in their order.
 *
 * What Redis has not answered is bounded in bytes; what is beyond waits, as nothing but a pointer to
 * the caller's struct, and is written when its turn comes. A script that Redis forgot is loaded again
 * and the ask goes to the end of the queue: it did nothing, and whoever asked two things in an order
 * that matters waits for the first one's answer. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "link/redis_flow_own.h"
#include "link/redis_flow_reply.h"
#include "rt/loop.h"

enum { CAP_START = 64, TRIES_MAX = 3, LOG_FULL_MS = 30000 };

/* ---- words ---- */

static void begin(struct command *command)
{
    command->text.len = 0;
    command->count = 0;
    command->err = 0;
}

void command_word(struct command *command, struct span word)
{
    command->count += 1;
    command->err = command->err ? command->err : resp_command_word(&command->text, word);
}

void command_str(struct command *command, const char *word)
{
    command_word(command, span_str(word));
}

void command_number(struct command *command, uint64_t number)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRIu64, number);
    command_str(command, text);
}

void command_joined(struct command *command, const char *prefix, struct span a, struct span b)
{
    size_t prefix_len = strlen(prefix);
    const struct span parts[] = {span_of(prefix, prefix_len), a, b};

    command->count += 1;
    int r = command->err;
    r = r ? r : resp_command_word_begin(&command->text, prefix_len + a.len + b.len);
    for (size_t i = 0; i < 3; i++) {
        r = r || !parts[i].len ? r : bytes_append(&command->text, parts[i].data, parts[i].len);
    }
    command->err = r ? r : bytes_append(&command->text, "\r\n", 2);
}

struct command *redis_flow_call(struct redis_flow *flow, enum redis_flow_script script)
{
    begin(&flow->command);
    command_str(&flow->command, "EVALSHA");
    command_word(&flow->command, span_of(flow->sha[script], 40));
    command_str(&flow->command, "0");
    return &flow->command;
}

/* Puts the scratch command behind what is to be sent. */
static int put(struct redis_flow *flow, struct command *command, size_t *ret_bytes)
{
    struct bytes *out = &flow->conn.out;
    size_t before = out->len;

    int r = command->err ? command->err : resp_command_begin(out, command->count);
    r = r ? r : bytes_append(out, command->text.data, command->text.len);
    if (r) {
        out->len = before;
        return r;
    }
    *ret_bytes = out->len - before;
    return 0;
}

/* ---- the queue ---- */

static int reserve(struct asks *asks)
{
    if (asks->count < asks->cap) {
        return 0;
    }
    size_t cap = asks->cap ? asks->cap * 2 : CAP_START;
    struct ask *ring = mem_try_alloc(cap * sizeof(*ring));
    if (!ring) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < asks->count; i++) {
        ring[i] = asks->ring[(asks->head + i) & (asks->cap - 1)];
    }
    mem_free(asks->ring);
    asks->ring = ring;
    asks->cap = cap;
    asks->head = 0;
    return 0;
}

static struct ask *ask_at(struct asks *asks, size_t index)
{
    return &asks->ring[(asks->head + index) & (asks->cap - 1)];
}

static int push(struct redis_flow *flow, struct ask ask)
{
    int r = reserve(&flow->asks);

    if (r == 0) {
        flow->asks.count += 1;
        *ask_at(&flow->asks, flow->asks.count - 1) = ask;
    }
    return r;
}

/* The oldest, which is under way. */
static struct ask pop(struct asks *asks)
{
    struct ask ask = *ask_at(asks, 0);

    asks->head = (asks->head + 1) & (asks->cap - 1);
    asks->count -= 1;
    asks->sent_count -= asks->sent_count > 0;
    asks->sent_bytes -= ask.bytes;
    return ask;
}

int redis_flow_ask(struct redis_flow *flow, enum ask_kind kind, void *request, uint32_t n)
{
    return push(flow, (struct ask){.kind = (uint8_t)kind, .request = request, .n = n});
}

void redis_flow_tell(struct redis_flow *flow, struct command *command)
{
    struct ask ask = {.kind = ASK_RELEASED};
    int r = command->err;

    r = r ? r : resp_command_begin(&ask.command, command->count);
    r = r ? r : bytes_append(&ask.command, command->text.data, command->text.len);
    r = r ? r : push(flow, ask);
    if (r) { /* It stays Redis's to hand out again; whoever gets it then sees that it is done. */
        bytes_fini(&ask.command);
    }
}

/* ---- sending ---- */

static int write_script(struct redis_flow *flow, enum redis_flow_script script)
{
    struct command *command = &flow->command;

    begin(command);
    flow->scratch.len = 0;
    int r = redis_flow_script_text(script, &flow->scratch);
    command_str(command, "SCRIPT");
    command_str(command, "LOAD");
    command_word(command, span_of(flow->scratch.data, flow->scratch.len));
    return r ? r : command->err;
}

static int write_group(struct redis_flow *flow, uint32_t n)
{
    struct command *command = &flow->command;

    begin(command);
    command_str(command, "XGROUP");
    command_str(command, "CREATE");
    if (n < flow->type_count) {
        struct span type = span_str(flow->types[n]);
        command_joined(command, "wf.tasks.", type, span_of(NULL, 0));
        command_joined(command, "", type, span_str("_workers"));
    } else {
        command_str(command, "wf.run.requests");
        command_str(command, "run_executors");
    }
    command_str(command, "0");
    command_str(command, "MKSTREAM");
    return command->err;
}

static int write(struct redis_flow *flow, const struct ask *ask)
{
    switch ((enum ask_kind)ask->kind) {
    case ASK_COMMIT:
        return redis_flow_commit_write(flow, ask->request);
    case ASK_LOAD:
    case ASK_BLOB:
    case ASK_APPROVAL:
    case ASK_EVENTS:
    case ASK_LIST:
    case ASK_SHELF:
        return redis_flow_read_write(flow, (enum ask_kind)ask->kind, ask->request);
    case ASK_DEAD:
        return redis_flow_dead_write(flow, ask->request);
    case ASK_RELEASED:
        return 0; /* Is written. */
    case ASK_SCRIPT:
        return write_script(flow, (enum redis_flow_script)ask->n);
    case ASK_GROUP:
        return write_group(flow, ask->n);
    case ASK_BEAT:
    case ASK_TIMERS:
    case ASK_SWEEP:
    case ASK_LEAVE:
        return redis_flow_lease_write(flow, ask);
    }
    return -EINVAL;
}

/* The answer to an ask, or why there is none (err). */
static void finish(struct redis_flow *flow, struct ask *ask, int err, struct span reply);

/* Sends the first that waits. */
static void send_next(struct redis_flow *flow)
{
    struct asks *asks = &flow->asks;
    struct ask *ask = ask_at(asks, asks->sent_count);
    int r;

    if (ask->kind == ASK_RELEASED) {
        r = bytes_append(&flow->conn.out, ask->command.data, ask->command.len);
        ask->bytes = ask->command.len;
        bytes_fini(&ask->command);
    } else {
        begin(&flow->command);
        r = write(flow, ask);
        r = r ? r : put(flow, &flow->command, &ask->bytes);
    }
    if (r == 0) {
        ask->sent_ms = loop_now_ms(flow->loop);
        asks->sent_count += 1;
        asks->sent_bytes += ask->bytes;
        return;
    }
    /* It is taken out of the middle: those under way move up by one. */
    struct ask failed = *ask;
    for (size_t i = asks->sent_count; i > 0; i--) {
        *ask_at(asks, i) = *ask_at(asks, i - 1);
    }
    asks->head = (asks->head + 1) & (asks->cap - 1);
    asks->count -= 1;
    finish(flow, &failed, r, span_of(NULL, 0));
}

void redis_flow_pump(struct redis_flow *flow)
{
    struct asks *asks = &flow->asks;

    while (flow->phase >= PHASE_SETUP && asks->sent_count < asks->count &&
           (asks->sent_count == 0 || asks->sent_bytes < flow->options.unanswered_bytes)) {
        send_next(flow);
    }
    if (flow->phase >= PHASE_SETUP && flow->conn.out.len > 0) {
        redis_conn_flush(&flow->conn);
    }
}

/* ---- answers ---- */

void redis_flow_reload(struct redis_flow *flow)
{
    if (flow->loading || flow->phase < PHASE_SETUP) {
        return;
    }
    flow->stats.reloads += flow->phase == PHASE_UP;
    for (uint32_t i = 0; i < REDIS_FLOW_SCRIPTS; i++) {
        if (redis_flow_ask(flow, ASK_SCRIPT, NULL, i) == 0) {
            flow->loading += 1;
            flow->setups_left += flow->phase == PHASE_SETUP;
        }
    }
}

static void set_up(struct redis_flow *flow)
{
    if (flow->phase == PHASE_SETUP && --flow->setups_left == 0) {
        redis_flow_came_up(flow);
    }
}

static void finish(struct redis_flow *flow, struct ask *ask, int err, struct span reply)
{
    switch ((enum ask_kind)ask->kind) {
    case ASK_COMMIT:
        redis_flow_commit_done(flow, ask->request, err, reply);
        return;
    case ASK_LOAD:
    case ASK_BLOB:
    case ASK_APPROVAL:
    case ASK_EVENTS:
    case ASK_LIST:
    case ASK_SHELF:
        redis_flow_read_done(flow, (enum ask_kind)ask->kind, ask->request, err, reply);
        return;
    case ASK_DEAD:
        redis_flow_item_free(flow, ask->request);
        return;
    case ASK_RELEASED:
        bytes_fini(&ask->command);
        return;
    case ASK_SCRIPT:
        flow->loading -= 1;
        set_up(flow);
        return;
    case ASK_GROUP:
        set_up(flow);
        return;
    case ASK_BEAT:
    case ASK_TIMERS:
    case ASK_SWEEP:
    case ASK_LEAVE:
        redis_flow_lease_done(flow, ask, err ? span_of(NULL, 0) : reply);
        return;
    }
}

static bool ours(const struct ask *ask)
{
    return ask->kind >= ASK_DEAD;
}

void redis_flow_full(struct redis_flow *flow, const char *why)
{
    uint64_t held;

    if (log_allow(&flow->full_limit, loop_now_ms(flow->loop), LOG_FULL_MS, &held)) {
        LOG(LOG_WARN, "flow.store_full", LOG_S("address", flow->target.address), LOG_S("why", why),
            LOG_S("text", "new runs are refused, others wait"), LOG_U("repeats", held));
    }
}

/* An error that says something of the store and not of one ask. False: the store failed on it. */
static bool refused(struct redis_flow *flow, struct ask *ask, struct span reply)
{
    char why[REDIS_SENTENCE_MAX];
    int err = redis_flow_error(reply);

    if (err == -EAGAIN && ask->tries < TRIES_MAX) {
        redis_flow_reload(flow);
        ask->tries += 1;
        ask->bytes = 0;
        if (push(flow, *ask) == 0) {
            return true;
        }
        err = -ENOMEM;
    }
    if (ask->kind == ASK_GROUP) {
        flow->groups_due |= err != -EEXIST;
        err = err == -EEXIST || err == -ENOSPC ? 0 : err; /* When there is room again: then. */
    }
    redis_error_sentence(reply, why, sizeof(why));
    if (err == -ENOTCONN || (err == -EIO && (ask->kind == ASK_GROUP || ask->kind == ASK_SCRIPT))) {
        finish(flow, ask, -ENOTCONN, span_of(NULL, 0));
        redis_flow_fail(flow, why);
        return false;
    }
    if (err == -ENOSPC) {
        redis_flow_full(flow, why);
    } else if (ours(ask) && err) {
        uint64_t held;
        if (log_allow(&flow->dead_limit, loop_now_ms(flow->loop), 10000, &held)) {
            LOG(LOG_WARN, "flow.redis_refuses", LOG_S("why", why), LOG_U("repeats", held));
        }
    }
    flow->stats.refused += ask->kind == ASK_COMMIT;
    finish(flow, ask, err == 0 || err == -ENOSPC || err == -ENOMEM ? err : -EIO, reply);
    return true;
}

bool redis_flow_passed(struct redis_flow *flow)
{
    while (flow->passed_seen < flow->inbox.passed_count) {
        flow->passed_seen += 1;
        if (flow->asks.sent_count == 0) {
            redis_flow_fail(flow, "Redis answers what nobody asked");
            return false;
        }
        struct ask ask = pop(&flow->asks);
        finish(flow, &ask, -EMSGSIZE, span_of(NULL, 0));
    }
    return true;
}

bool redis_flow_answered(struct redis_flow *flow, struct span reply)
{
    uint64_t id = flow->conn.id;

    if (!redis_flow_passed(flow)) {
        return false;
    }
    if (flow->asks.sent_count == 0) {
        redis_flow_fail(flow, "Redis answers what nobody asked");
        return false;
    }
    struct ask ask = pop(&flow->asks);
    if (reply.data[0] == '-') {
        if (!refused(flow, &ask, reply)) {
            return false;
        }
    } else {
        finish(flow, &ask, 0, reply);
    }
    if (flow->conn.id != id) {
        return false;
    }
    redis_inbox_pop(&flow->inbox, reply);
    return true;
}

/* Those that are asked meanwhile are answered by whoever asks: the phase is IDLE. */
void redis_flow_forget(struct redis_flow *flow)
{
    struct asks *asks = &flow->asks;

    CHECK(flow->phase == PHASE_IDLE);
    asks->sent_count = asks->sent_bytes = 0;
    for (size_t left = asks->count; left > 0; left--) {
        struct ask ask = *ask_at(asks, 0);
        asks->head = (asks->head + 1) & (asks->cap - 1);
        asks->count -= 1;
        finish(flow, &ask, -ENOTCONN, span_of(NULL, 0));
    }
    flow->loading = 0;
    flow->setups_left = 0;
}

void redis_flow_free_asks(struct redis_flow *flow)
{
    mem_free(flow->asks.ring);
    flow->asks = (struct asks){0};
    bytes_fini(&flow->command.text);
    bytes_fini(&flow->scratch);
}
