/* A store in a directory of its own, and one shard that writes to it and waits for the answers. */
#ifndef TESTS_UNIT_STORE_STORE_RIG_H
#define TESTS_UNIT_STORE_STORE_RIG_H

#include <stdatomic.h>

#include "rt/mailbox.h"
#include "store/store.h"
#include "tests/support/unit.h"

struct rig {
    char dir[256];
    struct store_options options;
    struct store *store;
    struct store_ports ports;
    struct store_identity identity;
    struct mailbox *box; /* Shard 0's. */
    char why[STORE_WHY_MAX];
    _Atomic uint32_t events[STORE_DAMAGED + 1]; /* How often each was told. */
    char last_event[STORE_WHY_MAX];
};

/* A new directory; nothing is open yet. */
void rig_init(struct rig *rig);

/* Closes, and removes the directory. */
void rig_fini(struct rig *rig);

/* First of all in a child after fork(): gives it a mailbox of its own. The eventfd of the former one is the
 * parent's too, and would be written for mail that the parent never got. */
void rig_forked(struct rig *rig);

int rig_try_open(struct rig *rig);
void rig_open(struct rig *rig); /* Must succeed. */
void rig_close(struct rig *rig);
void rig_reopen(struct rig *rig);

/* The n-th offset of the present generation. */
uint64_t rig_offset(const struct rig *rig, uint64_t n);

struct publication *rig_publication(
    const struct rig *rig, const char *name, uint64_t offset, const void *payload, size_t len);

/* Waits for the next answer; fails after ten seconds. */
struct store_letter *rig_answer(struct rig *rig);

extern const struct store_limits rig_no_limits;

/* One record, answered; what became of it. */
int rig_append(struct rig *rig, const char *name, uint64_t offset, const char *payload);
int rig_append_limited(struct rig *rig, const char *name, uint64_t offset, const char *payload,
    const struct store_limits *limits, uint64_t time_ms);

/* count records from the first offset on, payload_len bytes each, in as few letters as possible. Returns the
 * first error. */
int rig_append_many(struct rig *rig, const char *name, uint64_t first, uint32_t count,
    size_t payload_len, const struct store_limits *limits);

/* The answer; for rig_read_free(). */
struct store_read *rig_read(
    struct rig *rig, const char *name, enum store_from from, uint64_t after, uint32_t count_max);
void rig_read_free(struct store_read *letter);

/* The payload that rig_append_many() gives this offset. */
void rig_fill(void *payload, size_t len, uint64_t offset);

#endif
