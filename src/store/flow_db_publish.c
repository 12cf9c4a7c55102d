/* Publishing: a run with events that are not published, or whose progress is not in the file.
 *
 * One publication a run is under way at a time, so its events stay in order; what fails is tried
 * again after a while that doubles. Bodies of a transaction are kept for the publication that usually
 * follows at once; all others are read from the log when their turn comes, so a publisher that is away
 * costs a few hundred bytes a run.
 *
 *   ready     in the list: events to publish, none under way, no wait
 *   busy      a publication is with the publisher
 *   waiting   in the heap, after a failure
 *   stale     in that list as well: how far it came is not in the file yet
 */
#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "store/flow_db_own.h"

enum {
    BODIES_MAX = 64,       /* Of one publication … */
    BYTES_MAX = 256 << 10, /* … and about so many bytes. */
    NEWS_MAX = 4 << 20,    /* Bytes of bodies that are kept, of all runs. */
    BACKOFF_MS_MIN = 100,
    BACKOFF_MS_MAX = 10000,
    STALE_MS = 1000, /* Progress waits so long for another reason to write. */
};

struct db_pub {
    struct table_item item; /* Of the run's id. First. */
    struct flow_publication publication;
    struct flow_db *db;
    struct db_due retry;
    uint64_t row, version;
    uint64_t published, events;
    uint64_t durable; /* Published, as the file has it … */
    uint64_t writing; /* … and as this transaction writes it; UINT64_MAX: it does not. */
    uint64_t stale_ms;
    uint32_t backoff_ms;
    bool over, ready, busy, stale;
    struct db_pub *ready_next, *stale_prev, *stale_next;
    struct db_news news; /* Kept for the next publication. */
    struct db_news told; /* While it is busy: what is with the publisher. */
    struct span user;    /* Owned. */
    uint8_t id_len;
    char id[FLOW_RUN_ID_MAX];
};

static struct span pub_id(const struct db_pub *pub)
{
    return span_of(pub->id, pub->id_len);
}

static bool is_pub(const struct table_item *item, const void *key)
{
    return span_equal(pub_id((const struct db_pub *)item), *(const struct span *)key);
}

static struct db_pub *find(const struct flow_db *db, struct span run_id)
{
    return (struct db_pub *)table_find(&db->pubs, db_hash(db, run_id), is_pub, &run_id);
}

static struct db_pub *make(struct flow_db *db, struct span run_id, struct span user)
{
    struct db_pub *pub = mem_try_zalloc(sizeof(*pub));

    if (!pub) {
        return NULL;
    }
    pub->item.hash = db_hash(db, run_id);
    pub->db = db;
    pub->retry.kind = DB_DUE_PUBLISH;
    pub->writing = UINT64_MAX;
    pub->id_len = (uint8_t)run_id.len;
    memcpy(pub->id, run_id.data, run_id.len);
    if (!runs_set(&pub->user, user) || table_add(&db->pubs, &pub->item) < 0) {
        runs_clear(&pub->user);
        mem_free(pub);
        return NULL;
    }
    return pub;
}

/* ---- bodies in memory ---- */

void news_free(struct db_news *news)
{
    bytes_fini(&news->bodies);
    bytes_fini(&news->spans);
    *news = (struct db_news){0};
}

/* Adds the body behind the others. False: it is too much for one publication, or no memory. */
static bool news_add(struct db_news *news, struct span body)
{
    struct span span = span_of(NULL, body.len);
    size_t before = news->bodies.len;

    if (news->count == BODIES_MAX || (news->count && before + body.len > BYTES_MAX) ||
        bytes_append(&news->bodies, body.data, body.len) < 0) {
        return false;
    }
    if (bytes_append(&news->spans, &span, sizeof(span)) < 0) {
        news->bodies.len = before;
        return false;
    }
    news->count += 1;
    return true;
}

/* The spans, once nothing is added any more. */
static struct span *news_spans(const struct db_news *news)
{
    struct span *spans = (struct span *)(void *)news->spans.data;
    size_t at = 0;

    for (uint32_t i = 0; i < news->count; i++) {
        spans[i].data = news->bodies.data + at;
        at += spans[i].len;
    }
    return spans;
}

static void forget_news(struct db_pub *pub)
{
    pub->db->news_bytes -= pub->news.bodies.len;
    news_free(&pub->news);
}

/* What a transaction recorded of the run, if it follows what is there and there is room. */
static void keep_news(struct db_pub *pub, struct db_news *news)
{
    struct flow_db *db = pub->db;

    if (pub->retry.place) {
        return; /* The publisher is away. */
    }
    if (pub->news.count == 0 && news->count && db->news_bytes + news->bodies.len <= NEWS_MAX) {
        news_free(&pub->news);
        pub->news = *news;
        db->news_bytes += news->bodies.len;
        *news = (struct db_news){0};
        return;
    }
    const struct span *spans = news_spans(news);
    uint64_t next = pub->news.first + pub->news.count;
    for (uint32_t i = 0; i < news->count && next == news->first + i; i++) {
        if (db->news_bytes + spans[i].len > NEWS_MAX || !news_add(&pub->news, spans[i])) {
            return;
        }
        db->news_bytes += spans[i].len;
        next += 1;
    }
}

