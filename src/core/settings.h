/* What the core is told: an immutable snapshot, shared by every shard of a process.
 *
 * A reload builds a new one with the same namespaces at the same indexes (new ones behind), so an
 * index kept by a channel never changes its meaning.
 */
#ifndef CORE_SETTINGS_H
#define CORE_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/hash.h"

enum { CORE_SHARDS_MAX = 64, CORE_NAMESPACES_MAX = 255 };

/* Engine: what a replay has under way to one connection. */
enum { REPLAY_PAGE_BYTES = 64 * 1024 };

/* What happens to a connection whose outbox is full. */
enum outbox_policy {
    OUTBOX_DROP_OLDEST,
    OUTBOX_DROP_NEWEST,
    OUTBOX_CONFLATE, /* The newest of a key replaces an older one that still waits. */
    OUTBOX_DISCONNECT,
};

/* Whether a namespace's history outlives the process, and who waits for that. */
enum durability {
    DURABILITY_NONE,
    DURABILITY_ASYNC, /* Stored soon after it is delivered. */
    DURABILITY_SYNC,  /* Delivered and acknowledged when it is stored. */
};

struct ns_settings {
    char name[65];
    uint8_t policy;            /* enum outbox_policy */
    uint32_t outbox_messages;  /* At most this many wait for one connection. */
    uint32_t outbox_bytes;     /* Bytes on the wire, frame headers included. */
    uint32_t history_messages; /* Kept for each channel; 0: none. */
    uint64_t history_bytes;
    uint64_t history_age_ms;
    uint8_t durability; /* enum durability */
    bool shared;        /* The broker numbers and remembers for all gateways: core/shared.h. */
};

struct core_settings {
    uint16_t shard_count;
    uint64_t store_id; /* 40 random bits: who numbered the offsets of what is not durable. */
    uint32_t
        serial; /* Of the first epoch, below 2^24: another one where a restart misses events. */
    struct hash_key hash_key;
    uint64_t history_bytes_total; /* For one shard. */
    uint64_t overload_bytes;      /* In flight from one shard to another. */
    uint32_t replay_page_bytes;   /* Of a replay that is under way to one connection. */
    uint32_t ns_count;            /* At least 1: [0] is the template for unnamed namespaces. */
    struct ns_settings ns[CORE_NAMESPACES_MAX];
};

/* The index of the namespace of a channel name; 0 when it has no settings of its own. */
static inline uint8_t settings_ns(const struct core_settings *settings, struct span ns_name)
{
    for (uint32_t i = 1; i < settings->ns_count; i++) {
        if (span_equal(ns_name, span_str(settings->ns[i].name))) {
            return (uint8_t)i;
        }
    }
    return 0;
}

#endif
