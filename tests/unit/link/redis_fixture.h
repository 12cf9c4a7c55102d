/* A real redis-server on a free port, a link to it on a loop of our own, and what the link told.
 * Control goes through hiredis's own blocking client, so that nothing of ours is on both ends. */
#ifndef TESTS_UNIT_LINK_REDIS_FIXTURE_H
#define TESTS_UNIT_LINK_REDIS_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/bytes.h"
#include "link/redis_link.h"

struct redisReply;

struct server {
    pid_t pid;
    uint16_t port;
    uint16_t tls_port; /* 0: none. */
    char dir[64];
    char unix_path[96];
    struct redisContext *control; /* NULL: not connected. */
};

/* extra: further arguments, NULL-terminated; may be NULL. tls: make certificates and open a TLS
 * port too. */
void server_start(struct server *server, const char *const *extra, bool tls);
void server_run_again(struct server *server, const char *const *extra);
void server_kill(struct server *server, int signal_number);
void server_stop(struct server *server);

/* Runs a command; free the reply with freeReplyObject(). */
struct redisReply *server_ask(
    struct server *server, int argc, const char **argv, const size_t *lens);
/* The same for words without spaces in one text; gives an integer reply, or -1. */
long long server_do(struct server *server, const char *words);

struct fixture {
    struct loop *loop;
    struct redis_link *link;
    enum redis_state state;
    char sentence[640];
    uint32_t state_changes;
    bool busy; /* on_message declines. */
    uint64_t message_count, live_count, dropped_count, published_count;
    struct bytes channel, payload; /* Of the last message. */
    struct bytes log;              /* "channel=payload\n" of every message, if short. */
    uint64_t published_id;
    int published_err;
    int64_t published_receivers;
    char published_why[320];
};

struct redis_options server_options(const struct server *server);
void fixture_start(struct fixture *fixture, const struct redis_options *options);
void fixture_stop(struct fixture *fixture);

/* Turns the loop until the number is at least this, or fails after timeout_ms. */
typedef bool fixture_fn(struct fixture *fixture, void *arg);
bool fixture_run(struct fixture *fixture, uint32_t timeout_ms, fixture_fn *until, void *arg);
void fixture_run_ms(struct fixture *fixture, uint32_t ms);
bool fixture_wait_state(struct fixture *fixture, enum redis_state state, uint32_t timeout_ms);
bool fixture_wait_count(
    struct fixture *fixture, const uint64_t *count, uint64_t at_least, uint32_t timeout_ms);
uint64_t now_ms(void);

#endif