void publish_recorded(struct flow_db *db, struct db_run *run, uint64_t number, struct span body)
{
    struct db_news *news = &run->news;

    if (!db->options.publisher || (news->count && news->first + news->count != number)) {
        return;
    }
    if (news->count == 0) {
        news->first = number;
    }
    (void)news_add(news, body);
}

static void free_pub(struct db_pub *pub)
{
    runs_clear(&pub->user);
    forget_news(pub);
    news_free(&pub->told);
    mem_free(pub);
}

/* ---- lists ---- */

static void make_ready(struct db_pub *pub)
{
    struct flow_db *db = pub->db;

    if (pub->ready || pub->busy || pub->retry.place || pub->published >= pub->events) {
        return;
    }
    pub->ready = true;
    pub->ready_next = NULL;
    *(db->ready_last ? &db->ready_last->ready_next : &db->ready_first) = pub;
    db->ready_last = pub;
}

static void make_stale(struct db_pub *pub)
{
    struct flow_db *db = pub->db;

    if (pub->stale) {
        return;
    }
    pub->stale = true;
    pub->stale_ms = db->now_ms;
    pub->stale_prev = db->stale_last;
    pub->stale_next = NULL;
    *(db->stale_last ? &db->stale_last->stale_next : &db->stale_first) = pub;
    db->stale_last = pub;
}

static void unstale(struct db_pub *pub)
{
    struct flow_db *db = pub->db;

    if (pub->stale) {
        pub->stale = false;
        *(pub->stale_prev ? &pub->stale_prev->stale_next : &db->stale_first) = pub->stale_next;
        *(pub->stale_next ? &pub->stale_next->stale_prev : &db->stale_last) = pub->stale_prev;
    }
}

/* The file knows it all: nothing to remember. */
static void free_if_done(struct db_pub *pub)
{
    struct flow_db *db = pub->db;

    if (pub->busy || pub->ready || pub->published < pub->events || pub->durable != pub->published) {
        return;
    }
    struct db_run *run = runs_find(db, pub_id(pub));
    if (run) {
        run->published = pub->published;
    }
    unstale(pub);
    due_unset(&db->heap, &pub->retry);
    table_remove(&db->pubs, &pub->item);
    free_pub(pub);
}

/* ---- events come ---- */

uint64_t publish_progress(const struct flow_db *db, const struct db_run *run)
{
    if (!db->options.publisher) {
        return run->events;
    }
    struct db_pub *pub = find(db, span_of(run->id, run->id_len));
    return pub ? pub->published : run->published;
}

static void committed(struct flow_db *db, struct db_run *run)
{
    struct span id = span_of(run->id, run->id_len);
    struct db_pub *pub = find(db, id);

    if (!pub && run->published < run->events) {
        pub = make(db, id, run->user);
        if (!pub) {
            db->rescan = true; /* They are in the file, and found there. */
            return;
        }
        pub->row = run->row;
        pub->published = run->published;
    }
    if (!pub) {
        return;
    }
    pub->durable = run->published;
    pub->events = run->events;
    pub->version = run->version;
    pub->over = run->finished_ms != 0;
    keep_news(pub, &run->news);
    if (pub->durable == pub->published) {
        unstale(pub);
    }
    make_ready(pub);
    free_if_done(pub);
}

void publish_committed(struct flow_db *db, struct db_run *run)
{
    committed(db, run);
    news_free(&run->news);
}

int publish_found(struct flow_db *db, struct span run_id, struct span user, uint64_t row,
    uint64_t published, uint64_t events, bool over)
{
    struct db_pub *pub = find(db, run_id);

    bool nothing = published >= events || !db->options.publisher;
    if (pub || (nothing && !over)) {
        return 0;
    }
    pub = make(db, run_id, user);
    if (!pub) {
        return -ENOMEM;
    }
    pub->row = row;
    pub->version = UINT64_MAX;
    pub->published = pub->durable = db->options.publisher ? published : events;
    pub->events = events;
    pub->over = over;
    make_ready(pub);
    if (over && pub->published >= events) {
        pub->durable = UINT64_MAX; /* That it is over is what the file does not know. */
        make_stale(pub);
    }
    return 0;
}

/* ---- progress ---- */

bool publish_wants_writing(const struct flow_db *db)
{
    return db->stale_first && db->now_ms >= db->stale_first->stale_ms + STALE_MS;
}

