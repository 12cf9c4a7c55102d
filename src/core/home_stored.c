/* Home's answers from the store: what a cursor is worth there, and pages that end where memory or live
 * begins.
 */
#include "base/mem.h"
#include "core/home.h"
#include "core/home_answer.h"
#include "core/shard.h"
#include "core/store.h"

/* Does anything follow this position, in the store or on its way there? */
static bool is_end(const struct shard *shard, const struct home *home,
    const struct history_bounds *bounds, uint64_t position)
{
    uint64_t start = history_start(shard->durable.identity.generation);

    return position >= bounds->last &&
           (home_last(home) <= bounds->last || home_last(home) == start);
}

/* The position the page follows. */
static uint64_t page_start(const struct mail_subscribe *mail, const struct store_read *page)
{
    const struct history_bounds *bounds = &page->bounds;

    if (mail->since.kind == SINCE_CURSOR) {
        bool behind = mail->continued && bounds->boundary > mail->since.cursor.offset;
        return behind ? bounds->boundary : mail->since.cursor.offset;
    }
    uint64_t before_first = bounds->first ? bounds->first - 1 : bounds->last;

    if (before_first == 0) {
        before_first = history_start(bounds->generation); /* Nothing was ever stored. */
    }
    return bounds->boundary > before_first ? bounds->boundary : before_first;
}

/* Was the cursor given out, and its publication is still on the way to the store? Not when the store
 * refused it: whoever waited for that would wait for ever. */
static bool is_on_the_way(const struct shard *shard, const struct home *home,
    const struct mail_subscribe *mail, const struct store_read *page)
{
    uint64_t offset = mail->since.cursor.offset;

    return mail->since.kind == SINCE_CURSOR && offset > page->bounds.last &&
           offset > page->bounds.boundary && offset <= home_last(home) &&
           offset > history_start(page->bounds.generation) && !holes_skips(shard, home, offset - 1);
}

static bool is_reset(struct shard *shard, const struct home *home,
    const struct mail_subscribe *mail, const struct store_read *page)
{
    if (page->letter.err) {
        return true;
    }
    uint64_t start = page_start(mail, page);
    if (holes_skips(shard, home, start)) {
        return true;
    }
    if (mail->since.kind != SINCE_CURSOR) {
        return false;
    }
    return mail->since.cursor.epoch != page->bounds.epoch ||
           (!mail->continued && !history_continues(&page->bounds, mail->since.cursor));
}

/* The store keeps events, home says what their cursors are. */
static void name_epoch(struct shard *shard, const struct home *home, struct store_read *page)
{
    page->bounds.epoch = home_epoch(shard, home);
    for (uint32_t i = 0; i < page->count; i++) {
        page->pubs[i]->epoch = page->bounds.epoch;
    }
}

static void drop_page(struct store_read *page)
{
    for (uint32_t i = 0; i < page->count; i++) {
        publication_unref(page->pubs[i]);
    }
    mem_free(page->pubs);
    page->pubs = NULL;
    page->count = 0;
}

/* How many publications a reader of pages missed: across generations only the last part is known. */
static uint64_t lost_between(uint64_t from, uint64_t to)
{
    uint64_t start = history_start(history_generation(to));

    return to - (from > start ? from : start);
}

/* Behind the store's last come those that are on their way there, if memory still has them. */
static uint64_t add_tail(const struct shard *shard, const struct home *home,
    const struct mail_subscribe *mail, struct store_read *page, uint64_t last)
{
    const struct ring *ring = home->ring;
    uint64_t kept = ring ? ring->count : 0;
    uint64_t start = history_start(shard->durable.identity.generation);
    uint64_t from = last > start ? last : start; /* Of a former generation all is stored. */

    if (page->more || from >= home_last(home) || from < home_last(home) - kept ||
        page->count >= mail->page_count) {
        return last;
    }
    uint32_t left = (uint32_t)(home_last(home) - from), first = ring->count - left;
    uint32_t room = mail->page_count - page->count;
    uint32_t count = home_page_length(ring, first, left < room ? left : room, mail);
    struct publication **pubs =
        mem_try_realloc(page->pubs, (page->count + count) * sizeof(struct publication *));
    if (!pubs) {
        return last;
    }
    page->pubs = pubs;
    for (uint32_t i = 0; i < count; i++) {
        pubs[page->count] = home_kept_at(ring, first + i);
        pubs[page->count]->refs += 1;
        last = pubs[page->count]->offset;
        page->count += 1;
    }
    return last;
}

/* A commit may be in the page before home has heard of it: what is not shown yet comes live. */
static void leave_unshown(const struct home *home, struct store_read *page)
{
    uint64_t start = history_start(page->bounds.generation);

    while (page->count && page->pubs[page->count - 1]->offset > home_last(home) &&
           page->pubs[page->count - 1]->offset > start) {
        page->count -= 1;
        publication_unref(page->pubs[page->count]);
    }
    if (page->bounds.last > home_last(home) && page->bounds.last > start) {
        page->bounds.last = home_last(home);
    }
}

static void take_page(
    struct shard *shard, struct home *home, struct mail_subscribe *mail, struct store_read *page)
{
    leave_unshown(home, page);
    uint64_t start = page_start(mail, page);
    uint64_t last = page->count ? page->pubs[page->count - 1]->offset : start;
    last = add_tail(shard, home, mail, page, last);
    bool end = last >= home_last(home) || is_end(shard, home, &page->bounds, last);

    mail->replay = page->pubs;
    mail->replay_count = page->count;
    mail->from = home_cursor_at(shard, home, start);
    mail->cursor = home_cursor_at(shard, home, last);
    mail->more = !end;
    mail->state = page->count || !end ? SUBSCRIBE_REPLAYED : SUBSCRIBE_LIVE;
    if (mail->continued) {
        mail->state = SUBSCRIBE_REPLAYED;
        mail->lost =
            start > mail->since.cursor.offset ? lost_between(mail->since.cursor.offset, start) : 0;
    }
    shard->stats.replayed += page->count;
}

void home_hear_read(struct shard *shard, struct mail_subscribe *mail, struct store_read *page)
{
    struct home *home = home_get(shard, mail->hash, span_of(mail->name, mail->name_len));

    if (!home) {
        drop_page(page);
        home_answer_failed(shard, mail);
        return;
    }
    home_freshen(shard, home);
    name_epoch(shard, home, page);
    if (!page->letter.err && is_on_the_way(shard, home, mail, page)) {
        drop_page(page);
        durable_read(shard, mail);
    } else if (is_reset(shard, home, mail, page)) {
        drop_page(page);
        mail->state = SUBSCRIBE_RESET;
        mail->from = mail->cursor = home_cursor_at(shard, home, home_last(home));
        home_post_answer(shard, home, mail);
    } else {
        take_page(shard, home, mail, page);
        home_post_answer(shard, home, mail);
    }
    home_release(shard, home);
}
