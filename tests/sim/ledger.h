/* Ledger: what is known of every publication, from whoever saw it: one offset, one event. */
#ifndef TESTS_SIM_LEDGER_H
#define TESTS_SIM_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

enum { LEDGER_CHANNELS = 12, LEDGER_OFFSETS_MAX = 8000, LEDGER_EVENTS_MAX = 8000 };

extern const char *const ledger_names[LEDGER_CHANNELS];

struct ledger_channel {
    uint64_t last;                         /* The highest offset anybody heard of. */
    uint32_t event_at[LEDGER_OFFSETS_MAX]; /* 0: not known. */
    uint32_t offset_of[LEDGER_EVENTS_MAX]; /* 0: not known. */
};

struct ledger {
    uint64_t epoch; /* The same for all channels, for ever; 0: not known. */
    uint32_t next_event;
    struct ledger_channel channels[LEDGER_CHANNELS];
};

/* The index of a channel name; it must be one. */
int ledger_channel(struct span name);

/* Somebody saw this. Stops the test when it contradicts what others saw. */
void ledger_learn(struct ledger *ledger, int channel, uint64_t offset, uint32_t event);

/* Somebody heard that this offset was given. */
void ledger_heard(struct ledger *ledger, int channel, uint64_t offset);

/* A cursor in text: its offset; checks the epoch. */
uint64_t ledger_cursor(struct ledger *ledger, struct span text);

/* A new event's payload; returns its number. */
uint32_t ledger_payload(struct ledger *ledger, uint32_t key, uint32_t padding, struct bytes *out);

/* The event's number in a payload. */
uint32_t ledger_event(struct span payload);
/* Its conflation key, which is its type too: key 3 has type "t3". */
uint32_t ledger_key(struct span payload);

#endif
