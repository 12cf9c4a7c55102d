/* A commit as a call of its script: the ops, sorted by what they become, so that Redis does in one
 * command what is of one key. The order among ops of one key is kept. */
#include <errno.h>
#include <string.h>

#include "link/redis_flow_own.h"
#include "link/redis_flow_reply.h"

/* A group of words begins with its letter and how many there are. */
struct group {
    char letter;
    uint8_t word_count;                  /* Of each op. */
    enum flow_op_kind kind, second_kind; /* Ops of both, in their order. */
};

static const struct group groups[] = {
    {'H', 2, FLOW_HEADER, FLOW_HEADER},
    {'O', 4, FLOW_OPEN, FLOW_OPEN},
    {'N', 2, FLOW_NODE, FLOW_NODE},
    {'U', 2, FLOW_OUTPUT, FLOW_OUTPUT},
    {'B', 2, FLOW_BLOB, FLOW_BLOB},
    {'Q', 4, FLOW_QUEUE, FLOW_UNQUEUE},
    {'J', 2, FLOW_ARRIVE, FLOW_JOINED},
    {'Z', 2, FLOW_TIMER, FLOW_UNTIMER},
    {'A', 2, FLOW_APPROVAL, FLOW_APPROVAL},
    {'S', 1, FLOW_SIGNAL, FLOW_SIGNAL},
    {'E', 1, FLOW_EVENT, FLOW_EVENT},
    {'C', 2, FLOW_CLOSE, FLOW_CLOSE},
};

/* The stream of a type: its own, if it has one. */
static struct span stream_of(const struct redis_flow *flow, struct span type)
{
    for (size_t i = 0; i < flow->type_count; i++) {
        if (span_equal(type, span_str(flow->types[i]))) {
            return type;
        }
    }
    return span_str("default");
}

/* Which of the marks is this token's emit:, from 1; 0: none, it is queued in any case. */
static size_t emitted(const struct flow_commit *commit, struct span token)
{
    size_t index = 0;

    for (uint32_t i = 0; i < commit->op_count; i++) {
        index += commit->ops[i].kind == FLOW_CONSUME;
    }
    for (uint32_t i = 0; i < commit->op_count; i++) {
        const struct flow_op *op = &commit->ops[i];
        if (op->kind == FLOW_EMIT) {
            index += 1;
            if (span_equal(op->id, token)) {
                return index;
            }
        }
    }
    return 0;
}

static void write_queue(struct redis_flow *flow, struct command *command,
    const struct flow_commit *commit, const struct flow_op *op)
{
    if (op->kind == FLOW_UNQUEUE) {
        command_str(command, "-");
    } else {
        command_number(command, emitted(commit, op->id));
    }
    command_word(command, stream_of(flow, op->name));
    command_word(command, op->node);
    command_word(command, op->body);
}

static void write_op(struct redis_flow *flow, struct command *command,
    const struct flow_commit *commit, const struct flow_op *op)
{
    struct span none = span_of(NULL, 0);

    switch (op->kind) {
    case FLOW_OPEN:
        command_word(command, op->id);
        command_word(command, op->name);
        command_word(command, op->body);
        command_number(command, op->n);
        return;
    case FLOW_QUEUE:
    case FLOW_UNQUEUE:
        write_queue(flow, command, commit, op);
        return;
    case FLOW_HEADER:
        command_word(command, op->body);
        command_number(command, op->n);
        return;
    case FLOW_NODE:
    case FLOW_APPROVAL:
        command_word(command, op->node);
        command_word(command, op->body);
        return;
    case FLOW_OUTPUT:
        command_joined(command, "", op->node, span_str(":output"));
        command_word(command, op->id);
        return;
    case FLOW_ARRIVE:
    case FLOW_JOINED:
        command_word(command, op->node);
        command_word(command, op->kind == FLOW_ARRIVE ? op->id : none);
        return;
    case FLOW_BLOB:
        command_joined(command, "cas:", op->id, none);
        command_word(command, op->body);
        return;
    case FLOW_TIMER:
        command_word(command, op->node);
        command_number(command, op->n);
        return;
    case FLOW_UNTIMER:
        command_word(command, op->node);
        command_word(command, none);
        return;
    case FLOW_EVENT:
    case FLOW_SIGNAL:
        command_word(command, op->body);
        return;
    case FLOW_CLOSE:
        command_word(command, op->name);
        command_number(command, op->n);
        return;
    case FLOW_CONSUME:
    case FLOW_EMIT:
        return; /* Marks; written before. */
    }
}

