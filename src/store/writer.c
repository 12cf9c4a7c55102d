/* The writer: takes what waits, makes it one transaction, answers all of it.
 *
 * While a commit waits for the disk the next letters gather in the mailbox, so the slower the disk the
 * larger the groups. A letter is answered only after the commit; on an error nothing of the
 * transaction is there, and each of its letters says so.
 */
#include <errno.h>
#include <string.h>

#include "rt/clock.h"
#include "store/channels.h"
#include "store/guard.h"
#include "store/keys.h"
#include "store/own.h"

enum {
    GROUP_BYTES_MAX = 8 << 20, /* One transaction's publications. */
    GROUP_LETTERS_MAX = 4096,
    DELETES_MAX = 4096, /* One transaction's, besides two for each record that came. */
    EVICT_STEP = 256,   /* Records between two looks at the room. */
    ROOM_TRIES = 6,
    WALK_ROWS = 1000,
    WALK_PAUSE_MS = 250,
    WALK_ROUND_PAUSE_MS = 5000,
};

/* Pages that were freed can be used two commits later, and freeing takes pages: some room is kept. */
#define RESERVE_BYTES_MAX (256ull << 20)

#define NS_PER_MS 1000000ull

struct writer {
    struct store_worker *worker;
    struct store *store;
    struct mail_chain queue; /* Taken from the mailbox, not worked on yet. */
    struct mail_chain group; /* Of the present transaction. */
    uint32_t group_records;
    bool want_walk;
    bool stopping;
    struct bytes walk_name; /* Where the walk goes on. */
    uint64_t walk_ns;       /* When. */
};

static struct store_letter *first_of(const struct mail_chain *chain)
{
    return (struct store_letter *)chain->first;
}

static struct mail *take_first(struct mail_chain *chain)
{
    struct mail *mail = chain->first;

    chain->first = mail->next;
    if (!chain->first) {
        chain->last = NULL;
    }
    return mail;
}

/* ---- One transaction ---- */

struct work {
    struct writer *writer;
    bool make_room; /* Only evict. */
};

static bool is_ours(const struct format_meta *meta, const struct publication *pub)
{
    uint64_t generation = history_generation(pub->offset);

    return generation >= meta->epoch_generation && generation <= meta->generation &&
           pub->offset > history_start(generation);
}

static int apply_append(struct channels *channels, struct store_append *letter)
{
    int r = 0;

    for (uint32_t i = 0; i < letter->count && r == 0; i++) {
        struct store_entry *entry = &letter->entries[i];
        if (!is_ours(channels->meta, entry->pub)) {
            entry->err = -ESTALE;
            continue;
        }
        r = channels_append(channels, entry, letter->time_ms);
        if (r == 0 && entry->err == 0) {
            r = keys_add(channels->db, channels->txn, entry->pub, letter->time_ms);
        }
    }
    return r;
}

static int apply_clear(struct channels *channels, struct store_clear *letter)
{
    if (history_generation(letter->up_to) > channels->meta->generation) {
        letter->letter.err = -ESTALE;
        return 0;
    }
    return channels_clear(channels, span_of(letter->name, letter->name_len), letter->up_to);
}

static int apply_group(struct writer *writer, struct channels *channels)
{
    int r = 0;

    for (struct mail *mail = writer->group.first; mail && r == 0; mail = mail->next) {
        struct store_letter *letter = (struct store_letter *)mail;
        letter->err = 0;
        if (letter->request == STORE_APPEND) {
            r = apply_append(channels, (struct store_append *)letter);
        } else {
            r = apply_clear(channels, (struct store_clear *)letter);
        }
    }
    return r;
}

static uint64_t used_bytes_wanted(const struct db *db)
{
    uint64_t reserve = db->budget_bytes / 4;

    return db->budget_bytes - (reserve < RESERVE_BYTES_MAX ? reserve : RESERVE_BYTES_MAX);
}

/* Evicts until the use is below what is wanted, or this transaction has deleted its share. */
static int keep_budget(struct channels *channels, bool at_least_once, uint64_t *ret_used)
{
    uint64_t before;
    int r = db_used_bytes(channels->db, channels->txn, ret_used);

    channels->deletes_left += DELETES_MAX;
    while (r == 0 && (*ret_used > used_bytes_wanted(channels->db) || at_least_once)) {
        before = channels->records_evicted;
        r = channels_evict(channels, EVICT_STEP);
        if (r == 0) {
            r = db_used_bytes(channels->db, channels->txn, ret_used);
        }
        if (channels->records_evicted == before || channels->deletes_left < EVICT_STEP) {
            break;
        }
        at_least_once = false;
    }
    return r;
}

