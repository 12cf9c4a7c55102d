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
    MAIL_EPOCH,  /* struct mail_epoch: home → listener */
    MAIL_STORE_APPEND, /* The store's letters on their way back: core/store.h, core/durable.h. */
    MAIL_STORE_READ,
    MAIL_STORE_CLEAR,
    MAIL_SHARED_READ, /* The broker's page on its way back: core/shared.h. */
    MAIL_CALL,        /* struct mail_call: anybody → a shard */
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

/* Asks for publications after `since`, one page of them, and (interest) for those to come. The page
 * that reaches the end makes the listener live in the same step; until then it asks again. */
struct mail_subscribe {
    struct mail mail;
    uint64_t hash;
    uint64_t request_id; /* The listener's; the same for all pages. */
    struct since since;
    bool interest;  /* False: history only. */
    bool continued; /* Another page; since is where the last one ended. */
    uint32_t
        page_count; /* Publications in the page, at most. 0: none, only what there is to say. */
    uint32_t page_bytes; /* Their bytes, at most; but always one publication. */
    /* The answer. */
    uint8_t state;        /* enum subscribe_state */
    bool more;            /* The page does not reach the end. */
    bool failed;          /* Home had no memory: it does not know of this listener. */
    struct cursor from;   /* Where the page begins: what came before it is not in it. */
    struct cursor cursor; /* Where the listener stands after the page. */
    uint64_t lost;        /* Continued: so many right before `from` are not kept any more. */
    uint32_t replay_count;
    struct publication **replay; /* Lent. */
    uint16_t name_len;
    char name[];
};

/* The channel's history began anew at home. */
struct mail_epoch {
    struct mail mail;
    uint64_t hash;
    struct cursor cursor; /* Where it stands now. */
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
