/* Address: the text form of where to listen and connect, taken apart. Inside rt only.
 *
 * "host:port", ":port", "[v6]:port", "unix:/path". Pure: no system call, any thread.
 */
#ifndef RT_ADDRESS_H
#define RT_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "base/attr.h"

enum {
    ADDRESS_HOST_MAX = 255,
    ADDRESS_TEXT_MAX = 128, /* "unix:" and the longest path fit. */
};

struct address_text {
    bool is_unix;
    const char *path;                /* Into the text, when is_unix. */
    char host[ADDRESS_HOST_MAX + 1]; /* Without brackets; "" for ":port". */
    unsigned short port;
};

/* Takes text apart; does not look at what kind of name host is. Returns 0 or -EINVAL. */
MUST_USE int address_split(const char *text, struct address_text *ret_parts);

/* Numeric hosts, "localhost" and unix paths. An empty host is every address (passive) or this
 * machine. Returns 0, -EINVAL (not such an address) or -ENAMETOOLONG (unix path). */
MUST_USE int address_parse(
    const char *text, bool passive, struct sockaddr_storage *ret_addr, socklen_t *ret_len);

/* A host without port, as in a source address. */
MUST_USE int address_parse_host(
    const char *host, unsigned short port, struct sockaddr_storage *ret_addr, socklen_t *ret_len);

/* What needs no resolver: a unix path and a numeric host are themselves, "localhost" (and an empty
 * host) is both of its addresses. Writes the texts that sock_connect() takes; returns how many, 0
 * when text must be resolved, or -EINVAL. */
MUST_USE int address_known(const char *text, char ret_texts[2][ADDRESS_TEXT_MAX]);

/* "127.0.0.1:4711" (also for a v4 peer of a v6 socket), "[::1]:4711" or "unix". */
void address_format(const struct sockaddr_storage *addr, char *ret_name, size_t cap);

#endif
