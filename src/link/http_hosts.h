/* HTTP hosts: requests that wait for a connection, by the server they go to. Inside link only.
 *
 * Each server serves its own in the order they came, and servers take turns among each other, so
 * that one that is slow holds up its own requests alone. Owns the hosts, not what waits at them.
 */
#ifndef LINK_HTTP_HOSTS_H
#define LINK_HTTP_HOSTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/table.h"

/* Within the request. */
struct http_waiting {
    struct http_waiting *next, **link; /* link is NULL while it does not wait. */
};

struct http_host {
    struct table_item item;
    struct http_host *next, *prev; /* In the ring of those whose turn it may be; NULL: not in it. */
    struct http_waiting *first, **last;
    uint32_t active, count; /* Its requests under way, and all of them. */
    uint32_t name_len;
    char name[];
};

struct http_hosts {
    uint32_t active_max; /* Of one host. */
    struct hash_key hash_key;
    struct table table;
    struct http_host *ring; /* Whose turn is next. */
};

/* The host of that name, a new one if need be; its count is to be raised at once. NULL without
 * memory. */
struct http_host *http_hosts_get(struct http_hosts *hosts, struct span name);

void http_host_push(struct http_host *host, struct http_waiting *waiting);
void http_host_pull(struct http_host *host, struct http_waiting *waiting);

/* To be called after each change of a host, which is gone when its count is 0. */
void http_hosts_update(struct http_hosts *hosts, struct http_host *host);

/* Gives the turn to the next. */
void http_hosts_turn(struct http_hosts *hosts);

/* Any host; NULL when there is none. */
struct http_host *http_hosts_any(const struct http_hosts *hosts);

void http_hosts_fini(struct http_hosts *hosts);

#endif
