/* What the files of the coordinator's store share: redis_flow.c (what others call, attempts and
 * state), redis_flow_asks.c (the command connection), redis_flow_commit.c and redis_flow_read.c (what
 * is asked on it), redis_flow_take.c and redis_flow_items.c (what is handed out), redis_flow_lease.c
 * (life signs, timers, sweeps). Nobody else includes it. */
#ifndef LINK_REDIS_FLOW_OWN_H
#define LINK_REDIS_FLOW_OWN_H

#include "base/hash.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/table.h"
#include "link/redis_conn.h"
#include "link/redis_flow.h"
#include "link/redis_flow_script.h"
#include "link/redis_inbox.h"

struct redis_entry;

/* ---- what is asked on the command connection ---- */

enum ask_kind {
    ASK_COMMIT, /* What others ask for: `request` is theirs, answered by done(). */
    ASK_LOAD,
    ASK_BLOB,
    ASK_APPROVAL,
    ASK_EVENTS,
    ASK_LIST,
    ASK_SHELF,
    ASK_DEAD,     /* request: an item that goes to wf.dead, and then is freed. */
    ASK_RELEASED, /* Acknowledged, deleted or removed; nobody waits for it. */
    ASK_SCRIPT,   /* Loads a script; n: which. */
    ASK_GROUP,    /* Makes a consumer group; n: the type's index, or type_count: run requests. */
    ASK_BEAT,
    ASK_TIMERS,
    ASK_SWEEP,
    ASK_LEAVE,
};

struct ask {
    uint8_t kind;  /* enum ask_kind */
    uint8_t tries; /* Redis did not know the script so often. */
    uint32_t n;
    size_t bytes;     /* Of the command. */
    uint64_t sent_ms; /* The loop's time. */
    void *request;
    struct bytes command; /* ASK_RELEASED: written already. */
};

/* Asks in their order: the first sent_count are under way, the others wait. */
struct asks {
    struct ask *ring;
    size_t cap; /* A power of two. */
    size_t head, count, sent_count;
    size_t sent_bytes;
};

/* A command while it is written; sticky error. */
struct command {
    struct bytes text;
    size_t count;
    int err;
};
void command_word(struct command *command, struct span word);
void command_str(struct command *command, const char *word);
void command_number(struct command *command, uint64_t number);
/* The word is made of up to three. */
void command_joined(struct command *command, const char *prefix, struct span a, struct span b);

/* ---- what is handed out ---- */

enum item_kind { ITEM_TASK, ITEM_SIGNAL, ITEM_REQUEST };

struct item {
    struct table_item key;     /* First. Of tasks and requests: by reader and entry. */
    struct item *next, **link; /* Of all. */
    struct item *next_waiting; /* In the queue of those that come later, or that are ready. */
    enum item_kind kind;
    struct reader *reader;
    union {
        struct flow_task task;
        struct flow_signal signal;
    };
    uint64_t ms, seq; /* The entry's id. */
    uint64_t due_ms;  /* To be handed out again; the loop's time. */
    bool out;         /* Counted in tasks_out. */
    const char *why;  /* Why it is dead; ours, to be freed. */
    size_t len;
    uint8_t body[];
};

/* One that waits for work on a connection of its own. */
struct reader {
    struct redis_flow *flow;
    enum item_kind kind;
    struct redis_conn conn;
    struct redis_inbox inbox;
    uint64_t passed_seen;
    char *stream, *group; /* NULL: signals. */
    struct span type, field;
    uint32_t under_way; /* Handed out and not released. */
    uint32_t expected;  /* Answers that are owed. */
    uint64_t asked_ms, pause_until_ms;
    bool looking;     /* Goes through the entries that are ours already, from…: */
    uint64_t ms, seq; /* … behind this one. */
    bool asked_looking;
    uint32_t count_max; /* Of a batch. */
    struct bytes acks;  /* Command words of entries to acknowledge: " id" each. */
    uint32_t ack_count;
};

enum flow_phase {
    PHASE_IDLE,     /* Before the start, between attempts, after the end. */
    PHASE_GREETING, /* All connections are being made. */
    PHASE_SETUP,    /* Scripts and groups. */
    PHASE_UP,
};

struct redis_flow {
    struct loop *loop;
    uint8_t socket_kind, resolve_kind;
    struct flow_events_in in;
    struct redis_flow_options options; /* Its pointers are not valid any more. */
    struct redis_target target;
    uint32_t reconnect_min_ms, reconnect_max_ms;
    size_t inbox_bytes;
    char *history_limits; /* NULL: none. */
    char client_name[REDIS_FLOW_NAME_MAX + 32], name[REDIS_FLOW_NAME_MAX + 1];
    char list[REDIS_FLOW_NAME_MAX + 32]; /* completion_signals:{name} */
    char **types;
    size_t type_count;
    struct redis_conn_events conn_events;

    struct redis_conn conn; /* For commands; slot 0. */
    struct redis_inbox inbox;
    uint64_t passed_seen;
    struct asks asks;
    struct command command; /* Scratch. */
    struct bytes scratch;
    char sha[REDIS_FLOW_SCRIPTS][41];
    uint32_t loading;     /* Scripts being loaded. */
    uint32_t setups_left; /* Before we are up. */
    bool groups_due;      /* A consumer group is missing. */

    struct reader *readers; /* Slots from 1. Signals, run requests, then types. */
    size_t reader_count;
    struct table items;
    struct hash_key key;
    struct item *all;
    struct item *later_first, **later_last;
    struct item *ready_first, **ready_last; /* Wait for fewer to be out. */
    uint32_t tasks_out;

