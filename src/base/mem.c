#include "base/mem.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local int64_t tries_left = -1;

static void *or_die(void *ptr, size_t size)
{
    if (UNLIKELY(!ptr)) {
        fprintf(stderr, "fanout: out of memory: could not get %zu bytes\n", size);
        abort();
    }
    return ptr;
}

static bool may_try(void)
{
    if (LIKELY(tries_left < 0)) {
        return true;
    }
    if (tries_left == 0) {
        return false;
    }
    tries_left -= 1;
    return true;
}

void *mem_alloc(size_t size)
{
    return or_die(malloc(size ? size : 1), size);
}

void *mem_zalloc(size_t size)
{
    return or_die(calloc(1, size ? size : 1), size);
}

void *mem_zalloc_aligned(size_t size)
{
    size_t rounded = (size + CACHE_LINE - 1) & ~(size_t)(CACHE_LINE - 1);
    void *ptr = or_die(aligned_alloc(CACHE_LINE, rounded), rounded);
    memset(ptr, 0, rounded);
    return ptr;
}

void *mem_realloc(void *ptr, size_t size)
{
    return or_die(realloc(ptr, size ? size : 1), size);
}

void *mem_try_alloc(size_t size)
{
    return may_try() ? malloc(size ? size : 1) : NULL;
}

void *mem_try_zalloc(size_t size)
{
    return may_try() ? calloc(1, size ? size : 1) : NULL;
}

void *mem_try_realloc(void *ptr, size_t size)
{
    return may_try() ? realloc(ptr, size ? size : 1) : NULL;
}

void mem_free(void *ptr)
{
    free(ptr);
}

char *mem_strdup(const char *text)
{
    return mem_strndup(text, strlen(text));
}

char *mem_strndup(const char *text, size_t len)
{
    char *copy = mem_alloc(len + 1);
    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

void mem_fail_after(int64_t count)
{
    tries_left = count;
}
