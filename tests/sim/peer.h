/* Peer: a client that the simulation plays, with all it must remember to tell right from wrong.
 *
 * Speaks HTTP and WebSocket in bytes over a simulated connection. Whatever it receives is checked at
 * once: offsets without holes but those a gap notice names, answers to commands and requests in
 * order, nothing after an unsubscription, no event twice.
 */
#ifndef TESTS_SIM_PEER_H
#define TESTS_SIM_PEER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "proto/http1_response.h"
#include "proto/ws.h"
#include "rt/sim/sim.h"
#include "tests/sim/gateway.h"
#include "tests/sim/ledger.h"

enum peer_kind {
    PEER_USER,
    PEER_ROOM,
    PEER_CHANNELS,
    PEER_V1,
    PEER_HTTP,
    PEER_SSE,
    PEER_SSE_RAW,
    PEER_POLL,
    PEER_KINDS
};

enum peer_phase {
    PEER_HANDSHAKE,
    PEER_OPEN,
    PEER_CLOSING, /* A close frame went out or came in. */
    PEER_ENDED,
};

enum { PEER_ASKED_MAX = 64 };

/* What the peer knows of one channel it follows. */
struct follow {
    bool active;       /* Between a state notice and the answer to unsubscribe. */
    bool skips;        /* Its namespace, or its filter, may skip without a word. */
    uint64_t expected; /* The next offset. */
};

/* A command or a request that is not answered yet. */
struct asked {
    uint32_t id;
    int channel; /* -1: none. */
    enum { ASKED_PUBLISH, ASKED_SUBSCRIBE, ASKED_UNSUBSCRIBE, ASKED_HISTORY, ASKED_PING } what;
    uint32_t event;    /* ASKED_PUBLISH */
    uint32_t channels; /* ASKED_PUBLISH over HTTP: bit set. */
    bool again;        /* With a key that was used before: the same cursor must come back. */
    uint64_t key;      /* Idempotency key; 0: none. */
};

struct peer {
    struct gateway *gateway;
    struct ledger *ledger;
    struct sim *sim;
    struct sim_client *client;
    enum peer_kind kind;
    enum peer_phase phase;
    bool deflate;      /* Agreed on. */
    bool offered;      /* Deflate was offered. */
    bool bundles;      /* Asked for batch_ms: events come in arrays. */
    uint32_t only;     /* Asked for this type alone; 0: for all. */
    bool rude;         /* Sent garbage or broke off: expects nothing in return. */
    bool stalled;      /* Now. */
    bool was_slow;     /* Stalled or did not answer pings at some time: may be cut off. */
    bool mute;         /* Answers no pings. */
    bool half;         /* Has shut down its sending side. */
    uint64_t spoke_ms; /* HTTP: when the last request was sent, or the connection made. */
    bool cut;          /* HTTP: a reply said that it was the last one. */
    bool refused;      /* The upgrade was answered with another status than 101. */
    uint8_t nonce[16];
    struct http_response_reader *http;
    struct bytes in, body;
    struct ws_message message;
    struct ws_inflater *inflater; /* Shared by all peers. */
    uint16_t close_code;          /* 0: no close frame came. */
    struct follow follows[LEDGER_CHANNELS];
    int channel;       /* Raw kinds: the only one. */
    uint32_t received; /* Publications. */
    uint32_t *raw;     /* Raw kinds: events in the order they came. */
    uint32_t raw_cap;
    struct asked asked[PEER_ASKED_MAX]; /* HTTP: in the order of the requests. */
    uint32_t asked_count, next_id;
    struct {                  /* Streams. */
        struct bytes last_id; /* What EventSource would come back with. */
        struct bytes event, data, id;
        bool has_id;
        uint32_t channels;               /* Bit set; in the order of the ledger. */
        uint64_t since[LEDGER_CHANNELS]; /* Asked for; 0: not a cursor. */
        bool opened;
        bool said_why; /* A comment told the reason of the end. */
    } stream;
    struct {
        struct bytes cursor; /* Of the last answer. */
        uint32_t channels;
        bool asked;
        bool from_cursor; /* The poll that is out has a since. */
    } poll;
    struct { /* The last publication that was acknowledged with a key. */
        uint64_t key, offset;
        int channel;
        uint32_t event;
    } once;
};

/* Connects and sends the upgrade (or nothing yet, for HTTP). */
struct peer *peer_create(struct gateway *gateway, struct ledger *ledger,
    struct ws_inflater *inflater, enum peer_kind kind);
void peer_destroy(struct peer *peer);

/* Reads what has come and checks it. */
void peer_pump(struct peer *peer);

/* Does something that suits its kind. */
void peer_act(struct peer *peer);

/* The world has come to rest: has it got all it is owed? */
void peer_check_rest(struct peer *peer);

/* Everybody was closed: did it hear so in the right way? */
void peer_check_drained(struct peer *peer);

#endif
