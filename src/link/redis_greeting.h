/* Greeting: the first words on a connection to Redis, and what its answers mean. Pure. */
#ifndef LINK_REDIS_GREETING_H
#define LINK_REDIS_GREETING_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"

enum { REDIS_GREETING_MAX = 4, REDIS_VERSION_TEXT_MAX = 24 };

struct redis_greeting {
    uint8_t asked_count, answered_count;
    uint8_t asked[REDIS_GREETING_MAX];
    uint32_t version; /* 70015 for 7.0.15; 0: Redis did not tell. */
    char version_text[REDIS_VERSION_TEXT_MAX];
};

struct redis_credentials {
    const char *username; /* NULL: the default user. */
    const char *password; /* NULL or "": none. */
    uint32_t db;
    const char *client_name;
};

/* Appends the greeting to out. Returns 0 or -ENOMEM. */
MUST_USE int redis_greeting_write(struct redis_greeting *greeting,
    const struct redis_credentials *credentials, struct bytes *out);

/* The next reply. Returns 1: that was the last; 0: more to come; -EPROTO or -EACCES with a sentence
 * that holds no secret. */
MUST_USE int redis_greeting_read(
    struct redis_greeting *greeting, struct span reply, char *ret_why, size_t cap);

/* Writes an error reply as a sentence. Redis quotes the arguments of a command it does not know,
 * and those may be a payload or a password: they are cut off. */
void redis_error_sentence(struct span reply, char *ret_text, size_t cap);

#endif
