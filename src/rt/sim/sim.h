/* Sim: a world with its own time and network, everything in it decided by one seed.
 *
 * Library `rt_sim` stands in for `rt` at link time: the same loop.h, timer.h, sock.h, clock.h,
 * mailbox.h, stream.h, resolve.h and the spare descriptors of fds.h, but no thread, no system call
 * and no waiting. A test builds its shards as the program does, names each one's turn, and steps:
 *
 *   struct sim *sim = sim_create(seed);
 *   sim_enter(sim);
 *   ... loop_create(), sock_listen(), mailbox_create() ...
 *   sim_drive(loop, shard_turn, shard);             // one turn: loop_poll() once, and its work
 *   struct sim_client *client = sim_client_connect(sim, "127.0.0.1:8084");
 *   sim_client_send(client, "…", len);
 *   sim_run_ms(sim, 5000);
 *
 * sim.c opens with what the world does and what it promises. One thread a world; several worlds may
 * run in several threads.
 */
#ifndef RT_SIM_SIM_H
#define RT_SIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/attr.h"

struct loop;
struct sim;
struct sim_client;

/* What may happen, and how often. _ppm: chances in a million. */
struct sim_options {
    uint32_t latency_min_us; /* One way, per segment. */
    uint32_t latency_max_us;
    uint32_t window_min; /* Bytes a direction holds before its sender must wait. */
    uint32_t window_max;
    uint32_t partial_ppm;  /* A send takes only some of the bytes, though there was room. */
    uint32_t split_ppm;    /* Bytes sent together arrive apart. */
    uint32_t spurious_ppm; /* A turn is told of something that did not happen. */
    uint32_t postpone_ppm; /* An event is told a turn later. */
    uint32_t cut_ppm;      /* A sender of mail is interrupted in the middle of posting. */
    uint32_t reset_ppm;    /* A segment resets its connection; 0 unless the test asks for it. */
    uint32_t turn_max_ns;  /* A turn takes up to this long. */
    uint32_t fd_limit;     /* Descriptors of one process. */
};

/* ---- The world ---- */

/* Gives a world; its options are drawn from the seed too, so that seeds differ in character. */
MUST_USE struct sim *sim_create(uint64_t seed);

/* Destroys what is left in it, clients too; loops must have been destroyed. NULL is fine. */
void sim_destroy(struct sim *sim);

/* From here on this thread's clock, sockets and mailboxes are those of sim. */
void sim_enter(struct sim *sim);

/* To be changed before the traffic they apply to. */
struct sim_options *sim_options(struct sim *sim);

/* Virtual time, from 0 (clock_now_ns() starts at one hour, so that no test meets zero). */
uint64_t sim_now_ms(const struct sim *sim);

/* The wall clock jumps, forwards or back; monotonic time does not. */
void sim_wall_jump(struct sim *sim, int64_t by_ms);

/* A random number from the world's seed, below bound: for the test's own decisions. */
uint64_t sim_random(struct sim *sim, uint64_t bound);

/* Stands for everything that has happened: equal for equal seeds and tests. */
uint64_t sim_trace_hash(const struct sim *sim);

/* Also writes each happening as a line; NULL ends it. */
void sim_trace_to(struct sim *sim, FILE *file);

/* ---- Time and turns ---- */

typedef void sim_turn_fn(void *ctx);

/* Names what a turn of loop is; sim_step() calls it when the loop would have returned from waiting.
 * Without a turn, the test polls the loop itself. NULL: no more turns. */
void sim_drive(struct loop *loop, sim_turn_fn *turn, void *ctx);

/* The loop gets no turn for this long: a stalled thread. */
void sim_pause(struct loop *loop, uint64_t ms);

/* Lets one thing happen: a turn, an arrival, or the passing of time up to the next of them. False
 * when nothing ever will by itself. */
bool sim_step(struct sim *sim);

/* Steps for this much virtual time. */
void sim_run_ms(struct sim *sim, uint64_t ms);

/* ---- Processes: whose descriptors are whose ---- */

/* Descriptors and loops made from here on belong to this process (0 at first; 0..99). While a turn
 * runs, it is its loop's process. */
void sim_process(struct sim *sim, uint32_t process);

/* Ends it as kill -9 does: its descriptors close, its loops get no more turns. Calls on its
 * descriptors are -EBADF from now on; the test frees the rest. A number is not used again. */
void sim_process_kill(struct sim *sim, uint32_t process);

/* Descriptors the process has open. */
uint32_t sim_process_fd_count(const struct sim *sim, uint32_t process);

/* ---- The network ---- */

/* Cuts off an address (as given to connect): nothing passes on connections to it and no new ones
 * come up, until it is mended; then everything goes on where it was. */
void sim_partition(struct sim *sim, const char *address, bool cut);

/* What rt/resolve.h answers for a host name: numeric, without port. */
void sim_name(struct sim *sim, const char *host, const char *numeric);

/* ---- Clients: the far ends that the test plays ---- */

enum sim_client_state {
    SIM_CLIENT_CONNECTING,
    SIM_CLIENT_OPEN,
    SIM_CLIENT_ENDED,   /* The server's end was reached; what came before can be received. */
    SIM_CLIENT_RESET,   /* The connection failed: sim_client_error(). */
    SIM_CLIENT_REFUSED, /* It never was. */
    SIM_CLIENT_GONE,    /* By our own kill or vanish. */
};

/* Begins to connect. Gives the client. */
MUST_USE struct sim_client *sim_client_connect(struct sim *sim, const char *address);

/* Closes as a program that ends does; takes the client. NULL is fine. */
void sim_client_free(struct sim_client *client);

enum sim_client_state sim_client_state(const struct sim_client *client);
int sim_client_error(const struct sim_client *client); /* Negative errno; 0: none. */

/* "10.0.0.7:40007": what sock_peer_name() says at the other end. */
const char *sim_client_name(const struct sim_client *client);

/* Sends all of it, as fast as the connection takes it. */
void sim_client_send(struct sim_client *client, const void *data, size_t len);

/* Bytes handed to sim_client_send() that the connection has not taken yet. */
size_t sim_client_unsent(const struct sim_client *client);

/* Takes up to cap bytes of what has arrived; returns how many. */
size_t sim_client_recv(struct sim_client *client, void *buf, size_t cap);

/* What has arrived and not been taken: borrowed until the next step or call. */
const uint8_t *sim_client_peek(const struct sim_client *client, size_t *ret_len);

/* A stalled client does not read: the window fills and the server is told "not now". */
void sim_client_stall(struct sim_client *client, bool stalled);

/* Bytes the server may have under way to this client. */
void sim_client_window(struct sim_client *client, uint32_t bytes);

/* No more will be sent; still reads. */
void sim_client_shutdown(struct sim_client *client);

/* The connection is reset. */
void sim_client_kill(struct sim_client *client);

/* The machine loses power: nothing is told to anybody. */
void sim_client_vanish(struct sim_client *client);

#endif
