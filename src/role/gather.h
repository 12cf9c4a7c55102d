/* Gather: one question to several shards, one answer to the HTTP exchange that asked.
 *
 * Each shard asked gets a part by mail, fills it on its own thread and mails it back: a part belongs
 * to whoever has the letter, so nothing is shared and nothing is locked. A shard that has much to
 * look through works in steps, one a turn. When the last part is in, the exchange is answered, if it
 * is still there; its connection may have gone meanwhile.
 *
 * Bounded: what one asking shard has under way may weigh GATHER_WEIGHT_MAX at most; past that the
 * exchange is told 503.
 */
#ifndef ROLE_GATHER_H
#define ROLE_GATHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/mail.h"
#include "http/session.h"

struct gateway_shard;
struct gather;
struct gather_question;

enum { GATHER_WEIGHT_MAX = 64 };
#define GATHER_ALL UINT64_MAX

/* First in the part of each question. */
struct gather_part {
    struct mail_call call;
    const struct gather_question *question;
    struct gather *gather; /* The asking shard's. */
    uint16_t asker;
    uint16_t shard;
};

struct gather_question {
    size_t part_size;
    uint32_t weight; /* By the memory its answers take. */

    /* On the shard that was asked. False: there is more to do, call again in the next turn. */
    bool (*fill)(struct gateway_shard *gs, struct gather_part *part);

    /* On the asking shard: answers x from the parts. */
    void (*answer)(struct gateway_shard *gs, struct http_exchange *x, struct gather *gather);

    /* Frees what hangs off a part; NULL: nothing. On the asking shard. */
    void (*part_fini)(struct gather_part *part);
};

/* Gives a gather with a zeroed part for each shard of the set (those there are), for the caller to
 * put the question into; or answers x with 503 and gives NULL. */
struct gather *gather_create(
    struct http_exchange *x, const struct gather_question *question, uint64_t shards);

/* Sends the parts off. Takes the gather; answer() follows, in a later turn. */
void gather_send(struct gather *gather);

/* The part of a shard; NULL when it was not asked. */
struct gather_part *gather_part(const struct gather *gather, uint16_t shard);

#endif
