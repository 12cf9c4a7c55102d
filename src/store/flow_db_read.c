/* Reads. Each is answered before it returns; spans point into SQLite's row, a run in memory, or a
 * buffer that is kept until done() has returned. */
#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "store/flow_db_own.h"

enum {
    LOOK_MAX = 10000, /* Rows a list looks at; what it did not find by then is told as "more". */
    SEEK_MIN = 256,   /* Events worth seeking for instead of reading over. */
};

/* What the ports name. */
static int told(int err)
{
    return err == -EBADMSG || err == -EBUSY || err == -EILSEQ ? -EIO : err;
}

/* ---- a run ---- */

void read_load(struct flow_db *db, struct flow_load *load)
{
    struct flow_record *records = NULL;
    sqlite3_stmt *ir = NULL;
    struct db_run *run = NULL;

    int r = runs_get(db, load->run_id, &run);
    if (r == 0 && run->node_count) {
        records = mem_try_alloc(run->node_count * sizeof(*records));
        r = records ? 0 : -ENOMEM;
    }
    if (r == 0 && load->want_ir) {
        ir = db_statement(db, DB_IR_GET);
        db_bind_int(ir, 1, run->row);
        int step = db_step(db, ir);
        r = step == 1 ? 0 : step ? step : -EIO;
    }
    load->err = told(r);
    if (r == 0) {
        load->version = run->version;
        load->header = run->header;
        load->ir = load->want_ir ? db_column(ir, 0) : (struct span){0};
        load->nodes = records;
        load->node_count = 0;
        for (uint32_t i = 0; i < run->node_count; i++) {
            const struct db_node *node = &run->nodes[i];
            if (node->record.data) {
                records[load->node_count++] = (struct flow_record){node->id, node->record};
            }
        }
    }
    load->done(load);
    if (ir) {
        db_reset(ir);
    }
    mem_free(records);
}

/* ---- things by name ---- */

void read_blob(struct flow_db *db, struct flow_get *get)
{
    sqlite3_stmt *stmt = db_statement(db, DB_BLOB_GET);
    uint8_t ref[DB_REF_LEN];

    get->err = -ENOENT;
    if (commit_ref(get->key, ref)) {
        db_bind_blob(stmt, 1, span_of(ref, sizeof(ref)));
        int r = db_step(db, stmt);
        get->err = r == 1 ? 0 : r ? told(r) : -ENOENT;
    }
    if (get->err == 0) {
        get->body = db_column(stmt, 0);
        get->err = get->bytes_max && get->body.len > get->bytes_max ? -EMSGSIZE : 0;
    }
    get->done(get);
    db_reset(stmt);
}

void read_approval(struct flow_db *db, struct flow_get *get)
{
    struct db_run *run = NULL;
    struct db_node *node = NULL;

    /* A run's id may have colons, a node's has none. */
    const uint8_t *colon = get->key.len ? memrchr(get->key.data, ':', get->key.len) : NULL;
    get->err = -ENOENT;
    if (colon) {
        size_t len = (size_t)(colon - get->key.data);
        get->err = told(runs_get(db, span_of(get->key.data, len), &run));
        node = run ? runs_node(run, span_of(colon + 1, get->key.len - len - 1)) : NULL;
    }
    if (get->err == 0) {
        get->err = !node || !node->approval.data                           ? -ENOENT
                   : get->bytes_max && node->approval.len > get->bytes_max ? -EMSGSIZE
                                                                           : 0;
    }
    if (get->err == 0) {
        get->body = node->approval;
    }
    get->done(get);
}

/* ---- events ---- */

/* The row of the log that has event number `since`, or one before it. Rows have the numbers of
 * versions, and not every version has one: halving finds it anyway. */
static int seek(
    struct flow_db *db, uint64_t row, uint64_t version, uint64_t since, uint64_t *ret_id)
{
    sqlite3_stmt *stmt = db_statement(db, DB_LOG_FIRST);
    uint64_t low = row << DB_ROW_BITS, end = (row + 1) << DB_ROW_BITS;
    uint64_t high = version < end - low ? low + version + 1 : end;

    /* The first row from `low` on begins at or before `since`; that from `high` on does not. */
    while (since >= SEEK_MIN && high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        db_bind_int(stmt, 1, middle);
        db_bind_int(stmt, 2, end);
        int r = db_step(db, stmt);
        if (r < 0) {
            return r;
        }
        bool before = r == 1 && db_column_int(stmt, 1) <= since;
        low = before ? middle : low;
        high = before ? high : middle;
        db_reset(stmt);
    }
    *ret_id = low;
    return 0;
}