static int apply(struct work *work, struct channels *channels, uint64_t *ret_used)
{
    struct writer *writer = work->writer;
    int r = 0;

    if (!work->make_room) {
        r = apply_group(writer, channels);
        if (r == 0) {
            r = channels_trim(channels);
        }
        if (r == 0) {
            r = keys_trim(channels->db, channels->txn, channels->now_ms,
                DELETES_MAX + 2 * writer->group_records);
        }
        if (r == 0 && writer->want_walk) {
            r = channels_walk(channels, &writer->walk_name, WALK_ROWS);
        }
    }
    if (r == 0) {
        r = keep_budget(channels, work->make_room, ret_used);
    }
    if (r == 0) {
        r = channels_flush(channels);
    }
    return r;
}

static void count_work(struct store *store, const struct channels *channels, uint64_t used)
{
    struct store_counts *counts = &store->counts;

    store_add(&counts->records, channels->records_added);
    store_add(&counts->trimmed, channels->records_trimmed);
    store_add(&counts->evicted, channels->records_evicted);
    atomic_store_explicit(&counts->used_bytes, used, memory_order_relaxed);
    if (channels->rows_damaged) {
        store_tell_damage(store, channels->rows_damaged, "the state of a channel");
    }
    if (channels->records_evicted &&
        !atomic_exchange_explicit(&counts->evicting, true, memory_order_relaxed)) {
        store_tell(store, STORE_EVICTING, 0,
            "%s: the disk budget of %llu bytes is reached; from now on the oldest records of the "
            "quietest channels go before their time",
            store->db.data_path, (unsigned long long)store->db.budget_bytes);
    }
}

static void count_commit(struct store *store, uint64_t ns)
{
    store_add(&store->counts.commits, 1);
    store_add(&store->counts.commit_ns, ns);
    if (ns > atomic_load_explicit(&store->counts.commit_ns_max, memory_order_relaxed)) {
        atomic_store_explicit(&store->counts.commit_ns_max, ns, memory_order_relaxed);
    }
}

/* Within the guard. */
static int transact(void *arg)
{
    struct work *work = arg;
    struct store *store = work->writer->store;
    struct format_meta meta = store->meta;
    struct channels channels;
    uint64_t used = 0, start_ns = clock_now_ns();
    MDB_txn *txn;

    int r = db_err(mdb_txn_begin(store->db.env, NULL, 0, &txn));
    if (r < 0) {
        return r;
    }
    channels_init(&channels, &store->db, txn, &meta, clock_wall_ns() / NS_PER_MS,
        DELETES_MAX + 2 * work->writer->group_records);
    r = apply(work, &channels, &used);
    if (r == 0 && memcmp(&meta, &store->meta, sizeof(meta)) != 0) {
        r = db_put_meta(&store->db, txn, &meta);
    }
    channels_fini(&channels);
    if (r < 0) {
        mdb_txn_abort(txn);
        return r;
    }
    r = db_err(mdb_txn_commit(txn)); /* Without changes it writes nothing. */
    if (r == 0) {
        store->meta = meta;
        count_work(store, &channels, used);
        if (work->writer->group.first) {
            count_commit(store, clock_now_ns() - start_ns);
        }
    }
    return r;
}

/* ---- Errors ---- */

static bool has_failed(const struct store *store)
{
    return atomic_load_explicit(&store->counts.failed, memory_order_relaxed);
}

static void fail(struct store *store, int err)
{
    if (err == -EFAULT) {
        store->leave_env = true;
    }
    atomic_store_explicit(&store->counts.failed, true, memory_order_relaxed);
    store_tell(store, STORE_FAILED, err,
        "%s: could not be written (%s); no more events are kept until a restart, what was kept can "
        "still be read. See to the disk, then start again",
        store->db.data_path, err == -EFAULT ? "a page cannot be read" : strerror(-err));
}

static void note_full(struct store *store, int err)
{
    bool full = err == -ENOSPC;
    bool was = atomic_exchange_explicit(&store->counts.full, full, memory_order_relaxed);

    if (full && !was) {
        store_tell(store, STORE_FULL, err,
            "%s: the disk is full; events that are to be kept are refused until there is room",
            store->db.data_path);
    } else if (was && !full) {
        store_tell(store, STORE_ROOM_AGAIN, 0, "%s: there is room again", store->db.data_path);
    }
}

