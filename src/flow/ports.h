/* Ports of flow: what the coordinator needs of a store, of HTTP and of whoever publishes its
 * events.
 *
 * A store keeps runs, hands out work, and applies a *commit*: everything one step changes in one
 * run, whole or not at all, and only if nobody else changed the run meanwhile (its version is as
 * expected). All decisions are flow's (run.h); a store only carries them out, so that Redis and
 * the embedded store mean the same. contracts.md 3 names the keys in Redis, link/redis_flow.h and
 * store/flow_db.h say how an op becomes keys or rows.
 *
 * Requests are structs that the caller owns and the callee borrows until it calls done(), exactly
 * once, later or at once, on the same thread. Everything runs on the coordinator's thread.
 *
 * Errors of requests (err), beside what each says of its own: -ENOTCONN the store cannot be
 * reached, -ENOSPC it is full (disk, or Redis's maxmemory), -EIO it failed, -ENOMEM. After one of
 * these it is not known whether a commit was applied: load the run again and look.
 */
#ifndef FLOW_PORTS_H
#define FLOW_PORTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"

enum {
    FLOW_RUN_ID_MAX =
        64, /* Bytes of a run's id. Ours are UUIDv7; wf.run.requests may bring others. */
    FLOW_NODE_ID_MAX = 64, /* [A-Za-z0-9_.-] */
    FLOW_TYPE_MAX = 64,    /* [a-z0-9_-] */
    FLOW_TAG_MAX = 128,    /* [A-Za-z0-9_.-] */
    FLOW_REF_LEN = 71,     /* "sha256:" and 64 hexadecimal digits. */
};

/* ---- commits ---- */

enum flow_op_kind {
    /* The run begins: id = user, name = tag, body = the IR (contracts.md 3), n = Unix ms. First op of the
     * commit with version 0 only. */
    FLOW_OPEN,
    /* A token is used up: id = token. If it was before, nothing of the commit is applied: -EALREADY. */
    FLOW_CONSUME,
    /* A token comes to be: id = token. Counted once. */
    FLOW_EMIT,
    /* Work for the workers of a type: id = token, name = type, node, body = the token as JSON. The store
     * remembers where it put it, by node. */
    FLOW_QUEUE,
    /* Nobody is to work on the node's task any more: name = type, node. Fine when there is none. */
    FLOW_UNQUEUE,
    /* The run's header, body = JSON, n = the counter of tokens in flight. */
    FLOW_HEADER,
    /* A node's record: node, body = JSON. */
    FLOW_NODE,
    /* A node's result: node, id = ref. */
    FLOW_OUTPUT,
    /* A predecessor arrived at a join: node = the join, id = the predecessor. */
    FLOW_ARRIVE,
    /* All arrived, or the join is void: node. */
    FLOW_JOINED,
    /* Something content-addressed: id = ref, body. */
    FLOW_BLOB,
    /* Wake me: node, n = Unix ms. One timer a node; another replaces it. */
    FLOW_TIMER,
    FLOW_UNTIMER,
    /* A human approval: node, body = JSON; empty: nobody is asked any more, and there is none. */
    FLOW_APPROVAL,
    /* An event of the run, body = JSON: kept, and published to its user, in the order of the ops. */
    FLOW_EVENT,
    /* A signal is dealt with: body = its bytes, as they were delivered. */
    FLOW_SIGNAL,
    /* The run is over: name = "completed", "failed" or "cancelled", n = Unix ms. Retention begins. */
    FLOW_CLOSE,
};

struct flow_op {
    enum flow_op_kind kind;
    struct span node, id, name, body;
    uint64_t n;
};

struct flow_commit {
    void (*done)(struct flow_commit *commit);
    void *owner;
    struct span run_id;
    struct span user; /* Whose run it is. */
    uint64_t version; /* The run's, as expected; 0: there is no such run yet. */
    const struct flow_op *ops;
    uint32_t op_count;
    /* The answer. err: 0 it was applied and the run's version is ret_version; -ESTALE the run has another
     * version, or is gone; -EEXIST version 0 and there is such a run; -EALREADY see FLOW_CONSUME; or as
     * above. */
    int err;
    uint64_t ret_version;
    struct flow_commit *next; /* The store's while it has it. */
};

/* ---- reading ---- */

struct flow_record {
    struct span node, body;
};

/* A run as it is now. */
struct flow_load {
    void (*done)(struct flow_load *load);
    void *owner;
    struct span run_id;
    bool want_ir;
    /* The answer, borrowed from the store until done() returns. err: -ENOENT. */
    int err;
    uint64_t version;
    struct span header, ir;
    const struct flow_record *nodes; /* Those that have a record. */
    uint32_t node_count;
    struct flow_load *next;
};

/* Something by its name: see the ports. */
struct flow_get {
    void (*done)(struct flow_get *get);
    void *owner;
    struct span key;
    size_t bytes_max; /* More is -EMSGSIZE; 0: no bound. */
    /* The answer, as above. err: -ENOENT, -EMSGSIZE. */
    int err;
    struct span body;
    struct flow_get *next;
};

/* The events of a run, oldest first. */
struct flow_events {
    void (*done)(struct flow_events *events);
    void *owner;
    struct span run_id;
    uint64_t since; /* So many are left out. */
    uint64_t limit; /* At most so many; 0: all. */
    /* The answer: err -ENOENT when there is no such run. */
    int err;
    struct span header;
    uint64_t total; /* Events there are. */
    const struct span *bodies;
    uint32_t count;
    struct flow_events *next;
};

