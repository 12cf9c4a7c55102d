/* Pages of a shared history: letters of core/shared.h on their way through the link to Redis and back.
 * Runs on shard 0. */
#ifndef ROLE_BROKER_PAGES_H
#define ROLE_BROKER_PAGES_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/slab.h"
#include "core/publication.h"
#include "link/redis_link.h"

struct gateway_shard;
struct reading;
struct store_read;

struct broker_pages {
    struct gateway_shard *gs;
    struct slab slots;     /* struct reading */
    struct reading *first; /* The newest. */
};

void broker_pages_init(struct broker_pages *pages, struct gateway_shard *gs);
/* Gives back what is still on its way: nobody else would. After the link is gone. */
void broker_pages_fini(struct broker_pages *pages);

/* Asks for the letter's page; shard `from` gets the letter back, filled in or with its error. */
void broker_pages_ask(
    struct broker_pages *pages, struct redis_link *link, uint16_t from, struct store_read *letter);

/* The link's answer; page is borrowed. */
void broker_pages_heard(
    struct broker_pages *pages, uint64_t id, int err, const struct redis_page *page);

/* What Redis brings, as an order; spans are borrowed. */
struct publish_order broker_order(
    const struct gateway_shard *gs, struct span channel, struct span payload);

#endif
