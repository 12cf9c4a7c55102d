#include "core/shared.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "core/home.h"
#include "core/lend.h"
#include "core/shard.h"

/* So long a listener waits for a Redis that is away, and then hears reset. */
#define WAIT_NS (5ull * 1000000000)

void shared_open(struct shard *shard, const struct shared_ports *ports)
{
    shard->shared.ports = ports;
}

bool shared_is(const struct shard *shard, const struct home *home)
{
    return shard->shared.ports && shard->settings->ns[home->ns].shared;
}

int shared_init(struct home *home)
{
    struct shared_home *shared = mem_try_zalloc(sizeof(*shared));

    if (!shared) {
        return -ENOMEM;
    }
    home->is_shared = true;
    home->shared = shared;
    return 0;
}

static void drop_held(struct home *home)
{
    struct shared_home *shared = home->shared;

    for (struct mail *mail = shared->held.first; mail;) {
        struct mail *next = mail->next;
        publication_unref((struct publication *)mail);
        mail = next;
    }
    shared->held = (struct mail_chain){0};
    shared->held_count = 0;
    shared->held_bytes = 0;
}

void shared_free(struct home *home)
{
    if (home->is_shared) {
        drop_held(home);
        mem_free(home->shared);
        home->is_shared = false;
        home->shared = NULL;
    }
}

bool shared_is_fed(const struct shard *shard, const struct home *home)
{
    return !shard->shared.ports->by_interest || (home->shards && !home->closed);
}

bool shared_is_busy(const struct home *home)
{
    return home->is_shared && (home->shared->filling || home->shared->held_count);
}

/* ---- epochs ---- */

void shared_adopt(struct shard *shard, struct home *home, struct cursor last)
{
    drop_held(home);
    ring_clear(shard, home->ring);
    home->shared->epoch = last.epoch;
    home->shared->heard = 0;
    home->shared->unsure = false;
    home->shared->renewing = false;
    home->next_offset = last.offset + 1;
    for (uint64_t left = home->shards; left; left &= left - 1) {
        home_post_epoch(shard, home, (uint16_t)__builtin_ctzll(left));
    }
}

void shared_renew(struct shard *shard, struct home *home)
{
    const struct shared_ports *ports = shard->shared.ports;

    if (!home->shared->renewing) {
        home->shared->renewing = true;
        home->shared->unsure = true;
        ports->renew(
            ports->ctx, home_name(home), (struct cursor){home->shared->epoch, home_last(home)});
    }
}

/* Whoever wants to know asks the broker. */
static void forget(struct shard *shard, struct home *home)
{
    ring_clear(shard, home->ring);
    home->shared->epoch = 0;
    home->next_offset = 1;
}

void shared_doubt(struct shard *shard, struct home *home)
{
    struct shared_home *shared = home->shared;

    shared->heard = 0;
    shared->unsure = true;
    shared->renewing = false;
    drop_held(home);
    if (home->shards) {
        shared_fill(shard, home);
    } else {
        forget(shard, home);
    }
}

/* Of a closed channel all listeners are still waiting, so there is no place from which to go on: they
 * begin where the broker stands now. */
void shared_opened(struct shard *shard, struct home *home)
{
    if (home->closed) {
        drop_held(home);
        forget(shard, home);
    } else {
        shared_doubt(shard, home);
    }
}

/* ---- what comes by the link ---- */

static void show_ephemeral(struct shard *shard, struct home *home, struct publication *pub)
{
    pub->flags |= PUBLICATION_EPHEMERAL;
    pub->epoch = home->shared->epoch;
    pub->offset = home_last(home); /* It stands where the one before it does. */
    home_show(shard, home, pub);
    publication_unref(pub);
}

static void show(struct shard *shard, struct home *home, struct publication *pub)
{
    home_show(shard, home, pub);
    publication_unref(pub);
}

/* Past the bound it is let go: Redis has it, and heard says that it is missing. */
static void hold(struct home *home, struct publication *pub)
{
    struct shared_home *shared = home->shared;

    if (shared->held_count >= SHARED_HELD_MAX || shared->held_bytes >= SHARED_HELD_BYTES_MAX) {
        publication_unref(pub);
        return;
    }
    mail_chain_add(&shared->held, &pub->mail);
    shared->held_count += 1;
    shared->held_bytes += publication_size(pub);
}

void shared_release_held(struct shard *shard, struct home *home)
{
    struct shared_home *shared = home->shared;
    struct mail *mail;

    while ((mail = shared->held.first)) {
        struct publication *pub = (struct publication *)mail;
        if (pub->offset > home_last(home) + 1) {
            return;
        }
        shared->held.first = mail->next;
        shared->held.last = mail->next ? shared->held.last : NULL;
        shared->held_count -= 1;
        shared->held_bytes -= publication_size(pub);
        if (pub->offset == home_last(home) + 1) {
            show(shard, home, pub);
        } else {
            publication_unref(pub); /* A page brought it. */
        }
    }
}

void shared_take(struct shard *shard, struct home *home, struct publication *pub)
{
    struct shared_home *shared = home->shared;
    uint64_t offset = pub->offset;

    if (!(pub->flags & PUBLICATION_NUMBERED)) {
        shard->shared.ephemeral += 1;
        show_ephemeral(shard, home, pub);
        return;
    }
    if (pub->epoch != shared->epoch) {
        shared_adopt(shard, home, (struct cursor){pub->epoch, offset - 1});
    }
    if (offset <= shared->heard) { /* On one link they only grow, but for a fail-over. */
        shared_renew(shard, home);
        shared_fill(shard, home);
        show_ephemeral(shard, home, pub);
        return;
    }
    shared->heard = offset;
    if (offset <= home_last(home)) {
        publication_unref(pub); /* A page brought it. */
    } else if (offset == home_last(home) + 1) {
        show(shard, home, pub);
        shared_release_held(shard, home);
    } else {
        shard->shared.holes += !shared->held_count;
        hold(home, pub);
        shared_fill(shard, home);
    }
}