/* Runs that are being written anyway carry their progress along. */
int publish_write(struct flow_db *db, bool all)
{
    int r = 0;

    for (struct db_pub *pub = db->stale_first; pub && r == 0; pub = pub->stale_next) {
        bool finished = pub->over && pub->published >= pub->events;
        if (!all && !finished && db->now_ms < pub->stale_ms + STALE_MS) {
            continue;
        }
        struct db_run *run = runs_find(db, pub_id(pub));
        if (run && run->dirty) {
            continue;
        }
        sqlite3_stmt *set = db_statement(db, DB_RUN_PUBLISHED);
        db_bind_int(set, 1, pub->row);
        db_bind_int(set, 2, pub->published);
        db_bind_int(set, 3, !finished);
        pub->writing = pub->published;
        r = db_run(db, set);
    }
    return r;
}

void publish_settle(struct flow_db *db, bool committed)
{
    struct db_pub *next;

    for (struct db_pub *pub = db->stale_first; pub; pub = next) {
        next = pub->stale_next;
        if (committed && pub->writing != UINT64_MAX && pub->writing == pub->published) {
            struct db_run *run = runs_find(db, pub_id(pub));
            if (run) {
                run->published = pub->published;
            }
            pub->durable = pub->published;
            unstale(pub);
            free_if_done(pub);
        } else {
            pub->writing = UINT64_MAX;
        }
    }
}

/* ---- publishing ---- */

static void wait_and_retry(struct db_pub *pub)
{
    struct flow_db *db = pub->db;

    forget_news(pub); /* It may be long. */
    uint64_t backoff = pub->backoff_ms ? pub->backoff_ms * 2ull : BACKOFF_MS_MIN;
    pub->backoff_ms = (uint32_t)(backoff > BACKOFF_MS_MAX ? BACKOFF_MS_MAX : backoff);
    if (due_set(&db->heap, &pub->retry, db->now_ms + pub->backoff_ms) < 0) {
        make_ready(pub);
    }
}

static void published(struct flow_publication *publication)
{
    struct db_pub *pub = CONTAINER_OF(publication, struct db_pub, publication);
    struct flow_db *db = pub->db;
    uint32_t count = publication->ret_count;

    CHECK(pub->busy);
    pub->busy = false;
    db->pub_busy_count -= 1;
    count = count > publication->count ? publication->count : count;
    pub->published += count;
    db->stats.published += count;
    news_free(&pub->told);
    if (!db->sqlite) {
        return; /* Shut meanwhile. */
    }
    if (count) {
        make_stale(pub);
    }
    if (count < publication->count) {
        db->stats.publish_failed += 1;
    }
    if (count == 0 || publication->err) {
        wait_and_retry(pub);
    } else {
        pub->backoff_ms = 0;
        make_ready(pub);
    }
}

static bool take_body(void *ctx, struct span body)
{
    return news_add(ctx, body);
}

/* Events from what was published on: those at hand, or from the log. */
static int take_events(struct db_pub *pub)
{
    struct flow_db *db = pub->db;

    if (pub->news.count && pub->news.first == pub->published) {
        db->news_bytes -= pub->news.bodies.len;
        pub->told = pub->news;
        pub->news = (struct db_news){0};
        return 0;
    }
    if (pub->news.first <= pub->published) {
        forget_news(pub);
    }
    return read_each_event(db, pub->row, pub->version, pub->published, take_body, &pub->told);
}

static void publish(struct flow_db *db, struct db_pub *pub)
{
    int r = take_events(pub);

    if (r < 0 || pub->told.count == 0) {
        news_free(&pub->told);
        db->stats.publish_failed += 1;
        wait_and_retry(pub); /* The disk, or memory. */
        return;
    }
    pub->publication = (struct flow_publication){
        .done = published,
        .owner = pub,
        .run_id = pub_id(pub),
        .user = pub->user,
        .seq = pub->published + 1,
        .bodies = news_spans(&pub->told),
        .count = pub->told.count,
    };
    pub->busy = true;
    db->pub_busy_count += 1;
    db->options.publisher->publish(db->options.publisher->ctx, &pub->publication);
}

void publications_turn(struct flow_db *db)
{
    /* Only what is ready now: a publisher that answers at once would keep us here. */
    struct db_pub *last = db->ready_last;
    bool more = last != NULL;

    while (more && db->ready_first && db->pub_busy_count < db->options.publications_max) {
        struct db_pub *pub = db->ready_first;
        more = pub != last;
        db->ready_first = pub->ready_next;
        if (!db->ready_first) {
            db->ready_last = NULL;
        }
        pub->ready = false;
        publish(db, pub);
    }
}

void publish_due(struct flow_db *db, struct db_due *due)
{
    due_unset(&db->heap, due);
    make_ready(CONTAINER_OF(due, struct db_pub, retry));
}

uint64_t publish_next_ms(const struct flow_db *db)
{
    if (db->ready_first && db->pub_busy_count < db->options.publications_max) {
        return db->now_ms;
    }
    return db->stale_first ? db->stale_first->stale_ms + STALE_MS : UINT64_MAX;
}

void publish_free_all(struct flow_db *db)
{
    struct table_item *item;
    size_t cursor = 0;

    while ((item = table_next(&db->pubs, &cursor))) {
        free_pub((struct db_pub *)item);
    }
    table_fini(&db->pubs);
}
