/* What a link to Redis can be told. Plain data; strings are borrowed by redis_link_create(), which
 * copies what it keeps.
 */
#ifndef LINK_REDIS_OPTIONS_H
#define LINK_REDIS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "link/redis_map.h"
#include "rt/stream.h"

enum redis_mode {
    REDIS_MODE_PATTERN, /* PSUBSCRIBE of every mapping: sees every event. */
    REDIS_MODE_EXACT,   /* SUBSCRIBE of the channels somebody here wants. */
    REDIS_MODE_SHARDED, /* The same with SSUBSCRIBE; Redis 7. */
};

struct redis_options {
    const char *host;
    uint16_t port;
    const char *unix_path; /* NULL: TCP. */
    const char *username;  /* NULL: the default user. */
    const char *password;  /* NULL or "": none. */
    uint32_t db;

    bool use_tls;
    struct tls_options tls;
    const char *tls_server_name; /* NULL: host. */

    enum redis_mode mode;
    bool history;                         /* Namespaces have their history in Redis. */
    const struct redis_mapping *mappings; /* On top of the built-in ones. */
    size_t mapping_count;

    uint32_t canary_interval_ms;
    uint32_t reconnect_min_ms;
    uint32_t reconnect_max_ms;
    uint32_t connect_timeout_ms; /* From the name look-up to the last word of the greeting. */
    uint32_t linger_ms;          /* An unwanted channel stays subscribed so long. */
    size_t buffer_bytes;         /* Read from Redis and not handed over yet. */
    size_t publish_bytes;        /* Given to Redis and not answered yet. */
    uint64_t seed;               /* Of jitter and instance name; 0: drawn from the system. */
};

/* localhost:6379, pattern mode, canary every second, 64 MiB each way. */
struct redis_options redis_options_default(void);

/* Returns 0, or -EINVAL with a sentence in err. Mappings are judged by redis_map_create(). */
MUST_USE int redis_options_check(const struct redis_options *options, char *err, size_t err_cap);

#endif