/* 1: fn has enough. */
static int each_of_row(struct span events, uint64_t skip, read_event_fn *fn, void *ctx)
{
    struct json_array array;
    struct span body;
    int r;

    if (json_array_begin(events.data, events.len, &array) < 0) {
        return -EBADMSG;
    }
    while ((r = json_array_next(&array, &body)) == 1) {
        if (skip) {
            skip -= 1;
        } else if (!fn(ctx, body)) {
            return 1;
        }
    }
    return r;
}

int read_each_event(struct flow_db *db, uint64_t row, uint64_t version, uint64_t since,
    read_event_fn *fn, void *ctx)
{
    sqlite3_stmt *stmt = db_statement(db, DB_LOG_GET);
    uint64_t from = 0;

    int r = seek(db, row, version, since, &from);
    if (r < 0) {
        return r;
    }
    db_bind_int(stmt, 1, from);
    db_bind_int(stmt, 2, (row + 1) << DB_ROW_BITS);
    while ((r = db_step(db, stmt)) == 1) {
        uint64_t first = db_column_int(stmt, 0), count = db_column_int(stmt, 1);
        if (first + count <= since) {
            continue;
        }
        r = each_of_row(db_column(stmt, 2), since > first ? since - first : 0, fn, ctx);
        if (r) {
            db_reset(stmt);
            return r < 0 ? r : 0;
        }
    }
    return r;
}

/* Bodies gathered in one buffer: it moves while it grows, so only lengths are kept meanwhile. */
struct gathered {
    struct bytes bodies;
    struct bytes spans; /* struct span each. */
    uint64_t limit, count;
    int err;
};

static bool gather(void *ctx, struct span body)
{
    struct gathered *to = ctx;
    struct span span = span_of(NULL, body.len);

    to->err = bytes_append(&to->spans, &span, sizeof(span));
    to->err = to->err ? to->err : bytes_append(&to->bodies, body.data, body.len);
    if (to->err) {
        return false;
    }
    to->count += 1;
    return to->count < to->limit;
}

static void place(struct gathered *to)
{
    struct span *spans = (struct span *)(void *)to->spans.data;
    size_t at = 0;

    for (uint64_t i = 0; i < to->spans.len / sizeof(*spans); i++) {
        spans[i].data = to->bodies.data + at;
        at += spans[i].len;
    }
}

static void free_gathered(struct gathered *to)
{
    bytes_fini(&to->bodies);
    bytes_fini(&to->spans);
}

void read_events(struct flow_db *db, struct flow_events *events)
{
    struct gathered to = {.limit = events->limit ? events->limit : UINT64_MAX};
    struct db_run *run = NULL;

    int r = runs_get(db, events->run_id, &run);
    if (r == 0 && events->since < run->events) {
        r = read_each_event(db, run->row, run->version, events->since, gather, &to);
        r = r ? r : to.err;
    }
    events->err = told(r);
    if (r == 0) {
        place(&to);
        events->header = run->header;
        events->total = run->events;
        events->bodies = (const struct span *)(void *)to.spans.data;
        events->count = (uint32_t)to.count;
    }
    events->done(events);
    free_gathered(&to);
}

/* ---- lists ---- */

static bool matches(const struct flow_list *list, sqlite3_stmt *row)
{
    return (!list->status.len || span_equal(list->status, db_column(row, 1))) &&
           (!list->tag.len || span_equal(list->tag, db_column(row, 2))) &&
           (!list->user.len || span_equal(list->user, db_column(row, 3)));
}

/* The filter that leaves the fewest, by and large. The others are compared. */
static sqlite3_stmt *begin_list(struct flow_db *db, const struct flow_list *list)
{
    enum db_statement which = list->user.len     ? DB_LIST_USER
                              : list->tag.len    ? DB_LIST_TAG
                              : list->status.len ? DB_LIST_STATUS
                                                 : DB_LIST_ALL;
    sqlite3_stmt *stmt = db_statement(db, which);

    db_bind_text(stmt, 1, list->user.len ? list->user : list->tag.len ? list->tag : list->status);
    return stmt;
}

/* Where the page begins. Returns 1, 0 (there is no such run), or negative errno. */
static int list_place(struct flow_db *db, struct span after, uint64_t *ret_ms)
{
    sqlite3_stmt *stmt = db_statement(db, DB_LIST_PLACE);

    *ret_ms = INT64_MAX;
    if (!after.len) {
        return 1;
    }
    db_bind_text(stmt, 1, after);
    int r = db_step(db, stmt);
    if (r == 1) {
        *ret_ms = db_column_int(stmt, 0);
        db_reset(stmt);
    }
    return r;
}

