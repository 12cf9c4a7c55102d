/* Shared history: the scripts that keep it in Redis, and what they say.
 *
 * For a channel C, with C's '%', '{' and '}' written as %25, %7B and %7D so that the hash tag stays one:
 *
 *   fanout:history:{C}   stream; the id of an event is its offset ("42-0"), its fields are d (the
 *                        payload), t (Unix time, ms) and s (bytes of all events up to this one)
 *   fanout:meta:{C}      hash: epoch, last (offset), bytes, limits
 *   fanout:once:{C}K     an idempotency key that was used, for ten minutes: the cursor it got
 *   fanout:pub:{C}       Pub/Sub: "epoch:offset\n" and the payload; SSUBSCRIBE in sharded mode
 *
 * Pure; no peer's bytes are trusted.
 */
#ifndef LINK_REDIS_HISTORY_H
#define LINK_REDIS_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"

/* Where an event stands: the epoch as a number (base 36 in text), the offset below 2^53. */
struct redis_cursor {
    uint64_t epoch;
    uint64_t offset;
};

enum {
    REDIS_KEY_MAX = 1100,
    REDIS_PAGE_EVENTS = 1024,                    /* Events of a page, at most. */
    REDIS_HISTORY_PAYLOAD_MAX = 32 * 1024 * 1024 /* The script refuses what is larger. */
};

struct redis_key {
    size_t len;
    char text[REDIS_KEY_MAX];
};

enum redis_key_kind { REDIS_KEY_STREAM, REDIS_KEY_META, REDIS_KEY_ONCE, REDIS_KEY_PUB };

/* The name of a channel's key (or Pub/Sub channel); more follows the tag of REDIS_KEY_ONCE. Returns 0
 * or -EINVAL: it is too long for any channel. */
MUST_USE int redis_history_key(
    enum redis_key_kind kind, struct span channel, struct span more, struct redis_key *ret_key);

/* Our channel of a Pub/Sub name. Returns 0, -ENOENT (another name), or -EINVAL (not as we write it). */
MUST_USE int redis_history_channel(
    struct span redis_channel, char *out, size_t cap, size_t *ret_len);

/* Reads "epoch:offset". Returns 0 or -EINVAL. */
MUST_USE int redis_cursor_parse(struct span text, struct redis_cursor *ret_cursor);

/* Splits what came on REDIS_KEY_PUB. Returns 0 or -EINVAL. */
MUST_USE int redis_history_split(
    struct span message, struct redis_cursor *ret_cursor, struct span *ret_payload);

/* Reads what the publishing script says; *text is cut to the cursor. Returns 0 or -EINVAL. */
MUST_USE int redis_history_outcome(
    struct span *text, struct redis_cursor *ret_cursor, bool *ret_duplicate);

/* The same of a whole reply. */
MUST_USE int redis_history_answer(
    struct span reply, struct redis_cursor *ret_cursor, bool *ret_duplicate);

/* What stands for an idempotency key behind the tag of REDIS_KEY_ONCE: digits do for a key of any length
 * and bytes. Everybody who publishes with the key must come to the same. */
enum { REDIS_ONCE_DIGITS = 40 };
struct span redis_once_digits(struct span key, char out[REDIS_ONCE_DIGITS + 1]);

struct redis_event {
    uint64_t offset;
    uint64_t age_ms;
    struct span payload; /* A view into the reply. */
};

struct redis_page {
    uint64_t epoch;
    uint64_t last;  /* Of the newest event there ever was. */
    uint64_t first; /* Of the oldest that is kept; 0: none is. */
    bool more;      /* The page ends before the newest. */
    uint32_t count;
    struct redis_event events[REDIS_PAGE_EVENTS];
};

/* Reads the reading script's answer. Returns 0 or -EINVAL (also when offsets do not grow). */
MUST_USE int redis_history_page(struct span reply, struct redis_page *ret_page);

/* ---- the scripts ---- */

enum redis_script {
    REDIS_SCRIPT_PUBLISH,
    REDIS_SCRIPT_READ,
    REDIS_SCRIPT_RENEW,
    REDIS_SCRIPTS,
};

/* KEYS stream, meta and, with an idempotency key, once.
 * PUBLISH: ARGV channel, payload, "messages bytes age_ms" or "", twin's channel or "" (none is
 *   published; absent: the built-in one), twin's payload ("" : the payload), PUBLISH or SPUBLISH.
 * READ: ARGV after ("" : from the beginning), count, bytes. Without keys it answers "ok".
 * RENEW: ARGV epoch, last. Begins a new epoch if that one is still the present. */
const char *redis_script_text(enum redis_script script);
/* Its SHA-1, 40 digits. */
struct span redis_script_sha(enum redis_script script, char out[41]);
/* What they share, for a script that publishes within a step of its own: it must set the local VERB, and
 * finds record(), tag_of(), twin_of() and fanout_publish(). */
const char *redis_script_publishing(void);
/* The same as a library of functions, for FUNCTION LOAD. sharded: it publishes by SPUBLISH, unless told
 * otherwise. */
const char *redis_script_library(bool sharded);

#endif
