/* Shared: home's side of a history that the broker keeps for several gateways.
 *
 * Events come with their epoch and offset; home shows them in order and keeps its ring as a copy. What it
 * missed (a jump in the offsets, a link that was lost) it fetches in pages and shows first; what comes
 * meanwhile is held back, within a bound. What is not kept any more becomes a gap for those who listen. A
 * listener's cursor that memory does not reach back to is answered from such pages, too, so cursors of
 * other gateways are good here.
 *
 * Events without numbers (PUBLISH by others) are shown and kept nowhere; they move no cursor.
 *
 * An epoch of Redis may come to an end without its saying so: after a fail-over offsets go back. Whoever
 * sees that has Redis begin another one.
 *
 * Runs on the home shard's thread; nothing here waits for Redis.
 */
#ifndef CORE_SHARED_H
#define CORE_SHARED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/mail.h"
#include "core/cursor.h"
#include "core/publication.h"
#include "core/store.h"

struct home;
struct mail_subscribe;
struct shard;

struct shared_ports {
    void *ctx;
    /* As the store's read (core/store.h), of STORE_FROM_BEGIN and STORE_FROM_AFTER. Of bounds epoch, first
     * and last are filled in. err -ENOTCONN, -ECONNRESET or -EBUSY: it may be asked for again later. What
     * is asked for after renew() sees its effect. */
    MUST_USE int (*read)(void *ctx, struct store_read *letter);
    /* If this is still the channel's epoch, it is to end; its offsets go on above this one. */
    void (*renew)(void *ctx, struct span name, struct cursor last);
    /* Publications come only of channels with interest (core/ports.h), from home_opened() on. False: all
     * come, whoever listens. */
    bool by_interest;
};

struct shared {
    const struct shared_ports *ports; /* NULL: no namespace is shared. */
    struct mail_chain waiting;        /* Letters to be asked again at a tick. */
    uint32_t letters;                 /* Asked and not answered. */
    uint64_t holes;                   /* Times that offsets jumped while home stood by. */
    uint64_t fetched;                 /* Missed, and fetched later. */
    uint64_t lost;                    /* Missed, and not kept any more. */
    uint64_t ephemeral;               /* Came without a number. */
};

enum { SHARED_HELD_MAX = 1024, SHARED_HELD_BYTES_MAX = 1024 * 1024 };

/* What a home has more when its history is shared; home_last() is the newest it has shown. */
struct shared_home {
    uint64_t epoch;         /* 0: not known yet. */
    uint64_t heard;         /* Newest that came by the link since it was last made. */
    struct mail_chain held; /* Publications beyond a hole. */
    uint32_t held_count;
    uint32_t serial; /* As other homes have it: how often everything may have missed something. */
    uint64_t held_bytes;
    bool filling;  /* A letter for what was missed is out, or waits. */
    bool unsure;   /* Something may have been missed. */
    bool renewing; /* Offsets went back; the next epoch is on its way. */
};

/* Before anything is published. ports are shared and outlive the shard. */
void shared_open(struct shard *shard, const struct shared_ports *ports);

/* ---- for home ---- */

bool shared_is(const struct shard *shard, const struct home *home);
MUST_USE int shared_init(struct home *home);
void shared_free(struct home *home);

/* Does everything that is published there come here? Otherwise only the broker knows where it stands. */
bool shared_is_fed(const struct shard *shard, const struct home *home);

/* Is it needed, whoever listens? */
bool shared_is_busy(const struct home *home);

/* Takes a publication in, numbered or not. Takes it. */
void shared_take(struct shard *shard, struct home *home, struct publication *pub);

/* Publications may have been missed. */
void shared_doubt(struct shard *shard, struct home *home);

/* From here on all publications come; what came before, nobody knows. */
void shared_opened(struct shard *shard, struct home *home);

/* Does the letter want what memory cannot say? Then shared_read() takes it, and answers it later. */
bool shared_wants_page(
    const struct shard *shard, const struct home *home, const struct mail_subscribe *mail);
void shared_read(struct shard *shard, struct home *home, struct mail_subscribe *mail);

/* A page came. Takes the letter. */
void shared_hear_read(struct shard *shard, struct mail *mail);

void shared_tick(struct shard *shard);
void shared_fini(struct shard *shard);

/* ---- between shared.c and shared_page.c ---- */

struct shared_read {
    struct store_read letter;    /* First. */
    struct mail_subscribe *mail; /* NULL: for what home missed. */
    struct cursor asked;         /* Where home stood then. */
    uint64_t deadline_ns;        /* Answered with reset then, Redis or not. */
};

/* The channel is in this epoch, all up to `last` is over: listeners start there anew. */
void shared_adopt(struct shard *shard, struct home *home, struct cursor last);
/* Has Redis begin another epoch. */
void shared_renew(struct shard *shard, struct home *home);
/* Asks for what follows home's last, unless that is under way. */
void shared_fill(struct shard *shard, struct home *home);
/* All up to and including `to` cannot be had any more. */
void shared_lose(struct shard *shard, struct home *home, uint64_t to);
/* What is held back and follows is shown. */
void shared_release_held(struct shard *shard, struct home *home);
/* Asks (again), now or at a tick. Takes it. */
void shared_ask(struct shard *shard, struct shared_read *read);

#endif