static int gather_list(struct flow_db *db, struct flow_list *list, struct gathered *to)
{
    uint64_t before_ms = 0, looked = 0;

    int r = list_place(db, list->after, &before_ms);
    if (r <= 0) {
        return r;
    }
    sqlite3_stmt *stmt = begin_list(db, list);
    db_bind_int(stmt, 2, before_ms);
    db_bind_text(stmt, 3, list->after);
    db_bind_int(stmt, 4, LOOK_MAX);
    while ((r = db_step(db, stmt)) == 1) {
        struct span id = db_column(stmt, 0);
        bool enough = to->count == list->limit;
        if (enough || id.len > FLOW_RUN_ID_MAX) {
            list->more = enough;
            db_reset(stmt);
            return enough ? 0 : -EIO;
        }
        memcpy(list->last, id.data, id.len);
        list->last[id.len] = '\0';
        looked += 1;
        if (matches(list, stmt)) {
            (void)gather(to, db_column(stmt, 4));
        }
        if (to->err) {
            db_reset(stmt);
            return to->err;
        }
    }
    list->more = looked == LOOK_MAX;
    return r;
}

void read_list(struct flow_db *db, struct flow_list *list)
{
    struct gathered to = {.limit = UINT64_MAX};

    list->more = false;
    list->last[0] = '\0';
    int r = gather_list(db, list, &to);
    list->err = told(r);
    if (r == 0) {
        place(&to);
        list->headers = (const struct span *)(void *)to.spans.data;
        list->count = (uint32_t)to.count;
    }
    list->done(list);
    free_gathered(&to);
}

/* ---- the shelf ---- */

static int shelf_find(struct flow_db *db, struct span tag)
{
    sqlite3_stmt *stmt = db_statement(db, DB_SHELF_GET);

    db_bind_text(stmt, 1, tag);
    int r = db_step(db, stmt);
    if (r == 1) {
        db_reset(stmt);
    }
    return r;
}

int shelf_apply(struct flow_db *db, struct flow_shelf *shelf)
{
    bool put = shelf->act == FLOW_SHELF_PUT;

    int r = shelf_find(db, shelf->tag);
    if (r < 0) {
        return r;
    }
    shelf->err = put || r == 1 ? 0 : -ENOENT;
    shelf->created = put && r == 0;
    sqlite3_stmt *stmt = db_statement(db, put ? DB_SHELF_PUT : DB_SHELF_DELETE);
    db_bind_text(stmt, 1, shelf->tag);
    if (put) {
        db_bind_text(stmt, 2, shelf->body);
        db_bind_int(stmt, 3, shelf->now_ms);
    }
    return db_run(db, stmt);
}

/* Tags and bodies in one buffer, as above. */
static int gather_shelf(sqlite3_stmt *row, struct gathered *to, struct bytes *items)
{
    struct flow_shelf_item item = {.updated_ms = db_column_int(row, 2)};

    (void)gather(to, db_column(row, 0));
    if (!to->err) {
        (void)gather(to, db_column(row, 1));
    }
    return to->err ? to->err : bytes_append(items, &item, sizeof(item));
}

void read_shelf(struct flow_db *db, struct flow_shelf *shelf)
{
    bool all = shelf->act == FLOW_SHELF_LIST;
    sqlite3_stmt *stmt = db_statement(db, all ? DB_SHELF_LIST : DB_SHELF_GET);
    struct gathered to = {.limit = UINT64_MAX};
    struct bytes raw = {0};
    int r;

    if (!all) {
        db_bind_text(stmt, 1, shelf->tag);
    }
    while ((r = db_step(db, stmt)) == 1) {
        int err = gather_shelf(stmt, &to, &raw);
        if (err) {
            db_reset(stmt);
            r = err;
            break;
        }
    }
    struct flow_shelf_item *items = (struct flow_shelf_item *)(void *)raw.data;
    const struct span *spans = (const struct span *)(void *)to.spans.data;
    size_t count = raw.len / sizeof(*items);
    shelf->err = r ? told(r) : !all && count == 0 ? -ENOENT : 0;
    if (shelf->err == 0) {
        place(&to);
        for (size_t i = 0; i < count; i++) {
            items[i].tag = spans[2 * i];
            items[i].body = spans[2 * i + 1];
        }
        shelf->items = items;
        shelf->count = (uint32_t)count;
    }
    shelf->done(shelf);
    bytes_fini(&raw);
    free_gathered(&to);
}
