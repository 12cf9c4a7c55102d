#include "core/durable.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "core/home.h"
#include "core/shard.h"

enum { OPEN_BYTES_MAX = 256 * 1024, MS = 1000000 };

struct append {
    struct store_append letter; /* First. */
    uint64_t bytes;
};

struct read {
    struct store_read letter; /* First. */
    struct mail_subscribe *mail;
};

void durable_open(
    struct shard *shard, const struct store_ports *ports, struct store_identity identity)
{
    shard->durable.ports = ports;
    shard->durable.identity = identity;
    shard->durable.floor = history_start(identity.generation);
}

void durable_remember_key(struct shard *shard, const uint64_t key[2], uint64_t channel_hash,
    struct cursor cursor, uint64_t age_ms)
{
    uint64_t age_ns = age_ms * MS;

    once_add(&shard->once, key, channel_hash, shard->now_ns > age_ns ? shard->now_ns - age_ns : 0,
        cursor);
}

bool durable_is(const struct shard *shard, const struct home *home)
{
    return shard->durable.ports && shard->settings->ns[home->ns].durability != DURABILITY_NONE;
}

bool durable_is_sync(const struct shard *shard, const struct home *home)
{
    return shard->durable.ports && shard->settings->ns[home->ns].durability == DURABILITY_SYNC;
}

/* ---- appending ---- */

/* err: of all of them; 0: each has its own. */
static void work_in(struct shard *shard, struct append *append, int err)
{
    for (uint32_t i = 0; i < append->letter.count; i++) {
        const struct store_entry *entry = &append->letter.entries[i];
        int entry_err = err ? err : entry->err;
        shard->durable.failed += entry_err != 0;
        home_hear_stored(shard, entry->pub, entry_err);
    }
    mem_free(append);
}

static void post_open(struct shard *shard)
{
    struct append *append = shard->durable.open;

    if (!append) {
        return;
    }
    shard->durable.open = NULL;
    append->letter.time_ms = (uint64_t)((int64_t)(shard->now_ns / MS) + shard->durable.wall_ms);
    int err = shard->durable.ports->append(shard->durable.ports->ctx, &append->letter);
    if (!err) {
        shard->durable.letters += 1;
        return;
    }
    shard->durable.refusing = err == -EBUSY && shard->durable.letters;
    if (err == -EMSGSIZE && append->letter.count > 1) {
        err = -EBUSY; /* One of them is too large, by itself, or next to the others. */
    }
    work_in(shard, append, err);
}

void durable_post_all(struct shard *shard)
{
    post_open(shard);
}

/* The letter that is being filled, with room; NULL without memory. */
static struct append *open_append(struct shard *shard)
{
    struct append *append = shard->durable.open;

    if (append && (append->letter.count == STORE_APPEND_MAX || append->bytes > OPEN_BYTES_MAX)) {
        post_open(shard);
        append = NULL;
    }
    if (!append) {
        append = mem_try_alloc(sizeof(*append));
        if (append) {
            append->letter.letter =
                (struct store_letter){.mail = {.kind = MAIL_STORE_APPEND, .from = shard->index}};
            append->letter.count = 0;
            append->bytes = 0;
        }
        shard->durable.open = append;
    }
    return append;
}

void durable_append(struct shard *shard, struct home *home, struct publication *pub)
{
    const struct ns_settings *ns = &shard->settings->ns[home->ns];
    struct append *append = open_append(shard);
    bool follows = home->stores && !(pub->flags & PUBLICATION_SHOW_STORED);

    home->stores = true;
    pub->refs += 1;
    if (!append) {
        home_hear_stored(shard, pub, -ENOMEM);
        return;
    }
    append->letter.entries[append->letter.count++] = (struct store_entry){.pub = pub,
        .limits = {.messages = ns->history_messages,
            .bytes = ns->history_bytes,
            .age_ms = ns->history_age_ms},
        .follows = follows ? pub->offset - 1 : 0};
    append->bytes += publication_size(pub);
}

void durable_hear_append(struct shard *shard, struct mail *mail)
{
    struct append *append = (struct append *)mail;

    shard->durable.letters -= 1;
    shard->durable.refusing = false;
    if (append->letter.letter.err == 0) {
        holes_hope(shard);
    }
    work_in(shard, append, append->letter.letter.err);
}

/* ---- reading ---- */

/* Returns 0 or negative errno; the letter is taken only on success. */
static int ask_page(struct shard *shard, struct mail_subscribe *mail)
{
    struct read *read = mem_try_zalloc(sizeof(*read));

    if (!read) {
        return -ENOMEM;
    }
    bool begin = mail->since.kind == SINCE_BEGIN;
    read->mail = mail;
    read->letter.letter.mail = (struct mail){.kind = MAIL_STORE_READ, .from = shard->index};
    read->letter.from = begin ? STORE_FROM_BEGIN : STORE_FROM_AFTER;
    read->letter.after = begin ? 0 : mail->since.cursor.offset;
    read->letter.count_max = mail->page_count;
    read->letter.bytes_max = mail->page_bytes;
    read->letter.hash = mail->hash;
    read->letter.name_len = mail->name_len;
    memcpy(read->letter.name, mail->name, mail->name_len);
    int err = shard->durable.ports->read(shard->durable.ports->ctx, &read->letter);
    if (err) {
        mem_free(read);
        return err;
    }
    shard->durable.letters += 1;
    return 0;
}

/* Without room it waits for the answer to another one, or for a tick. */
void durable_read(struct shard *shard, struct mail_subscribe *mail)
{
    if (shard->durable.reads.first || ask_page(shard, mail) != 0) {
        mail_chain_add(&shard->durable.reads, &mail->mail);
    }
}

static void ask_waiting(struct shard *shard)
{
    struct mail *mail = shard->durable.reads.first;

    while (mail) {
        struct mail *next = mail->next;
        if (ask_page(shard, (struct mail_subscribe *)mail) != 0) {
            break;
        }
        mail = next;
    }
    shard->durable.reads.first = mail;
    if (!mail) {
        shard->durable.reads.last = NULL;
    }
}

void durable_hear_read(struct shard *shard, struct mail *mail)
{
    struct read *read = (struct read *)mail;

    shard->durable.letters -= 1;
    home_hear_read(shard, read->mail, &read->letter);
    mem_free(read);
    ask_waiting(shard);
}

/* ---- life ---- */

void durable_tick(struct shard *shard)
{
    if (shard->durable.ports) {
        holes_tick(shard);
        ask_waiting(shard);
    }
}

static int closed_append(void *ctx, struct store_append *letter)
{
    (void)ctx;
    (void)letter;
    return -ESHUTDOWN;
}

static int closed_read(void *ctx, struct store_read *letter)
{
    (void)ctx;
    (void)letter;
    return -ESHUTDOWN;
}

static int closed_clear(void *ctx, struct store_clear *letter)
{
    (void)ctx;
    (void)letter;
    return -ESHUTDOWN;
}

void durable_close(struct shard *shard)
{
    static const struct store_ports closed = {NULL, closed_append, closed_read, closed_clear};

    if (shard->durable.ports) {
        shard->durable.ports = &closed;
    }
}

void durable_fini(struct shard *shard)
{
    CHECK(!shard->durable.open && shard->durable.letters == 0);
    followers_fini(&shard->durable.followers);
    holes_fini(&shard->durable.holes);
    for (struct mail *mail = shard->durable.reads.first; mail;) {
        struct mail *next = mail->next;
        mem_free(mail);
        mail = next;
    }
}