    enum flow_phase phase;
    bool told_up, was_up;
    bool draining, leaving, left, shut;
    bool fresh; /* This connection has not said yet that it is new. */
    uint32_t attempt;
    struct rng rng;
    char sentence[REDIS_SENTENCE_MAX];
    struct timer retry_timer, tick_timer, due_timer;
    uint64_t beat_ms, beaten_ms; /* Last sent, last answered; the loop's time. */
    bool beating, polling, sweeping;
    uint64_t due_ms;   /* The next timer of a node; wall clock; UINT64_MAX: not known of any. */
    uint64_t poll_ms;  /* Timers are looked at then, at the latest; the loop's time. */
    uint64_t sweep_ms; /* The next step; as above. */
    uint64_t sweep_offset;
    struct log_limit down_limit, dead_limit, full_limit;
    struct redis_flow_stats stats;
};

enum { BLOCK_MS = 2000, SWEEP_RUNS = 20 };

/* ---- redis_flow.c ---- */

/* The attempt, or the path, is over. */
void redis_flow_fail(struct redis_flow *flow, const char *sentence);
/* All that had to be set up is. */
void redis_flow_came_up(struct redis_flow *flow);

/* ---- redis_flow_asks.c ---- */

/* Asks. Returns 0 or -ENOMEM. */
MUST_USE int redis_flow_ask(struct redis_flow *flow, enum ask_kind kind, void *request, uint32_t n);
/* Takes the command's bytes. */
void redis_flow_tell(struct redis_flow *flow, struct command *command);
/* Sends what may be sent. */
/* Redis refused a write since it is full: nothing else says so, it is up and answers. why: its error. */
void redis_flow_full(struct redis_flow *flow, const char *why);
void redis_flow_pump(struct redis_flow *flow);
/* A reply on the command connection. False: the store failed on it. */
bool redis_flow_answered(struct redis_flow *flow, struct span reply);
/* Replies too large to be kept passed by: their asks are answered. False: as above. */
bool redis_flow_passed(struct redis_flow *flow);
/* Whatever is asked will not be answered. */
void redis_flow_forget(struct redis_flow *flow);
/* Redis forgot the scripts. */
void redis_flow_reload(struct redis_flow *flow);
/* Begins a call of a script in the scratch command. */
struct command *redis_flow_call(struct redis_flow *flow, enum redis_flow_script script);
void redis_flow_free_asks(struct redis_flow *flow);

/* ---- redis_flow_commit.c, redis_flow_read.c ---- */

/* Writes the request. Returns 0 or a negative errno. */
MUST_USE int redis_flow_commit_write(struct redis_flow *flow, const struct flow_commit *commit);
void redis_flow_commit_done(
    struct redis_flow *flow, struct flow_commit *commit, int err, struct span reply);
MUST_USE int redis_flow_read_write(struct redis_flow *flow, enum ask_kind kind, void *request);
/* err: 0, and reply is no error; or the answer is that. */
void redis_flow_read_done(
    struct redis_flow *flow, enum ask_kind kind, void *request, int err, struct span reply);

/* ---- redis_flow_take.c ---- */

/* A connection for waiting is ready for another question, if it may. */
void redis_flow_reader_pump(struct reader *reader);
void redis_flow_readers_pump(struct redis_flow *flow);
bool redis_flow_reader_answered(struct reader *reader, struct span reply);
/* As redis_flow_passed(). */
bool redis_flow_reader_passed(struct reader *reader);
/* A new connection. */
void redis_flow_reader_reset(struct reader *reader);
/* Entries of this stream were claimed for us. */
void redis_flow_look_again(struct redis_flow *flow, struct span stream);

/* ---- redis_flow_items.c ---- */

/* An entry, or a signal (entry NULL). Hands it out. Returns false without memory. */
bool redis_flow_hand_out(
    struct reader *reader, const struct redis_entry *entry, struct span body, bool again);
bool redis_flow_has(const struct reader *reader, const struct redis_entry *entry);
/* To be acknowledged and deleted with the next turn. */
void redis_flow_ack(struct reader *reader, uint64_t ms, uint64_t seq);
void redis_flow_acks_send(struct redis_flow *flow);
/* Writes the request of ASK_DEAD. */
MUST_USE int redis_flow_dead_write(struct redis_flow *flow, const struct item *item);
/* Straight to wf.dead, without having been handed out. */
void redis_flow_bury(struct reader *reader, const struct redis_entry *entry, const char *why);
void redis_flow_item_free(struct redis_flow *flow, struct item *item);
void redis_flow_items_later(struct redis_flow *flow);
void redis_flow_items_ready(struct redis_flow *flow);
void redis_flow_release_task(
    void *ctx, struct flow_task *task, enum flow_release how, const char *why);
void redis_flow_release_signal(
    void *ctx, struct flow_signal *signal, enum flow_release how, const char *why);

/* ---- redis_flow_lease.c ---- */

/* What is due by now: a life sign, timers, sweeps. */
void redis_flow_tick(struct redis_flow *flow);
MUST_USE int redis_flow_lease_write(struct redis_flow *flow, const struct ask *ask);
void redis_flow_lease_done(struct redis_flow *flow, const struct ask *ask, struct span reply);
/* Has Redis heard of us lately, so that what we ask for now is not taken for a dead one's? */
bool redis_flow_alive(const struct redis_flow *flow);
/* A commit set a timer. */
void redis_flow_timer_set(struct redis_flow *flow, uint64_t wall_ms);

#endif