/* ---- what is missing ---- */

static void tell_behind(struct shard *shard, const struct home *home, uint16_t to, uint64_t last)
{
    struct mail_behind *mail = mem_alloc(sizeof(*mail) + home->name_len);
    uint64_t count = last - home_last(home);

    *mail = (struct mail_behind){.mail = {.kind = MAIL_BEHIND},
        .hash = home->hash,
        .from = home_last(home) + 1,
        .to = last,
        .count = count > UINT32_MAX ? UINT32_MAX : (uint32_t)count,
        .name_len = home->name_len};
    memcpy(mail->name, home->name, home->name_len);
    lend_post(shard, to);
    shard_post(shard, to, &mail->mail);
}

void shared_lose(struct shard *shard, struct home *home, uint64_t to)
{
    for (uint64_t left = home->shards; left; left &= left - 1) {
        tell_behind(shard, home, (uint16_t)__builtin_ctzll(left), to);
    }
    shard->shared.lost += to - home_last(home);
    ring_clear(shard, home->ring);
    home->next_offset = to + 1;
}

/* ---- asking ---- */

static struct shared_read *create_read(const struct home *home)
{
    struct shared_read *read = mem_zalloc(sizeof(*read)); /* A hole must not be forgotten. */

    read->letter.hash = home->hash;
    read->letter.name_len = home->name_len;
    memcpy(read->letter.name, home->name, home->name_len);
    return read;
}

/* Where the page begins, which for a hole is where home stands at that moment. */
static void aim(struct shard *shard, struct shared_read *read)
{
    struct store_read *letter = &read->letter;
    const struct mail_subscribe *mail = read->mail;
    struct home *home = home_find(shard, letter->hash, span_of(letter->name, letter->name_len));

    read->asked = home && home->is_shared ? (struct cursor){home->shared->epoch, home_last(home)}
                                          : (struct cursor){0};
    letter->letter =
        (struct store_letter){.mail = {.kind = MAIL_SHARED_READ, .from = shard->index}};
    letter->bounds = (struct history_bounds){0};
    letter->pubs = NULL;
    letter->count = 0;
    letter->more = false;
    if (!mail) {
        letter->from = STORE_FROM_AFTER;
        letter->after = read->asked.offset;
        letter->count_max = read->asked.epoch ? UINT32_MAX : 0;
        letter->bytes_max = STORE_PAGE_BYTES;
        return;
    }
    bool cursor = mail->since.kind == SINCE_CURSOR;
    letter->from = mail->since.kind == SINCE_BEGIN ? STORE_FROM_BEGIN : STORE_FROM_AFTER;
    letter->after = cursor ? mail->since.cursor.offset : 0;
    letter->count_max = cursor || mail->since.kind == SINCE_BEGIN ? mail->page_count : 0;
    letter->bytes_max =
        mail->page_bytes < STORE_PAGE_BYTES ? mail->page_bytes : (uint32_t)STORE_PAGE_BYTES;
}

void shared_ask(struct shard *shard, struct shared_read *read)
{
    const struct shared_ports *ports = shard->shared.ports;

    aim(shard, read);
    if (ports->read(ports->ctx, &read->letter) == 0) {
        shard->shared.letters += 1;
    } else {
        mail_chain_add(&shard->shared.waiting, &read->letter.letter.mail);
    }
}

void shared_fill(struct shard *shard, struct home *home)
{
    if (!home->shared->filling) {
        home->shared->filling = true;
        shared_ask(shard, create_read(home));
    }
}

bool shared_wants_page(
    const struct shard *shard, const struct home *home, const struct mail_subscribe *mail)
{
    const struct shared_home *shared = home->shared;
    const struct cursor *cursor = &mail->since.cursor;
    uint64_t kept = home->ring ? home->ring->count : 0;

    if (shared->epoch == 0 || !shared_is_fed(shard, home)) {
        return true;
    }
    switch ((enum since_kind)mail->since.kind) {
    case SINCE_NONE:
    case SINCE_BAD:
        return false;
    case SINCE_BEGIN:
        return true;
    case SINCE_CURSOR:
        break;
    }
    return shared->unsure || cursor->epoch != shared->epoch || cursor->offset > home_last(home) ||
           cursor->offset < home_last(home) - kept;
}

void shared_read(struct shard *shard, struct home *home, struct mail_subscribe *mail)
{
    struct shared_read *read = create_read(home);

    read->mail = mail;
    read->deadline_ns = shard->now_ns + WAIT_NS;
    shared_ask(shard, read);
}

void shared_tick(struct shard *shard)
{
    struct mail *mail = shard->shared.waiting.first;

    shard->shared.waiting = (struct mail_chain){0};
    while (mail) {
        struct mail *next = mail->next;
        struct shared_read *read = (struct shared_read *)mail;
        if (read->mail && shard->now_ns >= read->deadline_ns) {
            read->letter.letter.err = -ETIMEDOUT;
            shard->shared.letters += 1;
            shared_hear_read(shard, mail);
        } else {
            shared_ask(shard, read);
        }
        mail = next;
    }
}

void shared_fini(struct shard *shard)
{
    struct mail *mail = shard->shared.waiting.first;

    while (mail) {
        struct mail *next = mail->next;
        mem_free(((struct shared_read *)mail)->mail);
        mem_free(mail);
        mail = next;
    }
    shard->shared.waiting = (struct mail_chain){0};
}
