/* The letters shards send each other. Each is given whole; chunks and replays go back to home,
 * which alone counts references to publications. */
#ifndef CORE_MAIL_H
#define CORE_MAIL_H

#include <stdint.h>

#include "base/mail.h"
#include "core/cursor.h"
#include "core/publication.h"

struct shard;

enum mail_kind {
    MAIL_PUBLISH,     /* struct publication: ingest → home */
    MAIL_PUBLISHED,   /* struct mail_published: home → ingest */
    MAIL_CREDIT,      /* struct mail_credit: home → ingest, that many bytes were taken in */
    MAIL_CHUNK,       /* struct mail_chunk: home → listener */
    MAIL_CHUNK_BACK,  /* the same struct, on its way back */
    MAIL_BEHIND,      /* struct mail_behind: home → listener */
    MAIL_SUBSCRIBE,   /* struct mail_subscribe: listener → home; becomes the answer */
    MAIL_SUBSCRIBED,  /* the same struct: home → listener */
    MAIL_REPLAY_BACK, /* the same struct: listener → home, gives the publications back */
    MAIL_UNSUBSCRIBE, /* struct mail_unsubscribe: listener → home */
    MAIL_LISTEN, /* struct mail_unsubscribe: listener → home, after an import: go on sending */
    MAIL_CALL,   /* struct mail_call: anybody → a shard */
};

struct mail_published {
    struct mail mail;
    struct publish_result result;
};

struct mail_credit {
    struct mail mail;
    uint64_t bytes;
};

enum { CHUNK_PUBLICATIONS = 64 };

struct mail_chunk {
    struct mail mail;
    uint32_t count;
    uint64_t bytes;
    struct publication *pubs[CHUNK_PUBLICATIONS];
};

struct mail_behind {
    struct mail mail;
    uint64_t hash;
    uint64_t from, to; /* Offsets, inclusive. */
    uint32_t count;
    uint16_t name_len;
    char name[];
};

enum subscribe_state { SUBSCRIBE_LIVE, SUBSCRIBE_REPLAYED, SUBSCRIBE_RESET };

struct mail_subscribe {
    struct mail mail;
    uint64_t hash;
    uint64_t request_id; /* The listener's. */
    struct since since;
    bool interest;  /* False: history only. */
    uint32_t limit; /* History only: at most this many; 0: all. */
    /* The answer. */
    uint8_t state;        /* enum subscribe_state */
    bool more;            /* History only: the limit cut it off. */
    bool failed;          /* Home had no memory: it does not know of this listener. */
    struct cursor cursor; /* Where the listener stands after the replay. */
    uint32_t replay_count;
    struct publication **replay; /* Lent. */
    uint16_t name_len;
    char name[];
};

struct mail_unsubscribe {
    struct mail mail;
    uint64_t hash;
    uint16_t name_len;
    char name[];
};

/* Runs fn on the receiving shard's thread; fn owns the struct from then on. */
struct mail_call {
    struct mail mail;
    void (*fn)(struct shard *shard, struct mail_call *call);
};

#endif
