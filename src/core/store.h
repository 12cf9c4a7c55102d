/* Store port: what home asks of a durable history, as letters that go out and come back.
 *
 * A request is given to a function of struct store_ports on any shard's thread. None of them waits
 * for a disk. They return 0 and take the letter until it comes back, filled in, in the mailbox of the
 * shard named by letter.mail.from, its mail.kind as it was; or a negative errno, and the letter was
 * not taken: -EBUSY past a bound (try again later), -EMSGSIZE an append of more bytes than an eighth of
 * the disk budget, -ESHUTDOWN when the store is closing.
 *
 * Requests to change something (append, clear) are carried out in the order they were given by
 * each shard. A read sees every append that was answered before it was asked for.
 */
#ifndef CORE_STORE_H
#define CORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "base/mail.h"
#include "core/history.h"
#include "core/name.h"
#include "core/publication.h"

/* Who numbers, and with which numbers. */
struct store_identity {
    uint64_t store_id;   /* 40 random bits, drawn when the store was made. */
    uint64_t secret[2];  /* As lasting: what idempotency keys and channels are to be hashed with, so
                          * that they mean the same after a restart. */
    uint32_t generation; /* Offsets are given from history_start(generation) + 1 on. */
    uint32_t serial;     /* Of the epochs of what it keeps; home counts on from its own. */
};

/* What all letters begin with. */
struct store_letter {
    struct mail mail; /* kind and from: the sender's; both stay. */
    int32_t err;      /* The answer: 0 or negative errno. */
    uint8_t request;  /* The store's. */
};

enum {
    STORE_APPEND_MAX = 64,  /* Publications in a letter. */
    STORE_LETTER_SHARE = 8, /* A letter may have this part of the disk budget. */
};

/* A namespace's bounds; they are applied to the channel with the append. */
struct store_limits {
    uint32_t messages; /* 0: no record is kept (an idempotency key still is). */
    uint64_t bytes;    /* Payloads and 32 bytes each; 0: no bound. */
    uint64_t age_ms;   /* 0: no bound. */
};

struct store_entry {
    /* Lent: it stays as it is until the letter is back. Offset and idempotency key (with the epoch, for
     * its cursor) are read. */
    struct publication *pub;
    struct store_limits limits;
    /* The channel's number before this one, when its event was delivered without waiting for the store. If
     * it was not stored, history up to it is forgotten in one step with this append: nobody ever goes on
     * from before what is missing. 0: there was none, or it is not known. */
    uint64_t follows;
    int32_t err; /* The answer, when the letter's is 0. */
};

/* Answered once it is durable. A channel's offsets must grow. The letter's err says what became of all
 * of it, and when it is 0 each entry's what became of that one.
 *
 * The letter: -ENOSPC  the disk or the budget is full; nothing was written, later appends may succeed
 *             -EIO     the store failed and takes no more appends until the process starts again
 *             -ENOMEM  nothing was written
 * An entry:   -ESTALE  its offset is not one of the present identity
 *             -EINVAL  its offset did not grow, or its name or payload is too large */
struct store_append {
    struct store_letter letter;
    uint64_t bytes;   /* The store's: what it counts as in flight. */
    uint64_t time_ms; /* Since 1970: when these came in. */
    uint32_t count;
    struct store_entry entries[STORE_APPEND_MAX];
};

enum store_from {
    STORE_FROM_BEGIN, /* All that is kept. */
    STORE_FROM_AFTER, /* What follows an offset, which need not exist. */
    STORE_FROM_LAST,  /* The newest count_max. */
};

enum { STORE_PAGE_BYTES = 64 * 1024 };

/* Reads a page, oldest first. With count_max 0 it is a look at the bounds.
 *
 * err: -EBADMSG something is damaged. damaged: up to which offset; declare a gap and ask again after
 *                it. 0: the channel's state cannot be read, its history is lost
 *      -EIO     the file cannot be read
 *      -ENOMEM */
struct store_read {
    struct store_letter letter;
    uint8_t from;       /* enum store_from */
    uint64_t after;     /* STORE_FROM_AFTER */
    uint32_t count_max; /* Records. */
    uint32_t bytes_max; /* What publication_size() adds up to; one is given in any case. 0 or more
                         * than STORE_PAGE_BYTES: STORE_PAGE_BYTES. */
    uint64_t hash;      /* Of the name; the publications get it. */
    /* The answer. The array is to be freed with mem_free(); each publication has one reference, which
     * is the receiver's. */
    struct history_bounds bounds; /* found: about `after`. */
    struct publication **pubs;    /* NULL when there are none. */
    uint32_t count;
    bool more; /* There are records after the last one given. */
    uint64_t damaged;
    uint16_t name_len;
    char name[NAME_MAX_BYTES];
};

/* Forgets a channel's records up to and including an offset, which becomes the trim boundary. The
 * offset may be one that no record had: then nobody from before continues. It is durable when it is
 * answered; the space of a long history is won back in the background. */
struct store_clear {
    struct store_letter letter;
    uint64_t up_to;
    uint16_t name_len;
    char name[NAME_MAX_BYTES];
};

struct store_ports {
    void *ctx;
    MUST_USE int (*append)(void *ctx, struct store_append *letter);
    MUST_USE int (*read)(void *ctx, struct store_read *letter);
    MUST_USE int (*clear)(void *ctx, struct store_clear *letter);
};

#endif
