/* GET /api/v1/runs/{id}/events: all events of a run, in order, as they were published (contracts.md 3).
 *
 * A run that is polled is kept as text, so that a poll costs a look at what is new: a letter to the
 * home of run:{id} and, mostly, a 304. Bounded in bytes; what was not asked for longest goes first.
 * An event that is no JSON, which only a publisher to run:{id} itself can bring about, is a string here.
 */
#ifndef CONN_RUNS_H
#define CONN_RUNS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "base/table.h"

struct conn_server;
struct http_exchange;
struct mail_subscribe;
struct polled_run;

struct runs {
    struct table by_id;
    struct table by_request; /* struct run_request: asked for at home. */
    struct polled_run *oldest, *newest;
    uint64_t bytes;
};

/* Route handler. */
void runs_handler(struct http_exchange *x);

/* The same in two steps, for who has to ask elsewhere in between. */
struct runs_query {
    struct bytes id;
    uint64_t since, limit;      /* Events to leave out, and to give at most: UINT64_MAX is all. */
    struct bytes if_none_match; /* All of them, as one list. */
};

/* Reads the request into a query of zeroes. False: it is answered with what is wrong. In either case
 * it ends with runs_query_fini(). */
MUST_USE bool runs_query_read(struct http_exchange *x, struct runs_query *query);
void runs_query_fini(struct runs_query *query);

/* Answers it, now or later. Borrows query. */
void runs_reply(struct http_exchange *x, const struct runs_query *query);

/* An answer to shard_history(); false: not one of ours. */
bool runs_answered(struct conn_server *server, const struct mail_subscribe *answer);

void runs_fini(struct conn_server *server);

#endif
