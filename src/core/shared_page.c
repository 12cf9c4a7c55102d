/* Pages of a shared history: what home missed, and what listeners want to hear again. */
#include <errno.h>

#include "base/mem.h"
#include "core/home.h"
#include "core/home_answer.h"
#include "core/shard.h"

static void drop_from(struct store_read *page, uint32_t first)
{
    for (uint32_t i = first; i < page->count; i++) {
        publication_unref(page->pubs[i]);
    }
    page->count = first;
    if (first == 0) {
        mem_free(page->pubs);
        page->pubs = NULL;
    }
}

static bool is_passing(int err)
{
    return err == -ENOTCONN || err == -ECONNRESET || err == -EBUSY;
}

static void ask_later(struct shard *shard, struct shared_read *read)
{
    mail_chain_add(&shard->shared.waiting, &read->letter.letter.mail);
}

/* What the page says of epochs. True: home stands in the page's epoch now, as far as it was asked in it. A
 * home that is not fed stands where the broker does. */
static bool agree(struct shard *shard, struct home *home, const struct shared_read *read)
{
    const struct history_bounds *bounds = &read->letter.bounds;
    struct shared_home *shared = home->shared;

    if (shared->epoch != read->asked.epoch) { /* Home has come to another one since it asked. */
        if (shared->epoch != bounds->epoch) {
            return false;
        }
    } else if (bounds->epoch != shared->epoch) {
        shared_adopt(shard, home, (struct cursor){bounds->epoch, bounds->last});
    } else if (bounds->last <
               read->asked.offset) { /* What home has shown Redis does not know of. */
        shared->renewing = false;    /* Perhaps it did not get through. */
        shared_renew(shard, home);
        return false;
    }
    if (!shared_is_fed(shard, home) && bounds->last > home_last(home)) {
        shared_adopt(shard, home, (struct cursor){bounds->epoch, bounds->last});
    }
    return true;
}

/* ---- what home missed ---- */

/* Shows what follows; what is not there is lost. */
static void show_page(struct shard *shard, struct home *home, struct store_read *page)
{
    for (uint32_t i = 0; i < page->count; i++) {
        struct publication *pub = page->pubs[i];
        if (pub->offset > home_last(home)) {
            if (pub->offset > home_last(home) + 1) {
                shared_lose(shard, home, pub->offset - 1);
            }
            pub->epoch = home->shared->epoch;
            home_show(shard, home, pub);
            shard->shared.fetched += 1;
        }
    }
    if (!page->more && home_last(home) < page->bounds.last) {
        shared_lose(shard, home, page->bounds.last);
    }
}

static void fill(struct shard *shard, struct home *home, struct shared_read *read)
{
    struct store_read *page = &read->letter;
    struct shared_home *shared = home->shared;
    bool again = false;

    if (is_passing(page->letter.err) || (!page->letter.err && !agree(shard, home, read))) {
        drop_from(page, 0);
        ask_later(shard, read);
        return;
    }
    shared->filling = false;
    if (page->letter.err) { /* It cannot be known what was missed. */
        shared_adopt(shard, home, (struct cursor){shared->epoch, home_last(home)});
    } else {
        show_page(shard, home, page);
        shared_release_held(shard, home);
        again = page->more || home_last(home) < shared->heard;
        shared->unsure = again;
    }
    drop_from(page, 0);
    mem_free(read);
    if (again && home->shards) {
        shared_fill(shard, home);
    }
}

/* ---- what listeners want ---- */

static void answer_reset(struct shard *shard, struct home *home, struct mail_subscribe *mail)
{
    mail->state = SUBSCRIBE_RESET;
    mail->from = mail->cursor = (struct cursor){home_epoch(shard, home), home_last(home)};
    home_post_answer(shard, home, mail);
}

/* How many of the page's publications follow `start` without a hole, up to where home stands: what is
 * beyond reaches the listener as it comes. */
static uint32_t usable(const struct home *home, const struct store_read *page, uint64_t start)
{
    uint32_t count = 0;

    while (count < page->count && page->pubs[count]->offset == start + count + 1 &&
           page->pubs[count]->offset <= home_last(home)) {
        count += 1;
    }
    return count;
}

