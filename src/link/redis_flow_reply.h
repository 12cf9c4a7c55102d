/* What Redis says to the coordinator's store: errors, a commit's outcome, lists, entries of streams.
 *
 * Inside link only; pure. Replies are whole and were judged by resp_scan(); nothing else of them is
 * trusted: what is not as our scripts write it is -EBADMSG. Spans given back are views.
 */
#ifndef LINK_REDIS_FLOW_REPLY_H
#define LINK_REDIS_FLOW_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "flow/ports.h"

/* What an error reply means: -ENOSPC (Redis is full, or cannot write to its disk), -ENOTCONN (this
 * server cannot be used now: it loads, is a replica, lost its master …), -EAGAIN (it does not know the
 * script), -ESRCH (no such consumer group), -EEXIST (there is one), or -EIO. */
int redis_flow_error(struct span reply);

/* 0 and the run's version; -ESTALE, -EEXIST, -EALREADY; or -EBADMSG. No error replies. */
MUST_USE int redis_flow_committed(struct span reply, uint64_t *ret_version);

/* Digits, at least one and no others, below 2^53. */
bool redis_flow_number(struct span text, uint64_t *ret_number);

/* A flat list. *ret_words is to be freed with mem_free(). Returns 0, -ENOENT (nil), -EBADMSG or -ENOMEM. */
MUST_USE int redis_flow_words(struct span reply, struct span **ret_words, size_t *ret_count);

/* A definition as the shelf keeps it: {"updated_ms":…,"definition":…}. Returns 0 or -EBADMSG. */
MUST_USE int redis_flow_shelved(struct span text, struct flow_shelf_item *ret_item);

/* An entry of a stream. */
struct redis_entry {
    struct span id;
    uint64_t ms, seq; /* Of the id. */
    bool gone;        /* It was deleted, and is only pending. */
    bool found;       /* It has the wanted field, and value is that. */
    struct span value;
};

struct redis_entries {
    struct span rest;
    size_t left;
};

/* Begins to walk through what XREADGROUP of one stream says. Returns 0 (no entries: left is 0), or
 * -EBADMSG. */
MUST_USE int redis_entries_begin(struct span reply, struct redis_entries *ret_entries);

/* The next entry, with the value of a field. Returns 1, 0 (no more), or -EBADMSG. */
MUST_USE int redis_entries_next(
    struct redis_entries *entries, struct span field, struct redis_entry *ret_entry);

#endif
