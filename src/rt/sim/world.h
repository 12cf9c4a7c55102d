/* World: what the files of rt_sim share. */
#ifndef RT_SIM_WORLD_H
#define RT_SIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"
#include "rt/address.h"
#include "rt/sim/sim.h"
#include "rt/timer.h"
#include "rt/wheel.h"

struct file;
struct mailbox;
struct wire;

/* ---- Things to come ---- */

enum event_kind {
    EVENT_NONE,        /* Its object is gone. */
    EVENT_CONNECT,     /* A wire asks its listener. */
    EVENT_ESTABLISHED, /* The answer reaches the connecting end. */
    EVENT_SEGMENT,     /* len bytes reach the other end. */
    EVENT_ACK,         /* The news that len bytes were read reaches the sender. */
    EVENT_FIN,         /* The end of a direction is reached. */
    EVENT_RESET,       /* The wire is reset, at end `side`. */
    EVENT_TIMEOUT,     /* Bytes of `side` have been under way for too long. */
    EVENT_UNCHOKE,     /* A direction that took less than it could has room again. */
    EVENT_MEND,        /* A sender of mail goes on. */
};

struct event {
    uint64_t at_ns;
    uint64_t seq; /* Orders what happens at the same time. */
    enum event_kind kind;
    uint8_t side; /* The end that sent it; for EVENT_RESET the one it reaches. */
    void *object; /* The wire or mailbox. */
    uint64_t len;
};

void event_add(struct sim *sim, uint64_t at_ns, enum event_kind kind, void *object, uint8_t side,
    uint64_t len);

/* Nothing to come concerns object any more. */
void event_forget(struct sim *sim, const void *object);

/* ---- The network ---- */

/* Somewhere to connect to; remembered for ever, so that it can be cut off beforehand. */
struct place {
    struct place *next;
    bool cut;
    char text[ADDRESS_TEXT_MAX]; /* Canonical. */
};

/* One direction of a wire: a bounded queue of bytes, the older ones arrived, the rest under way. */
struct pipe {
    uint8_t *data; /* Bytes not yet read, from head on. */
    size_t cap, head, len;
    size_t arrived; /* Of len: can be read. */
    size_t unacked; /* Read, but the sender does not know: its window is still smaller. */
    size_t window;
    uint64_t last_ns; /* Arrival of the youngest segment: none overtakes another. */
    bool fin_sent, fin_arrived;
    bool dead;    /* Reset: whatever is still under way never arrives. */
    bool choked;  /* Pretends to be full until EVENT_UNCHOKE. */
    bool nospace; /* The sender met a full pipe and must be told of room. */
    bool timing;  /* An EVENT_TIMEOUT is to come. */
};

struct end {
    struct wire *wire;
    uint8_t side;
    bool open;        /* Somebody holds it. */
    bool established; /* Bytes may be sent. */
    bool broken;      /* Reset or refused. */
    int error;        /* Told once, then 0; errno. */
    uint32_t user_timeout_ms;
    struct file *file;         /* Holder: a descriptor, */
    struct sim_client *client; /* or a client; neither: waits to be accepted. */
    struct end *next_waiting;  /* In the listener's queue. */
    char name[ADDRESS_TEXT_MAX];
};

struct wire {
    struct sim *sim;
    struct wire *next, **link; /* All wires. */
    uint64_t id;
    struct place *place;
    bool frozen;          /* A vanished client's. */
    uint32_t event_count; /* To come; the wire lives until they are over. */
    struct event *parked; /* What would have happened while cut off, in order. */
    size_t parked_count, parked_cap;
    struct pipe pipes[2]; /* By the end that writes. */
    struct end ends[2];   /* 0 connected, 1 was accepted. */
};

/* Starts a wire from an end of the caller's to address. Returns 0 or -EINVAL. */
MUST_USE int wire_connect(struct sim *sim, const char *address, struct end **ret_end);
void wire_event(struct sim *sim, const struct event *event);
void wires_thaw(struct sim *sim, const struct place *place);
void wire_free_all(struct sim *sim);
struct place *place_of(struct sim *sim, const char *text);

