/* Lending: how a home's publications reach the shards that listen, and what happens past the bound.
 *
 * Publications go out in chunks and come back, so only home counts references, and what is out is what
 * is in flight. Past overload_bytes a listener is behind: what it misses is noted per channel and told
 * once half the bound is free again. Runs on the home shard's thread.
 */
#ifndef CORE_LEND_H
#define CORE_LEND_H

#include <stdbool.h>
#include <stdint.h>

#include "core/mail.h"

struct home;
struct shard;

/* Lends one publication to shard `to`, or notes that it misses it. */
void lend_publication(
    struct shard *shard, uint16_t to, const struct home *home, struct publication *pub);

/* Is shard `to` behind with its mail from here? */
bool lend_is_behind(const struct shard *shard, uint16_t to);

/* A listener that joins now has what was missed before in its replay, or asked for none of it: tells
 * shard `to` what others there missed of this channel. */
void lend_report(struct shard *shard, uint16_t to, const struct home *home);

/* Sends the chunk that is open for one shard; for all of them, with what is due. End of a drain. */
void lend_post(struct shard *shard, uint16_t to);
void lend_post_all(struct shard *shard);

/* A chunk came back. Takes it. */
void lend_chunk_back(struct shard *shard, struct mail_chunk *chunk);

void lend_fini(struct shard *shard);

#endif
