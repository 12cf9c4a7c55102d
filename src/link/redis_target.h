/* Target: what all connections to one Redis share. Immutable once made. Inside link only. */
#ifndef LINK_REDIS_TARGET_H
#define LINK_REDIS_TARGET_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "link/redis_greeting.h"

struct redis_options;
struct tls;

struct redis_target {
    const char *address; /* "host:port" or "unix:/path". */
    struct redis_credentials credentials;
    const char *server_name; /* For TLS; NULL: none. */
    uint32_t timeout_ms;     /* Of everything before a connection is ready. */
    struct tls *tls;         /* NULL: plain. */
};

/* Copies what it keeps, but client_name, which must outlive it. Returns 0, or a negative errno with a
 * sentence in err (TLS); redis_target_fini() is to be called in any case. */
MUST_USE int redis_target_init(struct redis_target *target, const struct redis_options *options,
    const char *client_name, char *err, size_t err_cap);
void redis_target_fini(struct redis_target *target); /* All zeroes are fine. */

/* The seed itself, or one drawn from the system when it is 0. */
uint64_t redis_draw_seed(uint64_t seed);

#endif
