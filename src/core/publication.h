/* Publication: one event, immutable once its home shard has numbered it.
 *
 * Whoever takes an event in makes the publication (one copy of the payload) and mails it to the
 * channel's home; from there on home owns it. Other shards read it while a chunk or a replay lends
 * it to them and give it back by mail, so the count is a plain number that only home touches.
 */
#ifndef CORE_PUBLICATION_H
#define CORE_PUBLICATION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "base/mail.h"
#include "core/cursor.h"

enum {
    PUBLICATION_MAY_REFUSE = 1, /* The publisher waits: home may tell it "busy". */
    PUBLICATION_UTF8 = 2,       /* The payload is valid UTF-8. */
    PUBLICATION_ACK_STORED = 4, /* The publisher is answered when it is stored. */
    PUBLICATION_INDEX = 8,      /* If it names a run it is kept there, too (core/run_index.h). */
    PUBLICATION_NUMBERED = 16,  /* The broker gave it its epoch and offset (core/shared.h). */
    PUBLICATION_EPHEMERAL = 32, /* In no history: it has no cursor, and moves none. Home's own. */
    /* Home's own: it is shown and acknowledged when the store answers; it is acknowledged then. */
    PUBLICATION_SHOW_STORED = 1 << 16,
};

/* What a publisher asks for. Spans are borrowed. */
struct publish_order {
    struct span name; /* The channel's, checked by name_check(). */
    struct span payload;
    struct span from;       /* A room client's name for itself; brokers put it in their envelope. */
    uint32_t flags;         /* PUBLICATION_* */
    uint32_t key;           /* Conflation key's hash; 0: none. */
    uint64_t once[2];       /* Idempotency key's hash; both 0: none. */
    uint64_t reply_id;      /* Names the waiting publisher; 0: nobody waits. */
    struct span once_text;  /* The idempotency key itself, for brokers; empty: none. */
    struct cursor numbered; /* With PUBLICATION_NUMBERED. */
};

struct publish_result {
    uint64_t reply_id;
    struct cursor cursor;
    bool has_cursor; /* False: the broker numbers nothing. */
    bool duplicate;  /* An earlier order had the same idempotency key; nothing was published. */
    int err; /* 0, -EBUSY (try again), -ENOMEM, -ENOTSUP (PUBLICATION_ACK_STORED, and its history
                      * is not), the store's (core/store.h), or the broker's. */
};

struct publication {
    struct mail mail;  /* On the way to its home. */
    uint64_t reply_id; /* The ingesting shard's name for the waiting publisher; 0: nobody. */
    uint32_t refs;     /* Home's. */
    uint32_t flags;
    uint64_t hash; /* Of the channel's name. */
    uint64_t epoch;
    uint64_t offset;
    uint64_t time_ns; /* Monotonic, when it came in. */
    uint64_t once[2]; /* Idempotency key's hash; both 0: none. */
    uint32_t key;     /* Conflation key's hash; 0: none. */
    uint32_t payload_len;
    uint16_t name_len;
    uint16_t reserved;
    uint8_t bytes[]; /* Channel name, then payload. */
};

/* Gives a publication with one reference and copies of name and payload; NULL without memory. */
MUST_USE struct publication *publication_create(
    const struct publish_order *order, uint64_t hash, uint64_t time_ns);

static inline struct span publication_name(const struct publication *pub)
{
    return span_of(pub->bytes, pub->name_len);
}

static inline struct span publication_payload(const struct publication *pub)
{
    return span_of(pub->bytes + pub->name_len, pub->payload_len);
}

/* What it costs to keep, bytes. */
static inline size_t publication_size(const struct publication *pub)
{
    return sizeof(*pub) + pub->name_len + pub->payload_len;
}

/* Home only: drops one reference. */
void publication_unref(struct publication *pub);

#endif
