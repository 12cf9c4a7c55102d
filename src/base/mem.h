/* Memory, with two attitudes.
 *
 * mem_alloc() and friends are for what the program cannot go on without (start-up, tables, pools):
 * running out stops the process with a sentence. mem_try_*() are for sizes a peer chose or that
 * grow with traffic: they return NULL and the caller refuses the work instead. Tests make the N-th
 * mem_try_* call of a thread fail with mem_fail_after().
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

/* Bytes of a struct whose last member is a flexible array with len bytes in it: they begin in what
 * sizeof has for padding, but a copy of the whole struct must fit, too. */
#define MEM_FLEX(type, member, len)                                                                \
    (offsetof(type, member) + (len) > sizeof(type) ? offsetof(type, member) + (len) : sizeof(type))

/* Gives size bytes; never NULL. */
MUST_USE void *mem_alloc(size_t size);

/* Gives size zeroed bytes; never NULL. */
MUST_USE void *mem_zalloc(size_t size);

/* Gives size zeroed bytes aligned to a cache line; never NULL. Free with mem_free(). */
MUST_USE void *mem_zalloc_aligned(size_t size);

/* Takes ptr (may be NULL), gives it back with size bytes; never NULL. */
MUST_USE void *mem_realloc(void *ptr, size_t size);

/* As above, but NULL when there is no memory; on NULL mem_try_realloc() leaves ptr as it was. */
MUST_USE void *mem_try_alloc(size_t size);
MUST_USE void *mem_try_zalloc(size_t size);
MUST_USE void *mem_try_realloc(void *ptr, size_t size);

/* Takes ptr; NULL is fine. */
void mem_free(void *ptr);

/* Gives a copy of a string, or of len bytes with a NUL behind them; never NULL. */
MUST_USE char *mem_strdup(const char *text);
MUST_USE char *mem_strndup(const char *text, size_t len);

/* Tests only: lets `count` more mem_try_* calls of this thread succeed and fails all after that,
 * until called again; -1 (the start value) never fails. */
void mem_fail_after(int64_t count);

#endif