/* A page of runs, newest first. */
struct flow_list {
    void (*done)(struct flow_list *list);
    void *owner;
    struct span status, tag, user; /* Empty: any. */
    struct span after;             /* A run's id: only older ones; empty: from the newest. */
    uint32_t limit;                /* 1..1000 */
    /* The answer: headers of runs. more: there may be others behind `last`. */
    int err;
    const struct span *headers;
    uint32_t count;
    bool more;
    char last[FLOW_RUN_ID_MAX + 1]; /* Where to go on: what was looked at last. */
    struct flow_list *next;
};

/* Workflow definitions by tag. */
enum flow_shelf_act { FLOW_SHELF_PUT, FLOW_SHELF_GET, FLOW_SHELF_DELETE, FLOW_SHELF_LIST };

struct flow_shelf_item {
    struct span tag, body;
    uint64_t updated_ms;
};

struct flow_shelf {
    void (*done)(struct flow_shelf *shelf);
    void *owner;
    enum flow_shelf_act act;
    struct span tag, body; /* body: PUT only, JSON. */
    uint64_t now_ms;       /* PUT. */
    /* The answer. GET, DELETE: -ENOENT; PUT: created says whether the tag is new. */
    int err;
    bool created;
    const struct flow_shelf_item *items; /* GET one; LIST all, by tag. */
    uint32_t count;
    struct flow_shelf *next;
};

/* ---- what a store hands out ---- */

/* One piece of work off wf.tasks.{type}. Given to flow, which hands it back with release(). */
struct flow_task {
    struct span type;
    struct span body; /* The token, as it was found. */
    bool again;       /* Somebody had it before, and died or gave up. */
    void *owner;      /* Of flow's, until release(). */
    struct flow_task *next;
};

/* One of completion_signals; also a run request, which comes the same way. As above. */
struct flow_signal {
    struct span body;
    bool request; /* A run request (wf.run.requests) and no signal. */
    void *owner;
    struct flow_signal *next;
};

/* What a store calls. Spans are borrowed until the call returns, unless said otherwise. */
struct flow_events_in {
    void *ctx;
    void (*on_task)(void *ctx, struct flow_task *task);       /* Gives it. */
    void (*on_signal)(void *ctx, struct flow_signal *signal); /* Gives it. */
    /* A node's timer is due. It comes again every few seconds until a commit replaces or removes it. */
    void (*on_timer)(void *ctx, struct span run_id, struct span node);
    /* The store can be used from now on, or not any more (why: a sentence). It begins as unusable. */
    void (*on_state)(void *ctx, bool up, const char *why);
};

/* How a piece of work or a signal goes back. */
enum flow_release {
    FLOW_DONE,  /* A commit dealt with it. */
    FLOW_DROP,  /* It means nothing any more: take it off. */
    FLOW_DEAD,  /* It is poison: to wf.dead, with the reason. */
    FLOW_LATER, /* Not now: hand it out again after a while. */
};

struct flow_store {
    void *ctx;
    void (*commit)(void *ctx, struct flow_commit *commit);
    void (*load)(void *ctx, struct flow_load *load);
    void (*blob)(void *ctx, struct flow_get *get);     /* key: "sha256:…" */
    void (*approval)(void *ctx, struct flow_get *get); /* key: "{run_id}:{node_id}" */
    void (*events)(void *ctx, struct flow_events *events);
    void (*list)(void *ctx, struct flow_list *list);
    void (*shelf)(void *ctx, struct flow_shelf *shelf);
    void (*release_task)(void *ctx, struct flow_task *task, enum flow_release how, const char *why);
    void (*release_signal)(
        void *ctx, struct flow_signal *signal, enum flow_release how, const char *why);
    /* May task types that have no workers in this process be used? (Redis: yes.) */
    bool outside_workers;
};

/* ---- outgoing HTTP ---- */

struct flow_http_header {
    struct span name, value;
};

/* One request to somebody's server. */
struct flow_http {
    void (*done)(struct flow_http *http);
    void *owner;
    const char *method; /* "GET" … */
    const char *url;    /* http:// or https:// */
    const struct flow_http_header *headers;
    uint32_t header_count;
    struct span body;
    uint64_t timeout_ms;
    size_t bytes_max; /* Of the answer's body. */
    /* The answer, borrowed until done() returns. err: 0 there is an answer, whatever its status; -ETIMEDOUT,
     * -EMSGSIZE (the body is larger than bytes_max), -ECANCELED, or another: why is one sentence. */
    int err;
    int status;
    const struct flow_http_header *ret_headers; /* Names in lower case. */
    uint32_t ret_header_count;
    struct span ret_body;
    char why[256];
    void *handle; /* The client's while it has it. */
};

struct flow_http_client {
    void *ctx;
    void (*begin)(void *ctx, struct flow_http *http);
    /* Ends one early: done() comes with -ECANCELED, before this returns. */
    void (*cancel)(void *ctx, struct flow_http *http);
};

/* ---- publishing, for a store that does not publish itself ---- */

/* Events of one run, the first of them its number `seq` (from 1). Publishing one twice is
 * prevented by the idempotency key "{run_id}:{number}". */
struct flow_publication {
    void (*done)(struct flow_publication *publication);
    void *owner;
    struct span run_id, user;
    uint64_t seq;
    const struct span *bodies;
    uint32_t count;
    /* The answer: so many of them are published; fewer than count: try the rest later, err says why. */
    uint32_t ret_count;
    int err;
    struct flow_publication *next;
};

struct flow_publisher {
    void *ctx;
    void (*publish)(void *ctx, struct flow_publication *publication);
};

#endif