static void answer_page(struct shard *shard, struct home *home, struct mail_subscribe *mail,
    struct store_read *page, uint64_t start)
{
    struct cursor cursor = {home->shared->epoch, start};

    drop_from(page, usable(home, page, start));
    for (uint32_t i = 0; i < page->count; i++) {
        page->pubs[i]->epoch = cursor.epoch;
    }
    mail->from = cursor;
    mail->cursor = (struct cursor){cursor.epoch, start + page->count};
    mail->replay = page->pubs;
    mail->replay_count = page->count;
    mail->more = mail->cursor.offset < home_last(home);
    mail->state =
        mail->continued || page->count || mail->more ? SUBSCRIBE_REPLAYED : SUBSCRIBE_LIVE;
    if (mail->continued && start > mail->since.cursor.offset) {
        mail->lost = start - mail->since.cursor.offset;
    }
    shard->stats.replayed += page->count;
    page->pubs = NULL;
    page->count = 0;
    home_post_answer(shard, home, mail);
}

/* From where on the page has everything: `offset`, unless what followed it is gone. */
static uint64_t next_kept(const struct store_read *page, uint64_t offset)
{
    if (page->count) {
        return page->pubs[0]->offset - 1;
    }
    return page->more || page->bounds.last < offset ? offset : page->bounds.last;
}

/* The page answers the letter, or home must come further first. Takes the letter's page. */
static void answer(struct shard *shard, struct home *home, struct shared_read *read)
{
    struct store_read *page = &read->letter;
    struct mail_subscribe *mail = read->mail;
    const struct history_bounds *bounds = &page->bounds;
    uint64_t oldest =
        bounds->first ? bounds->first - 1 : bounds->last; /* Continues from there on. */
    uint64_t offset = mail->since.cursor.offset, follows = next_kept(page, offset);

    if (mail->since.kind == SINCE_NONE || mail->since.kind == SINCE_BAD) {
        home_answer(shard, home, mail);
    } else if (mail->since.kind == SINCE_BEGIN) {
        answer_page(shard, home, mail, page, oldest < home_last(home) ? oldest : home_last(home));
    } else if (mail->since.cursor.epoch != home->shared->epoch || offset > bounds->last ||
               (offset < oldest && !mail->continued)) {
        answer_reset(shard, home, mail);
    } else if (follows != offset && !mail->continued) {
        answer_reset(shard, home, mail); /* Somebody took events out of the stream. */
    } else {
        answer_page(shard, home, mail, page, follows < home_last(home) ? follows : home_last(home));
    }
    drop_from(page, 0);
    mem_free(read);
}

/* Has another gateway shown more than this one, and the listener seen it? */
static bool is_ahead(const struct home *home, const struct shared_read *read)
{
    const struct since *since = &read->mail->since;

    return since->kind == SINCE_CURSOR && since->cursor.epoch == home->shared->epoch &&
           since->cursor.offset > home_last(home) &&
           since->cursor.offset <= read->letter.bounds.last;
}

static void hear_for_listener(struct shard *shard, struct home *home, struct shared_read *read)
{
    int err = read->letter.letter.err;

    if (is_passing(err)) {
        ask_later(shard, read);
    } else if (err) {
        answer_reset(shard, home, read->mail);
        mem_free(read);
    } else if (!agree(shard, home, read)) {
        drop_from(&read->letter, 0);
        ask_later(shard, read);
    } else if (is_ahead(home, read)) {
        drop_from(&read->letter, 0);
        shared_fill(shard, home);
        ask_later(shard, read);
    } else {
        answer(shard, home, read);
    }
}

void shared_hear_read(struct shard *shard, struct mail *mail)
{
    struct shared_read *read = (struct shared_read *)mail;
    struct store_read *page = &read->letter;
    struct home *home = home_get(shard, page->hash, span_of(page->name, page->name_len));

    shard->shared.letters -= 1;
    if (home && home->is_shared && read->mail) {
        hear_for_listener(shard, home, read);
    } else if (home && home->is_shared) {
        fill(shard, home, read);
    } else {
        drop_from(page, 0);
        if (read->mail) {
            home_answer_failed(shard, read->mail);
        }
        mem_free(read);
    }
    if (home) {
        home_release(shard, home);
    }
}
