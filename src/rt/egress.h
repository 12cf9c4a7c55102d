/* Egress: sockets for a library that connects by itself, and where they may lead.
 *
 * Whoever lets others name the addresses it connects to lends them its own place in the network:
 * its loopback, its neighbours, the metadata service of its cloud. So an address is judged where
 * the socket is opened, behind all names, redirects and spellings. Pure, but for egress_socket();
 * any thread.
 */
#ifndef RT_EGRESS_H
#define RT_EGRESS_H

#include <stdbool.h>

#include "base/attr.h"

struct sockaddr;

enum { EGRESS_TEXT_MAX = 48 };

enum egress_scope {
    EGRESS_PUBLIC,
    EGRESS_PRIVATE, /* This machine, and networks of an organisation's own (RFC 1918, RFC 4193, RFC 6598). */
    EGRESS_SPECIAL, /* Link-local, cloud metadata, multicast, broadcast, reserved, no IP at all. */
};

/* Where this address leads. IPv4 within IPv6 (mapped, compatible, NAT64, 6to4) is judged as the
 * IPv4 address that it is. */
enum egress_scope egress_scope(const struct sockaddr *addr);

/* "private", "link-local", … for a sentence about it. */
const char *egress_scope_word(const struct sockaddr *addr);

/* The address without its port, as text; "?" when it is none. */
void egress_text(const struct sockaddr *addr, char ret_text[EGRESS_TEXT_MAX]);

/* Gives a non-blocking socket with TCP_NODELAY. Returns it, or negative errno. */
MUST_USE int egress_socket(const struct sockaddr *addr);

#endif
