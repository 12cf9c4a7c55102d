/* Listing: GET /api/v1/connections, and DELETE of one (wire.md "Connections").
 *
 * Every shard looks through its connections, some thousand slots a turn, and keeps the first of them
 * in the order asked for; the asking shard merges. Connections that come, go or change
 * their rank meanwhile may be missed or met twice across pages, never within one.
 */
#ifndef ROLE_LISTING_H
#define ROLE_LISTING_H

#include "http/session.h"

enum {
    LISTING_ROWS_MAX = 1000,
    LISTING_ROWS_DEFAULT = 100,
};

/* Route handlers. */
void listing_handler(struct http_exchange *x);
void listing_cut(struct http_exchange *x);

#endif
