/* The scripts of the coordinator's store. They run on Redis 6.2, and each is one step for everybody
 * else there. Inside link only; pure. */
#ifndef LINK_REDIS_FLOW_SCRIPT_H
#define LINK_REDIS_FLOW_SCRIPT_H

#include "base/attr.h"
#include "base/bytes.h"

/* ARGV of each; none has KEYS, since most names are found on the way.
 *
 * COMMIT  run, version, retention ms, channel, history's limits ("": as it is), PUBLISH or SPUBLISH,
 *         our list of signals, how many tokens are consumed, how many tokens there are; the tokens'
 *         marks; then groups: a letter, how many words, the words (redis_flow_commit.c). Answers the
 *         new version, or "stale", "exists", "already".
 * LOAD    run, 1 with the IR. Answers version, header, IR, then node, record …; nil: no such run
 * GET     key, bytes at most. Answers it; nil; or its length when that is more
 * EVENTS  run, since, limit (0: all), bytes. Answers header, total, then events; nil: no such run
 * LIST    status, tag, user, after, limit, how many may be looked at. Answers 0 or 1 (more), last, then
 *         headers
 * BEAT    name, dead ms, 1 when we are new, then the streams and groups we read from: a pair each.
 *         Answers how many died, then the streams of which we have entries to look after
 * TIMERS  now, again ms, count, retention ms. Answers when the next one is due ("": none), 1 when there
 *         is more to do at once, then those that are due
 * TAKE    our list, count. Answers signals
 * DEAD    kind, reason, body, now, then either our list of signals, or stream, group, entry
 * SWEEP   offset, count, retention ms. Answers how many runs it looked at
 * LEAVE   name
 */
enum redis_flow_script {
    REDIS_FLOW_COMMIT,
    REDIS_FLOW_LOAD,
    REDIS_FLOW_GET,
    REDIS_FLOW_EVENTS,
    REDIS_FLOW_LIST,
    REDIS_FLOW_BEAT,
    REDIS_FLOW_TIMERS,
    REDIS_FLOW_TAKE,
    REDIS_FLOW_DEAD,
    REDIS_FLOW_SWEEP,
    REDIS_FLOW_LEAVE,
    REDIS_FLOW_SCRIPTS,
};

/* Appends the text. Returns 0 or -ENOMEM. */
MUST_USE int redis_flow_script_text(enum redis_flow_script script, struct bytes *out);

/* Its SHA-1, 40 digits. Returns 0 or -ENOMEM. */
MUST_USE int redis_flow_script_sha(enum redis_flow_script script, char out[41]);

#endif
