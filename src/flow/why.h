/* Why: sentences for people, in a buffer of the caller's.
 *
 * They quote what strangers wrote, and end up in JSON and in logs: so they stay valid UTF-8 on one
 * line however they are cut.
 *
 * Pure.
 */
#ifndef FLOW_WHY_H
#define FLOW_WHY_H

#include <stddef.h>

#include "base/attr.h"
#include "base/bytes.h"

enum { WHY_QUOTE_MAX = 64 };

struct why_quote {
    char text[WHY_QUOTE_MAX];
};

/* Text to be quoted: the beginning of a long one and "…", '?' for control bytes and for what is
 * not UTF-8. Borrow .text while the struct lives. */
struct why_quote why_quote(struct span text);

/* Writes a sentence of at most cap - 1 bytes, cut between characters. */
void why_say(char *why, size_t cap, const char *format, ...) PRINTF_LIKE(3, 4);

#endif
