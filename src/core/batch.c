#include "core/batch.h"

#include <errno.h>

#include "base/mem.h"

enum {
    POOL_BATCHES_MAX = 128,
    POOL_BUFFER_MAX = 16 * 1024, /* Larger buffers are given back to the system. */
    POOL_MESSAGES_MAX = 256,
};

static struct batch *get(struct batch_pool *pool, uint32_t spare)
{
    struct batch *batch = pool->free;

    if (pool->count > spare) {
        pool->free = batch->next;
        pool->count -= 1;
        *batch = (struct batch){
            .refs = 1,
            .message_cap = batch->message_cap,
            .messages = batch->messages,
            .data = {.data = batch->data.data, .cap = batch->data.cap},
        };
        return batch;
    }
    batch = mem_try_zalloc(sizeof(*batch));
    if (batch) {
        batch->refs = 1;
    }
    return batch;
}

struct batch *batch_get(struct batch_pool *pool)
{
    return get(pool, BATCH_SPARE);
}

struct batch *batch_get_spare(struct batch_pool *pool)
{
    return get(pool, 0);
}

int batch_reserve_message(struct batch *batch)
{
    if (batch->count < batch->message_cap) {
        return 0;
    }
    uint32_t cap = batch->message_cap ? batch->message_cap * 2 : 4;
    struct batch_message *messages =
        mem_try_realloc(batch->messages, cap * sizeof(*batch->messages));
    if (!messages) {
        return -ENOMEM;
    }
    batch->messages = messages;
    batch->message_cap = cap;
    return 0;
}

static void destroy(struct batch *batch)
{
    bytes_fini(&batch->data);
    mem_free(batch->messages);
    mem_free(batch);
}

void batch_put(struct batch_pool *pool, struct batch *batch)
{
    if (pool->count >= POOL_BATCHES_MAX || batch->data.cap > POOL_BUFFER_MAX ||
        batch->message_cap > POOL_MESSAGES_MAX) {
        destroy(batch);
        return;
    }
    batch->next = pool->free;
    pool->free = batch;
    pool->count += 1;
}

void batch_pool_fini(struct batch_pool *pool)
{
    while (pool->free) {
        struct batch *batch = pool->free;
        pool->free = batch->next;
        destroy(batch);
    }
    pool->count = 0;
}
