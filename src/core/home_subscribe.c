/* Home's side of subscribing: what a cursor is worth, and history in pages.
 *
 * A page is at most page_count publications and page_bytes of them, so that what is lent out and
 * encoded for one listener is bounded whatever history holds. The listener asks for the next when it
 * has brought one to its client; the page that reaches the end is posted in order with the
 * publications that follow, so nothing falls between replay and live.
 */
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "core/home.h"
#include "core/home_answer.h"
#include "core/lend.h"
#include "core/shard.h"

/* Where the page begins, and how many publications are kept from there on. */
struct position {
    uint64_t after; /* Offset. */
    uint32_t count;
};

struct cursor home_cursor_at(const struct shard *shard, const struct home *home, uint64_t offset)
{
    return (struct cursor){home_epoch(shard, home), offset};
}

/* A page later, history may have moved on past the reader: he is told, and goes on with the oldest. */
static enum subscribe_state judge_continued(const struct shard *shard, const struct home *home,
    struct cursor cursor, struct position *ret, uint64_t *ret_lost)
{
    uint64_t last = home_last(home);
    uint32_t kept = home->ring ? home->ring->count : 0;

    if (cursor.epoch != home_epoch(shard, home) || cursor.offset > last) {
        *ret = (struct position){.after = last};
        return SUBSCRIBE_RESET;
    }
    uint64_t after = cursor.offset < last - kept ? last - kept : cursor.offset;
    *ret_lost = after - cursor.offset;
    *ret = (struct position){.after = after, .count = (uint32_t)(last - after)};
    return SUBSCRIBE_REPLAYED;
}

static enum subscribe_state judge(
    const struct shard *shard, const struct home *home, struct since since, struct position *ret)
{
    uint64_t last = home_last(home);
    uint32_t kept = home->ring ? home->ring->count : 0;

    *ret = (struct position){.after = last};
    switch ((enum since_kind)since.kind) {
    case SINCE_NONE:
        return SUBSCRIBE_LIVE;
    case SINCE_BEGIN:
        *ret = (struct position){.after = last - kept, .count = kept};
        break;
    case SINCE_CURSOR:
        if (since.cursor.epoch != home_epoch(shard, home) || since.cursor.offset > last ||
            since.cursor.offset < last - kept) {
            return SUBSCRIBE_RESET;
        }
        *ret = (struct position){
            .after = since.cursor.offset, .count = (uint32_t)(last - since.cursor.offset)};
        break;
    case SINCE_BAD:
        return SUBSCRIBE_RESET;
    }
    return ret->count ? SUBSCRIBE_REPLAYED : SUBSCRIBE_LIVE;
}

struct publication *home_kept_at(const struct ring *ring, uint32_t index)
{
    return ring->slots[(ring->head + index) & (ring->cap - 1)];
}

/* How many of the `left` publications from `first` (an index of the ring) make a page. */
uint32_t home_page_length(
    const struct ring *ring, uint32_t first, uint32_t left, const struct mail_subscribe *mail)
{
    uint32_t most = left < mail->page_count ? left : mail->page_count, count = 0;
    size_t bytes = 0;

    while (count < most) {
        bytes += publication_size(home_kept_at(ring, first + count));
        if (count && bytes > mail->page_bytes) {
            break;
        }
        count += 1;
    }
    return count;
}

/* Without memory for the page it is empty and more is left: the listener asks again. */
static void fill_page(
    struct shard *shard, struct home *home, struct mail_subscribe *mail, struct position at)
{
    const struct ring *ring = home->ring;
    uint32_t first = at.count ? ring->count - at.count : 0;
    uint32_t count = at.count ? home_page_length(ring, first, at.count, mail) : 0;

    if (count) {
        mail->replay = mem_try_alloc(count * sizeof(struct publication *));
        count = mail->replay ? count : 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        mail->replay[i] = home_kept_at(ring, first + i);
        mail->replay[i]->refs += 1;
    }
    mail->replay_count = count;
    mail->from = home_cursor_at(shard, home, at.after);
    mail->cursor = home_cursor_at(shard, home, at.after + count);
    mail->more = count < at.count;
    shard->stats.replayed += count;
}

/* There was no memory for the channel. */
void home_answer_failed(struct shard *shard, struct mail_subscribe *mail)
{
    mail->state = SUBSCRIBE_RESET;
    mail->failed = true;
    mail->mail.kind = MAIL_SUBSCRIBED;
    shard_post(shard, mail->mail.from, &mail->mail);
}

/* In order with what was published before. */
void home_post_answer(struct shard *shard, struct home *home, struct mail_subscribe *mail)
{
    uint16_t to = mail->mail.from;

    mail->mail.kind = MAIL_SUBSCRIBED;
    lend_post(shard, to);
    lend_report(shard, to, home);
    shard_post(shard, to, &mail->mail);
}

