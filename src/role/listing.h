/* Listing: GET /api/v1/connections, and DELETE of one (wire.md "Connections").
 *
 * Every shard looks through its connections, LISTING_SLOTS_A_TURN slots at a time, and keeps the
 * best of them in the order asked for; the asking shard merges. Connections that come, go or change
 * their rank meanwhile may be missed or met twice across pages, never within one.
 */
#ifndef ROLE_LISTING_H
#define ROLE_LISTING_H

#include "http/session.h"

enum {
    LISTING_SLOTS_A_TURN = 4096,
    LISTING_ROWS_A_TURN = 128,
    LISTING_ROWS_MAX = 1000,
    LISTING_ROWS_DEFAULT = 100,
};

/* Route handlers. */
void listing_handler(struct http_exchange *x);
void listing_cut(struct http_exchange *x);

#endif
