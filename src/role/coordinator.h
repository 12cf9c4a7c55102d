/* Coordinator: the thread that runs workflows (flow/flow.h), beside the shards that clients speak to.
 *
 * A thread of its own, since its store waits for the disk and a shard must not. Shards reach it by
 * letters, and it reaches them by theirs; nothing is shared.
 */
#ifndef ROLE_COORDINATOR_H
#define ROLE_COORDINATOR_H

#include <stddef.h>

#include "base/attr.h"
#include "core/mail.h"
#include "http/route.h"

struct coordinator;
struct gateway;

/* A letter to the coordinator. It may be sent back to a shard as the call that it begins with. */
struct coordinator_letter {
    struct mail_call call;
    /* On the coordinator's thread; owns the letter. After the thread ended: with coordinator NULL, on the
     * main thread, to be freed. */
    void (*hear)(struct coordinator *coordinator, struct coordinator_letter *letter);
};

/* Gives a coordinator that does nothing yet. Logs what is wrong. Returns 0 or negative errno. */
MUST_USE int coordinator_create(struct gateway *gateway, struct coordinator **ret_coordinator);

/* Begins its thread, which reports its start to the gateway. Before any thread has a descriptor table of
 * its own. Returns 0 or negative errno. */
MUST_USE int coordinator_start(struct coordinator *coordinator);

/* What shards wake it by. */
int coordinator_wake_fd(const struct coordinator *coordinator);

/* From any thread: takes the letter. */
void coordinator_post(struct coordinator *coordinator, struct coordinator_letter *letter);

/* No new work: it finishes what is under way, and reports that to the gateway. */
void coordinator_drain(struct coordinator *coordinator);

/* Ends the thread and waits for it. What it was asked and could not answer is answered 503. */
void coordinator_stop(struct coordinator *coordinator);

/* Behind the shards: letters of theirs may still have been under way. NULL is fine. */
void coordinator_destroy(struct coordinator *coordinator);

/* The API of contracts.md 3; ends with a NULL pattern. */
extern const struct route coordinator_routes[];

#endif
