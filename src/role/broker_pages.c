#include "role/broker_pages.h"

#include <errno.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "core/mail.h"
#include "core/name.h"
#include "core/shard.h"
#include "core/store.h"
#include "role/gateway.h"
#include "role/gateway_options.h"

enum { NS_PER_MS = 1000000 };

/* A page that was asked for. */
struct reading {
    struct store_read *letter;
    struct reading *next, **link; /* Of those under way. */
    uint16_t shard;               /* Whose letter it is. */
};

void broker_pages_init(struct broker_pages *pages, struct gateway_shard *gs)
{
    *pages = (struct broker_pages){.gs = gs};
    slab_init(&pages->slots, sizeof(struct reading));
}

/* What Redis brings, as an order. Of clients' own messages in rooms none is a run's. */
struct publish_order broker_order(
    const struct gateway_shard *gs, struct span channel, struct span payload)
{
    const struct snapshot *now = gs->snapshot;
    bool room = span_equal(name_namespace(channel), span_str("room"));
    uint32_t index = room ? 0 : PUBLICATION_INDEX;

    return (struct publish_order){
        .name = channel,
        .payload = payload,
        .flags = (utf8_valid(payload.data, payload.len) ? PUBLICATION_UTF8 : 0) | index,
        .key = gateway_conflation_key(now->config, now->settings, channel, payload),
    };
}

static void fill_letter(
    struct broker_pages *pages, struct store_read *letter, const struct redis_page *page)
{
    struct span name = span_of(letter->name, letter->name_len);
    uint64_t now_ns = pages->gs->server->shard->now_ns;

    letter->bounds =
        (struct history_bounds){.epoch = page->epoch, .first = page->first, .last = page->last};
    letter->more = page->more;
    letter->pubs = page->count ? mem_try_alloc(page->count * sizeof(*letter->pubs)) : NULL;
    for (uint32_t i = 0; i < page->count; i++) {
        const struct redis_event *event = &page->events[i];
        uint64_t age_ns =
            event->age_ms < UINT64_MAX / NS_PER_MS ? event->age_ms * NS_PER_MS : UINT64_MAX;
        struct publish_order order = broker_order(pages->gs, name, event->payload);
        order.flags |= PUBLICATION_NUMBERED;
        order.numbered = (struct cursor){page->epoch, event->offset};
        struct publication *pub = letter->pubs ? publication_create(&order, letter->hash,
                                                     now_ns > age_ns ? now_ns - age_ns : 1)
                                               : NULL;
        if (!pub) {
            letter->more = true; /* The rest is asked for again. */
            return;
        }
        letter->pubs[letter->count++] = pub;
    }
}

static void give_back(struct broker_pages *pages, struct store_read *letter, uint16_t shard)
{
    struct mail *mail = &letter->letter.mail;

    mail->kind = MAIL_SHARED_READ;
    gateway_post(pages->gs, shard, mail);
}

static void forget_reading(struct broker_pages *pages, uint32_t slot)
{
    struct reading *reading = slab_at(&pages->slots, slot);

    *reading->link = reading->next;
    if (reading->next) {
        reading->next->link = reading->link;
    }
    slab_free(&pages->slots, slot);
}

void broker_pages_heard(
    struct broker_pages *pages, uint64_t id, int err, const struct redis_page *page)
{
    uint32_t slot = (uint32_t)(id - 1);
    struct reading reading = *(struct reading *)slab_at(&pages->slots, slot);

    forget_reading(pages, slot);
    reading.letter->letter.err = err;
    if (!err) {
        fill_letter(pages, reading.letter, page);
    }
    give_back(pages, reading.letter, reading.shard);
}

void broker_pages_ask(
    struct broker_pages *pages, struct redis_link *link, uint16_t from, struct store_read *letter)
{
    uint32_t slot = slab_alloc(&pages->slots);
    int err = slot == SLAB_NONE ? -EBUSY : 0;

    if (!err) {
        struct reading *reading = slab_at(&pages->slots, slot);
        *reading = (struct reading){letter, pages->first, &pages->first, from};
        if (reading->next) {
            reading->next->link = &reading->next;
        }
        pages->first = reading;
        err = redis_link_read(link, span_of(letter->name, letter->name_len),
            letter->from == STORE_FROM_BEGIN, letter->after, letter->count_max, letter->bytes_max,
            (uint64_t)slot + 1);
    }
    if (err) {
        if (slot != SLAB_NONE) {
            forget_reading(pages, slot);
        }
        letter->letter.err = err == -ENOMEM ? -EBUSY : err;
        give_back(pages, letter, from);
    }
}

/* Nobody else would give back what the link has not answered. */
void broker_pages_fini(struct broker_pages *pages)
{
    for (struct reading *reading = pages->first; reading; reading = reading->next) {
        reading->letter->letter.err = -ENOTCONN;
        give_back(pages, reading->letter, reading->shard);
    }
    slab_fini(&pages->slots);
}
