/* Client URLs: http, https, ws, wss, redis and rediss, taken apart and put together. */
#ifndef ROLE_CLIENT_URL_H
#define ROLE_CLIENT_URL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"

enum client_scheme {
    CLIENT_HTTP = 1, /* Bits, so that a caller can say which it takes. */
    CLIENT_WS = 2,
    CLIENT_REDIS = 4,
};

enum { CLIENT_URL_ERR_MAX = 256 };

struct client_url {
    enum client_scheme scheme;
    bool tls;
    char address[280];     /* "host:port" or "[v6]:port", as rt wants it. */
    char host[256];        /* Without brackets: for TLS. */
    char host_header[280]; /* As the Host field wants it: no port where it is the default. */
    char user[128], password[256]; /* Decoded; empty when absent. */
    uint16_t port;
    const char *target; /* From the path on, borrowed from the text; "" when absent. */
};

/* Takes text apart. schemes: which are accepted, as bits; ws and http stand for each other and come
 * out as asked. Returns 0, or -EINVAL with a sentence without a full stop in err. */
MUST_USE int client_url_parse(
    const char *text, uint32_t schemes, struct client_url *ret_url, char err[CLIENT_URL_ERR_MAX]);

/* Appends one query parameter: '?' or '&' first, the value percent-encoded. Returns 0 or -ENOMEM.
 */
MUST_USE int client_url_add_param(
    struct bytes *target, const char *name, const void *value, size_t value_len);

/* Appends "/a/b" to a base path that may end in '/'. Returns 0 or -ENOMEM. */
MUST_USE int client_url_join(struct bytes *target, const char *base, const char *path);

#endif
