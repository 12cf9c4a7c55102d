/* RESP2, the wire of Redis: where a reply ends, what it says, how a command is written.
 *
 * A server's bytes are as little trusted as a client's. resp_scan() walks over them first, byte by
 * byte or in any pieces, and refuses bad grammar, deep nesting and long lists before anything is
 * allocated for them; it keeps no bytes, so a caller may also let a reply that is too large for it
 * pass by. Only whole, judged replies go to hiredis, which serves as a codec and nothing else.
 * Pub/Sub messages are flat lists and are read in place by resp_flat() without a copy.
 */
#ifndef LINK_REDIS_RESP_H
#define LINK_REDIS_RESP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"

struct redisReply; /* hiredis/hiredis.h; free with freeReplyObject(). */

enum {
    RESP_DEPTH_MAX = 7, /* Lists in lists; hiredis itself stops at 8. */
    RESP_LINE_MAX = 64 * 1024,
    RESP_BULK_MAX = 512 * 1024 * 1024, /* Redis's own limit of a string. */
    RESP_ELEMENTS_MAX = 1024 * 1024,
};

/* Where we are within a reply. All zeroes: at the start of one. */
struct resp_scan {
    uint8_t step;
    uint8_t type; /* The byte that began the current element. */
    uint8_t depth;
    uint8_t digit_count;
    bool negative;
    uint32_t line_len;
    uint32_t element_count; /* Of this reply so far. */
    uint64_t number;        /* Value of the current line; bytes of the string left to pass. */
    uint32_t left[RESP_DEPTH_MAX]; /* Elements still to come, per open list. */
};

/* Walks over data. Returns 1: a reply ends after *ret_used bytes, and the scan stands at the start
 * of the next; 0: all of data was used and more is needed; -EPROTO: this is not RESP2; -E2BIG:
 * over a limit above. After a failure the stream cannot be used any more. */
MUST_USE int resp_scan(struct resp_scan *scan, struct span data, size_t *ret_used);

/* Reads a whole reply that is one flat list. Strings and lines come as views into reply, a nil
 * string as {NULL, 0}, integers as their digits. Returns how many items there are (at most cap), or
 * -EINVAL when it is something else or longer. */
MUST_USE int resp_flat(struct span reply, struct span *ret_items, size_t cap);

/* Gives the decoded form of one whole reply that resp_scan() accepted. Returns 0, -ENOMEM, or
 * -EPROTO. Peak memory: three times the reply. */
MUST_USE int resp_decode(struct span reply, struct redisReply **ret_reply);

/* One step through a whole reply that resp_scan() accepted: a list's head, then its elements. */
struct resp_item {
    char type; /* + - : $ * */
    bool nil;
    struct span text; /* Of a line or a string: a view. */
    size_t count;     /* Of a list: its elements, which follow. */
};

/* Takes the next item from the front of rest. False: there is none. */
MUST_USE bool resp_next(struct span *rest, struct resp_item *ret_item);

/* A command in pieces: its head, then each of its arg_count words. Returns 0 or -ENOMEM. */
MUST_USE int resp_command_begin(struct bytes *out, size_t arg_count);
MUST_USE int resp_command_word(struct bytes *out, struct span word);
/* A word in pieces: its head, then len bytes and "\r\n". */
MUST_USE int resp_command_word_begin(struct bytes *out, size_t len);

/* Appends a command to out. Returns 0 or -ENOMEM (out unchanged). */
MUST_USE int resp_command(struct bytes *out, const struct span *args, size_t arg_count);

#endif