/* As the system calls. */
long end_send(struct end *end, const void *data, size_t len);
long end_recv(struct end *end, void *buf, size_t len);
void end_shutdown(struct end *end);
void end_close(struct end *end);
void end_reset(struct end *end);
uint32_t end_events(const struct end *end);

/* ---- Descriptors ---- */

enum { PROCESSES_MAX = 100, PROCESS_FDS = 1000000 }; /* Process p has [(p+1)e6, (p+2)e6). */

enum file_kind { FILE_END, FILE_LISTENER, FILE_WAKE, FILE_SPARE };

struct watch {
    struct loop *loop;
    struct file *file;
    uint64_t id;
    uint32_t how;
    uint32_t watch_index; /* In loop->watches. */
    uint32_t ready_index; /* In loop->ready; UINT32_MAX: not there. */
    uint8_t kind;
    bool changed;  /* By edge: something to tell. */
    bool spurious; /* Tell something, whatever is true. */
};

struct file {
    enum file_kind kind;
    int fd;
    struct watch **watches;
    uint32_t watch_count, watch_cap;

    struct end *end; /* FILE_END */

    struct place *place; /* FILE_LISTENER */
    struct file *next_listener;
    bool any_host, reuse_port;
    uint16_t port; /* 0: unix. */
    uint32_t user_timeout_ms;
    uint32_t backlog, waiting_count;
    struct end *waiting_first, *waiting_last;

    uint64_t wake_count; /* FILE_WAKE */
};

struct process {
    struct file **files; /* By number, NULL: closed. */
    uint32_t file_cap, file_count;
    uint32_t low; /* No smaller number is free: like the kernel, the lowest is given next. */
    bool killed;
};

/* The descriptor's file; NULL in a killed process. A number that is not open is a bug: CHECK. */
struct file *file_of(int fd);

/* Returns a new file in the current process, or -EMFILE. */
MUST_USE int file_open(struct sim *sim, enum file_kind kind, struct file **ret_file);
void file_close(struct sim *sim, struct file *file);

/* What a level-triggered watcher would be told. */
uint32_t file_events(const struct file *file);

/* Something about the file changed: bits of LOOP_*. */
void file_notify(struct sim *sim, struct file *file, uint32_t events);

/* ---- Others ---- */

void client_notify(struct sim_client *client);
void mailbox_mend(struct mailbox *box);

struct loop_schedule {
    uint64_t next_ns; /* When it wants a turn; UINT64_MAX: never. */
    bool driven;
};
void loop_unwatch_file(struct file *file);
struct loop_schedule loop_schedule(struct loop *loop);
void loop_turn(struct loop *loop);

struct sim_host {
    struct sim_host *next;
    char *host, *numeric;
};

struct sim {
    struct sim_options options;
    struct rng rng;
    uint64_t now_ns;
    uint64_t wall_ns; /* Wall time at now_ns 0. */
    uint64_t hash;
    FILE *trace_file;

    struct event *heap;
    size_t event_count, event_cap;
    uint64_t event_seq;

    struct process processes[PROCESSES_MAX];
    uint32_t process;

    struct loop **loops;
    uint32_t loop_count, loop_cap;

    struct place *places;
    struct file *listeners;
    struct wire *wires;
    struct sim_client *clients;
    struct sim_host *hosts;
    uint64_t wire_id;
    uint32_t client_number;
    uint16_t next_port;
};

/* The world this thread is in; CHECKs that there is one. */
struct sim *world(void);

bool chance(struct sim *sim, uint32_t ppm);
uint64_t latency_ns(struct sim *sim);

/* One happening, for the hash and the trace file. */
void trace(struct sim *sim, const char *what, uint64_t a, uint64_t b, uint64_t c);

#endif
