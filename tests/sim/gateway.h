/* A whole gateway in one thread: shards with their clients' side, mailboxes between them and the
 * embedded broker, over the simulated runtime. What role does with threads is done here by turns. */
#ifndef TESTS_SIM_GATEWAY_H
#define TESTS_SIM_GATEWAY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/gauge.h"
#include "base/mail.h"
#include "conn/server.h"
#include "core/settings.h"
#include "rt/sim/sim.h"
#include "rt/timer.h"

enum { GATEWAY_SHARDS_MAX = 4, GATEWAY_CLIENTS_FEW = 5 };

struct gateway;
struct mailbox;

struct gateway_shard {
    struct gateway *gateway;
    uint16_t index;
    struct loop *loop;
    struct mailbox *mailbox;
    struct conn_server *server;
    struct mail_chain out[GATEWAY_SHARDS_MAX];
    struct timer tick;
    bool busy;
};

struct gateway {
    struct sim *sim;
    struct core_settings settings;
    struct conn_options options;
    struct gauge connections;
    uint16_t shard_count;
    struct gateway_shard shards[GATEWAY_SHARDS_MAX];
    bool draining;
    uint32_t moves; /* Done by gateway_move(). */
};

#define GATEWAY_ADDRESS "127.0.0.1:8084"

/* Starts one whose settings are drawn from the world's seed. */
void gateway_start(struct gateway *gateway, struct sim *sim);

/* Closes all clients, works off the last mail, checks that nothing is left. */
void gateway_stop(struct gateway *gateway);

/* Stops accepting and closes everybody, as at the end of the program. */
void gateway_drain(struct gateway *gateway);

/* Exports all shards and connections and takes them up again in so many new shards, if nothing is in
 * the way just now. */
bool gateway_move(struct gateway *gateway, uint16_t shard_count);

/* The books of every connection and of each shard balance. */
void gateway_check_books(struct gateway *gateway);

/* No letter, no batch and no outbox holds anything. */
bool gateway_quiet(const struct gateway *gateway);

/* The books of the connection whose peer has this name; false when there is none. */
bool gateway_books(struct gateway *gateway, const char *peer, struct books *ret_books);

/* Calls fn for each publication that is kept. */
void gateway_each_kept(
    struct gateway *gateway, void (*fn)(void *ctx, const struct publication *pub), void *ctx);

#endif