/* Returns 0 or what to answer: -ENOSPC, -ENOMEM, -EIO. */
static int commit_group(struct writer *writer)
{
    struct store *store = writer->store;
    struct work work = {.writer = writer};

    int r = guard_run(transact, &work);
    for (int i = 0; r == -ENOBUFS && i < ROOM_TRIES; i++) {
        struct work room = {.writer = writer, .make_room = true};
        r = guard_run(transact, &room);
        if (r == 0 || r == -ENOBUFS) {
            r = guard_run(transact, &work);
        }
    }
    if (r == -ENOBUFS || (r == -EIO && db_looks_full(&store->db))) {
        r = -ENOSPC;
    }
    if (r == 0 || r == -ENOSPC) {
        note_full(store, r);
    } else if (r != -ENOMEM) {
        fail(store, r);
        r = -EIO;
    }
    return r;
}

/* ---- Letters ---- */

static bool any_refused(const struct store_append *letter, int err)
{
    bool any = err != 0;

    for (uint32_t i = 0; i < letter->count && !any; i++) {
        any = letter->entries[i].err != 0;
    }
    return any;
}

static void finish(struct writer *writer, struct store_letter *letter, int err)
{
    struct store *store = writer->store;

    if (letter->request == STORE_APPEND) {
        const struct store_append *append = (const struct store_append *)letter;
        store_sub(&store->counts.pending_bytes, append->bytes);
        store_add(&store->counts.refused, any_refused(append, err));
    }
    worker_answer(writer->worker, letter, err);
}

static void answer_group(struct writer *writer, int err)
{
    while (writer->group.first) {
        struct store_letter *letter = (struct store_letter *)take_first(&writer->group);
        finish(writer, letter, err ? err : letter->err);
    }
}

/* Moves to the group what one transaction can carry; false when there is nothing. */
static bool gather(struct writer *writer)
{
    uint64_t bytes = 0, bytes_max = writer->store->db.budget_bytes / (2 * STORE_LETTER_SHARE);
    uint32_t count = 0;

    bytes_max = bytes_max < GROUP_BYTES_MAX ? bytes_max : GROUP_BYTES_MAX;
    writer->group_records = 0;
    while (writer->queue.first && bytes < bytes_max && count < GROUP_LETTERS_MAX) {
        struct store_letter *letter = first_of(&writer->queue);
        if (letter->request == STORE_APPEND) {
            bytes += ((struct store_append *)letter)->bytes;
            writer->group_records += ((struct store_append *)letter)->count;
        } else if (letter->request != STORE_CLEAR) {
            break; /* The last letter stands alone. */
        }
        mail_chain_add(&writer->group, take_first(&writer->queue));
        count += 1;
    }
    return count > 0;
}

/* With nothing to write a walk that finds nothing costs no write either. */
static void plan_walk(struct writer *writer, uint64_t now_ns)
{
    bool round_ends = writer->walk_name.len == 0;

    if (writer->want_walk) {
        writer->walk_ns = now_ns + (round_ends ? WALK_ROUND_PAUSE_MS : WALK_PAUSE_MS) * NS_PER_MS;
    }
    writer->want_walk = false;
}

static void work_once(struct writer *writer)
{
    struct store_letter *first = first_of(&writer->queue);

    if (first && first->request == STORE_STOP) {
        take_first(&writer->queue);
        writer->stopping = true;
    } else if (gather(writer) || writer->want_walk) {
        answer_group(writer, has_failed(writer->store) ? -EIO : commit_group(writer));
        plan_walk(writer, clock_now_ns());
    }
    worker_post(writer->worker);
}

static void take_mail(struct writer *writer)
{
    struct mail *mail;

    while ((mail = mailbox_take(writer->worker->box))) {
        mail_chain_add(&writer->queue, mail);
    }
}

void writer_run(void *arg)
{
    struct store_worker *worker = arg;
    struct writer writer = {.worker = worker, .store = worker->store};

    while (!writer.stopping) {
        take_mail(&writer);
        if (!writer.queue.first) {
            worker_wait(worker, has_failed(writer.store) ? UINT64_MAX : writer.walk_ns);
            take_mail(&writer);
        }
        writer.want_walk = !has_failed(writer.store) && clock_now_ns() >= writer.walk_ns;
        work_once(&writer);
    }
    worker_post(worker);
    bytes_fini(&writer.walk_name);
}