static void write_marks(struct command *command, const struct flow_commit *commit)
{
    uint32_t consumes = 0, emits = 0;

    for (uint32_t i = 0; i < commit->op_count; i++) {
        consumes += commit->ops[i].kind == FLOW_CONSUME;
        emits += commit->ops[i].kind == FLOW_EMIT;
    }
    command_number(command, consumes);
    command_number(command, consumes + emits);
    for (enum flow_op_kind kind = FLOW_CONSUME; kind <= FLOW_EMIT; kind++) {
        for (uint32_t i = 0; i < commit->op_count; i++) {
            if (commit->ops[i].kind == kind) {
                command_joined(command,
                    kind == FLOW_CONSUME ? "consume:" : "emit:", commit->ops[i].id,
                    span_of(NULL, 0));
            }
        }
    }
}

/* Where writing the ops of a kind begins: of several headers only the last one counts. */
static uint32_t begin_of(const struct flow_commit *commit, enum flow_op_kind kind)
{
    uint32_t begin = 0;

    for (uint32_t i = 0; kind == FLOW_HEADER && i < commit->op_count; i++) {
        begin = commit->ops[i].kind == kind ? i : begin;
    }
    return begin;
}

static void write_group(struct redis_flow *flow, struct command *command,
    const struct flow_commit *commit, const struct group *group)
{
    char letter[2] = {group->letter};
    uint32_t begin = begin_of(commit, group->kind), count = 0;

    for (uint32_t i = begin; i < commit->op_count; i++) {
        enum flow_op_kind kind = commit->ops[i].kind;
        count += kind == group->kind || kind == group->second_kind;
    }
    if (!count) {
        return;
    }
    command_str(command, letter);
    command_number(command, (uint64_t)count * group->word_count);
    for (uint32_t i = begin; i < commit->op_count; i++) {
        enum flow_op_kind kind = commit->ops[i].kind;
        if (kind == group->kind || kind == group->second_kind) {
            write_op(flow, command, commit, &commit->ops[i]);
        }
    }
}

int redis_flow_commit_write(struct redis_flow *flow, const struct flow_commit *commit)
{
    struct command *command = redis_flow_call(flow, REDIS_FLOW_COMMIT);

    command_word(command, commit->run_id);
    command_number(command, commit->version);
    command_number(command, flow->options.retention_ms);
    command_joined(command, "user:", commit->user, span_of(NULL, 0));
    command_str(command, flow->history_limits ? flow->history_limits : "");
    command_str(command, flow->options.sharded ? "SPUBLISH" : "PUBLISH");
    command_str(command, flow->list);
    write_marks(command, commit);
    for (size_t i = 0; i < sizeof(groups) / sizeof(*groups); i++) {
        write_group(flow, command, commit, &groups[i]);
    }
    return command->err;
}

/* A timer that is due before the next look at them is looked for in time. */
static void note_timers(struct redis_flow *flow, const struct flow_commit *commit)
{
    for (uint32_t i = 0; i < commit->op_count; i++) {
        if (commit->ops[i].kind == FLOW_TIMER) {
            redis_flow_timer_set(flow, commit->ops[i].n);
        }
    }
}

void redis_flow_commit_done(
    struct redis_flow *flow, struct flow_commit *commit, int err, struct span reply)
{
    commit->ret_version = 0;
    commit->err = err ? err : redis_flow_committed(reply, &commit->ret_version);
    commit->err = commit->err == -EBADMSG ? -EIO : commit->err;
    flow->stats.commits += commit->err == 0;
    flow->stats.stale += commit->err == -ESTALE;
    if (commit->err == 0) {
        note_timers(flow, commit);
    }
    commit->done(commit);
}