/* Does the answer lie further back than memory reaches? */
static bool wants_store(
    const struct shard *shard, const struct home *home, const struct mail_subscribe *mail)
{
    uint64_t kept = home->ring ? home->ring->count : 0;
    const struct cursor *cursor = &mail->since.cursor;

    if (!home->durable || mail->since.kind == SINCE_NONE || mail->since.kind == SINCE_BAD) {
        return false;
    }
    if (mail->since.kind == SINCE_BEGIN) {
        return true;
    }
    return cursor->epoch == home_epoch(shard, home) && cursor->offset < home_last(home) - kept;
}

/* The answer and the interest are one step: every publication from here on is mailed after it. A page
 * from the store is such a step when it reaches the end. */
static void answer(struct shard *shard, struct home *home, struct mail_subscribe *mail)
{
    home_freshen(shard, home);
    if (home->ring) {
        ring_trim(shard, home->ring, &shard->settings->ns[home->ns]);
    }
    if (home->is_shared && shared_wants_page(shard, home, mail)) {
        shared_read(shard, home, mail);
        return;
    }
    if (wants_store(shard, home, mail)) {
        durable_read(shard, mail);
        return;
    }
    home_answer(shard, home, mail);
}

void home_answer(struct shard *shard, struct home *home, struct mail_subscribe *mail)
{
    struct position at;

    mail->state = mail->continued
                      ? judge_continued(shard, home, mail->since.cursor, &at, &mail->lost)
                      : judge(shard, home, mail->since, &at);
    fill_page(shard, home, mail, at);
    home_post_answer(shard, home, mail);
}

static void add_interest(struct shard *shard, struct home *home, uint16_t listener)
{
    bool first = home->shards == 0;

    if (first && home->is_shared && shard->ports.interest) {
        shared_doubt(shard, home); /* Until now nobody told us of it. */
    }
    home->shards |= 1ull << listener;
    if (first && shard->ports.interest) {
        home->closed = !shard->ports.interest(shard->ports.ctx, home_name(home), true);
    }
}

void home_subscribe(struct shard *shard, struct mail_subscribe *mail)
{
    struct home *home = home_get(shard, mail->hash, span_of(mail->name, mail->name_len));

    if (!home) {
        home_answer_failed(shard, mail);
        return;
    }
    if (mail->interest) {
        add_interest(shard, home, mail->mail.from);
        if (home->closed) {
            waiting_add(&shard->waiting, home, mail);
            return;
        }
    }
    answer(shard, home, mail);
    home_release(shard, home); /* A look at history leaves nothing behind. */
}

/* Comes while an import is worked in, before anything is published: nothing can be missed. */
void home_listen(struct shard *shard, struct mail_unsubscribe *mail)
{
    struct home *home = home_get(shard, mail->hash, span_of(mail->name, mail->name_len));

    CHECK(home); /* Start-up: without memory there is nothing to start. */
    add_interest(shard, home, mail->mail.from);
    if (home->is_shared) {
        shared_doubt(shard, home);
    }
    if (home->announce) {
        home_post_epoch(shard, home, mail->mail.from);
    }
    mem_free(mail);
}

void home_unsubscribe(struct shard *shard, struct mail_unsubscribe *mail)
{
    struct home *home = home_find(shard, mail->hash, span_of(mail->name, mail->name_len));
    uint64_t bit = 1ull << mail->mail.from;

    if (home && (home->shards & bit)) {
        home->shards &= ~bit;
        if (home->shards == 0 && shard->ports.interest) {
            shard->ports.interest(shard->ports.ctx, home_name(home), false);
        }
        home_release(shard, home);
    }
    mem_free(mail);
}

void home_replay_back(struct shard *shard, struct mail_subscribe *mail)
{
    (void)shard;
    for (uint32_t i = 0; i < mail->replay_count; i++) {
        publication_unref(mail->replay[i]);
    }
    mem_free(mail->replay);
    mem_free(mail);
}

static void open_one(struct shard *shard, struct home *home)
{
    struct mail *mail = waiting_take(&shard->waiting, home);

    if (home->is_shared) {
        shared_opened(shard, home);
    }
    home->closed = false;
    while (mail) {
        struct mail *next = mail->next;
        answer(shard, home, (struct mail_subscribe *)mail);
        mail = next;
    }
}

void home_opened(struct shard *shard, struct span name)
{
    size_t cursor = 0;
    struct home *home;

    if (name.len) {
        home = home_find(shard, shard_hash(shard, name), name);
        if (home && (home->closed || home->is_shared)) {
            open_one(shard, home);
        }
        return;
    }
    while ((home = (struct home *)table_next(&shard->homes, &cursor))) {
        if (home->closed) {
            open_one(shard, home);
        }
    }
}
