/* What the files of the coordinator share. Everything runs on its thread, unless said otherwise. */
#ifndef ROLE_COORDINATOR_OWN_H
#define ROLE_COORDINATOR_OWN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "base/log.h"
#include "flow/flow.h"
#include "flow/ports.h"
#include "role/coordinator.h"
#include "role/gateway.h"
#include "role/gateway_store.h"

struct config;
struct coordinator_files;
struct coordinator_question;
struct flow_db;
struct http_client;
struct http_publisher;
struct inside;
struct loop;
struct mailbox;
struct redis_flow;
struct thread;

enum { /* Kinds of descriptors in its loop. */
    COORDINATOR_KIND_MAILBOX,
    COORDINATOR_KIND_REDIS,
    COORDINATOR_KIND_RESOLVE,
    COORDINATOR_KIND_HTTP,
    COORDINATOR_KIND_PUBLISHER,
};

enum { COORDINATOR_NAME_MAX = 64 };

struct coordinator {
    struct gateway *gateway;
    const struct config *config; /* That of the start: nothing here can be reloaded. */
    struct mailbox *mailbox;
    struct thread *thread;
    char name[COORDINATOR_NAME_MAX + 1];
    char dir[GATEWAY_PATH_BYTES]; /* Of the embedded store; "" : in memory, or Redis. */
    bool dir_usual;               /* Nobody chose it: memory will do when it cannot be used. */

    struct loop *loop;
    struct flow *flow;
    struct flow_store store;
    struct flow_db *db; /* One of these two. */
    struct redis_flow *redis;
    struct http_client *http;
    struct flow_http_client http_port;
    struct flow_publisher publisher;
    struct inside *inside; /* Publishes in this process; or else … */
    struct http_client *gateway_http;
    struct flow_http_client gateway_port;
    struct http_publisher *outside; /* … to a gateway. */
    uint64_t probed_ms;

    struct coordinator_files *files;        /* The directory of workflows, and samples. */
    struct coordinator_question *questions; /* Asked and not answered. */
    bool store_up;
    char store_why[COORDINATOR_WHY_MAX];
    bool gateway_up; /* True also where there is none. */
    char gateway_why[COORDINATOR_WHY_MAX];
    bool up; /* All of it, as the shards were told last. */
    char why[COORDINATOR_WHY_MAX];
    bool draining, drained, stopping;
    uint64_t drain_ms; /* When it began. */
};

/* ---- coordinator.c ---- */

/* Sends a letter to a shard, as the call it begins with. */
void coordinator_to_shard(struct coordinator *coordinator, uint16_t shard,
    void (*fn)(struct shard *shard, struct mail_call *call), struct coordinator_letter *letter);

/* ---- coordinator_thread.c ---- */

void coordinator_thread(void *arg);

/* ---- coordinator_store.c ---- */

/* Opens the store, and whoever publishes for it. Returns 0, or negative errno with a sentence. */
MUST_USE int coordinator_store_open(
    struct coordinator *coordinator, const struct flow_events_in *in, char *why, size_t why_cap);

/* Once the flow is there. */
void coordinator_store_start(struct coordinator *coordinator, const struct flow_events_in *in);

/* Once a turn, before the flow's. Returns after how many ms it wants another. */
uint64_t coordinator_store_turn(struct coordinator *coordinator, uint64_t now_ms);
/* … and after it: hands on what the flow asked for. As above. */
uint64_t coordinator_store_next(struct coordinator *coordinator, uint64_t now_ms);

/* Draining: nothing is handed out any more. Then: has it come to an end? */
void coordinator_store_drain(struct coordinator *coordinator);
bool coordinator_store_leave(struct coordinator *coordinator, uint64_t now_ms);

/* Everything is answered; and then, behind the flow, freed. */
void coordinator_store_shut(struct coordinator *coordinator);
void coordinator_store_close(struct coordinator *coordinator);

/* What the log calls it. */
const char *coordinator_store_name(const struct coordinator *coordinator);

/* ---- coordinator_outside.c: a publisher to the gateway that was named ---- */

MUST_USE int coordinator_outside_open(struct coordinator *coordinator, char *why, size_t why_cap);
/* Whatever is under way is answered: not published. NULL is fine. */
void coordinator_outside_close(struct coordinator *coordinator);
/* Once a turn: asks now and then whether the gateway is there. Returns after how many ms it wants another. */
uint64_t coordinator_outside_turn(struct coordinator *coordinator, uint64_t now_ms);

/* ---- coordinator_publish.c: a publisher within this process ---- */

MUST_USE int inside_create(struct coordinator *coordinator, struct inside **ret_inside);
struct flow_publisher inside_port(struct inside *inside);
/* Whatever is under way is answered, and whatever comes: not published. */
void inside_shut(struct inside *inside);
void inside_destroy(struct inside *inside);

/* ---- coordinator_http.c ---- */

/* The flow is gone: who still waits is told so. */
void coordinator_questions_end(struct coordinator *coordinator);

/* ---- coordinator_files.c ---- */

/* The directory can be read? Returns 0, or negative errno with a sentence. On the main thread. */
MUST_USE int coordinator_files_check(const char *dir, char *why, size_t why_cap);
void coordinator_files_open(struct coordinator *coordinator);
/* Once a turn: looks whether files changed, once a second. Returns after how many ms it wants another. */
uint64_t coordinator_files_turn(struct coordinator *coordinator, uint64_t now_ms);
/* Is it waiting for an answer of the flow's? */
bool coordinator_files_busy(const struct coordinator *coordinator);
/* Was all that there was at the start put, or found wanting? */
bool coordinator_files_settled(const struct coordinator *coordinator);
/* Behind the flow. */
void coordinator_files_close(struct coordinator *coordinator);

#endif
