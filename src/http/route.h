/* Routes: which handler serves which path. One row each, matched in order.
 *
 * A pattern is literal segments and `{}` for one segment of any content: "/api/v1/channels/{}/history".
 * The raw segments found are handed to the handler, which decodes them.
 */
#ifndef HTTP_ROUTE_H
#define HTTP_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "proto/http1.h"

struct http_exchange;

typedef void http_handler(struct http_exchange *x);

enum { ROUTE_PARAMS_MAX = 4 };

struct route {
    const char *pattern;
    uint32_t methods; /* ROUTE_GET | …; GET serves HEAD too. */
    http_handler *handler;
};

#define ROUTE_METHOD(m) (1u << (m))
#define ROUTE_GET (ROUTE_METHOD(HTTP_METHOD_GET) | ROUTE_METHOD(HTTP_METHOD_HEAD))
#define ROUTE_POST ROUTE_METHOD(HTTP_METHOD_POST)
#define ROUTE_PUT ROUTE_METHOD(HTTP_METHOD_PUT)
#define ROUTE_DELETE ROUTE_METHOD(HTTP_METHOD_DELETE)

struct route_match {
    const struct route *route; /* NULL: 404, or 405 when methods is not 0. */
    uint32_t methods;          /* Allowed on this path. */
    struct span params[ROUTE_PARAMS_MAX];
};

/* Finds the row for a path and method. rows end with a NULL pattern. */
struct route_match route_find(const struct route *rows, enum http_method method, struct span path);

/* Writes "GET, HEAD, POST" for a set of methods; returns its length. */
size_t route_allow(uint32_t methods, char *out, size_t cap);

#endif
