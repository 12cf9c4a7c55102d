#include "flow/changes.h"

#include <errno.h>

#include "base/mem.h"

enum { BLOCK_BYTES = 4096 };

struct changes_block {
    struct changes_block *next;
    size_t len, cap;
    uint8_t bytes[];
};

static void free_blocks(struct changes_block *block)
{
    while (block) {
        struct changes_block *next = block->next;
        mem_free(block);
        block = next;
    }
}

void changes_fini(struct changes *changes)
{
    free_blocks(changes->blocks);
    mem_free(changes->ops);
    *changes = (struct changes){0};
}

void changes_reset(struct changes *changes)
{
    if (changes->blocks && changes->blocks->cap > BLOCK_BYTES) {
        free_blocks(changes->blocks); /* Somebody's large result: it is not worth keeping. */
        changes->blocks = NULL;
    } else if (changes->blocks) {
        free_blocks(changes->blocks->next);
        changes->blocks->next = NULL;
        changes->blocks->len = 0;
    }
    changes->count = 0;
}

bool changes_keep(struct changes *changes, struct span bytes, struct span *ret_span)
{
    struct changes_block *block = changes->blocks;

    if (!block || block->cap - block->len < bytes.len) {
        size_t cap = bytes.len > BLOCK_BYTES ? bytes.len : BLOCK_BYTES;
        block = mem_try_alloc(sizeof(*block) + cap);
        if (!block) {
            return false;
        }
        *block = (struct changes_block){.next = changes->blocks, .cap = cap};
        changes->blocks = block;
    }
    uint8_t *at = block->bytes + block->len;
    if (bytes.len) {
        memcpy(at, bytes.data, bytes.len);
    }
    block->len += bytes.len;
    *ret_span = span_of(at, bytes.len);
    return true;
}

int changes_add(struct changes *changes, const struct flow_op *op)
{
    struct flow_op kept = *op;

    if (changes->count == changes->cap) {
        uint32_t cap = changes->cap ? changes->cap * 2 : 32;
        struct flow_op *ops = mem_try_realloc(changes->ops, cap * sizeof(*ops));
        if (!ops) {
            return -ENOMEM;
        }
        changes->ops = ops;
        changes->cap = cap;
    }
    if (!changes_keep(changes, op->node, &kept.node) || !changes_keep(changes, op->id, &kept.id) ||
        !changes_keep(changes, op->name, &kept.name) ||
        !changes_keep(changes, op->body, &kept.body)) {
        return -ENOMEM;
    }
    changes->ops[changes->count++] = kept;
    return 0;
}
