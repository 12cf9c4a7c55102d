/* What the files of publishing share: one request until all of its channels are answered. */
#ifndef CONN_PUBLISH_OWN_H
#define CONN_PUBLISH_OWN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "core/publication.h"
#include "rt/timer.h"

struct conn_server;

enum { PUBLISH_CHANNELS_MAX = 100 };

struct publish_item {
    uint32_t start, len; /* In names. */
    bool waiting;        /* Not asked for yet, or to be asked for again. */
    struct publish_result result;
};

struct publish_request {
    struct publish_request *next, **link; /* In server->publishing; link NULL: not there yet. */
    struct conn_server *server;
    uint64_t peer;
    bool command;       /* From fanout.v1; otherwise from HTTP, unless done is set. */
    bool due;           /* In server->publishes_due. */
    bool kept;          /* It goes out in portions: payload and key are copies, and counted. */
    uint32_t flags;     /* PUBLICATION_*, that the publisher asked for. */
    uint32_t slot;      /* In server->publishes. */
    uint32_t remaining; /* Channels not answered yet, plus one while they are being asked for. */
    uint32_t waiting;   /* Of them, items that wait. */
    uint32_t count, cap;
    uint32_t pause_ms;  /* Before those that were busy are asked for again. */
    uint64_t under_way; /* Bytes of what is asked for and not answered. */
    uint64_t begun_ms;
    struct publish_request *due_next;
    void (*done)(void *ctx, const struct publish_result *result); /* Of this process itself. */
    void *done_ctx;
    struct timer pause;
    struct span payload, key; /* Unless kept, only while publish_send() runs. */
    struct bytes names;
    struct bytes id;     /* The command's id, raw JSON. */
    struct bytes copies; /* Of payload and key. */
    struct publish_item *items;
    struct publish_item one; /* Where items points while there is just one. */
};

/* ---- publish_send.c ---- */

/* Gives a request without channels; NULL without memory. */
MUST_USE struct publish_request *publish_request_new(uint64_t peer);
void publish_request_free(struct publish_request *request);

/* Sends one order for each channel, as many at a time as may be under way. Takes the request; the last
 * answer frees it. Spans are borrowed. */
void publish_send(struct conn_server *server, struct publish_request *request, struct span payload,
    struct span key);

/* ---- publish.c ---- */

/* All channels are answered: tells the publisher, if it is still there. */
void publish_answer(struct conn_server *server, struct publish_request *request);

#endif
