/* HTTP publisher: flow's events to a gateway in another process, by POST {gateway}/api/v1/publish.
 *
 * The events of one publication go one after the other, in order; publications go side by side, so
 * their caller has one of a run under way at a time. Each event carries the idempotency key
 * "{run_id}:{number}": sent twice, it is published once.
 *
 * Published means stored, where the gateway keeps history on disk: each event is sent with ?ack=durable, since the
 * caller forgets it then, and a gateway that dies would have forgotten it, too; and it is sent to the run's channel
 * as well, since what a gateway copies there by itself is awaited by nobody. A gateway that keeps none says so,
 * and is asked for less until it fails.
 *
 * A publication ends at the first event that the gateway did not take; trying the rest again is the
 * caller's. But an event that no gateway will ever take (it names the fault as the event's own: its
 * channel, its body, its size) is passed over, counted and logged: else one event would hold back
 * all that follow it in its run, for ever. What may be cured is no such fault: a wrong address or
 * token, a gateway that is full, draining or down.
 *
 * Runs on the thread of its client.
 */
#ifndef LINK_HTTP_PUBLISHER_H
#define LINK_HTTP_PUBLISHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "flow/ports.h"

struct http_publisher;

enum { HTTP_PUBLISHER_WHY_MAX = 300 };

struct http_publisher_options {
    const char *gateway;       /* "http://127.0.0.1:8084"; a path in front is fine. */
    const char *authorization; /* The header's value, e.g. "Bearer …"; NULL: none. */
    uint64_t timeout_ms;       /* Of one request. */
};

struct http_publisher_stats {
    uint64_t published;               /* Events the gateway took. */
    uint64_t skipped;                 /* Events no gateway will take. */
    uint64_t failures;                /* Publications that ended early. */
    uint32_t active;                  /* Publications under way. */
    char why[HTTP_PUBLISHER_WHY_MAX]; /* Of the last failure; "" once it works again. */
};

/* Is this a gateway's address? Returns 0, or -EINVAL with one sentence in why. */
MUST_USE int http_publisher_check(const char *gateway, char why[HTTP_PUBLISHER_WHY_MAX]);

/* Gives a publisher. Shares http, which must outlive it and be allowed to go where the gateway is.
 * Returns 0 or -EINVAL (see above). */
MUST_USE int http_publisher_create(const struct http_publisher_options *options,
    const struct flow_http_client *http, struct http_publisher **ret_publisher);

/* Publications under way are answered with -ECANCELED, a probe is not answered. Not from within
 * done(). NULL is fine. */
void http_publisher_destroy(struct http_publisher *publisher);

struct flow_publisher http_publisher_port(struct http_publisher *publisher);

/* Does the gateway answer? why: a sentence when it does not. */
typedef void http_publisher_probe_fn(void *ctx, bool up, const char *why);

/* Asks GET {gateway}/health. fn is called once, later or within this call. Returns 0, or -EBUSY
 * while the last one is under way. */
MUST_USE int http_publisher_probe(
    struct http_publisher *publisher, http_publisher_probe_fn *fn, void *ctx);

void http_publisher_stats(
    const struct http_publisher *publisher, struct http_publisher_stats *ret_stats);

#endif
