/* A store port kept in memory, for tests of the core: the same answers as src/store, when the test
 * wants them. What was not carried out yet can be lost, as in a crash. */
#ifndef TESTS_SUPPORT_STORE_MODEL_H
#define TESTS_SUPPORT_STORE_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mail.h"
#include "core/store.h"

struct store_model_channel;

struct store_model {
    struct store_identity identity;
    uint64_t epoch_start;
    struct store_model_channel *channels;
    struct mail_chain queue;         /* Letters that are not carried out. */
    int refuse;                      /* What the ports return; 0: they take the letter. */
    int append_err;                  /* What appends are answered with; 0: they succeed. */
    int clear_err;                   /* The same of clears. */
    const char *unfit;               /* A publication of this payload is answered with -EINVAL. */
    uint32_t appends, reads, clears; /* Letters carried out. */
    void (*post)(void *ctx, uint16_t shard, struct mail *mail);
    void *ctx;
    struct store_ports ports; /* For durable_open(). */
};

void store_model_init(struct store_model *model, uint64_t store_id);
void store_model_fini(struct store_model *model);

/* Carries out the oldest letter and posts the answer; false: there is none. */
bool store_model_step(struct store_model *model);

/* Another process opens it: whatever was not carried out is lost (answered with -EIO), and a
 * generation begins. */
void store_model_lose(struct store_model *model);
void store_model_reopen(struct store_model *model);

#endif
