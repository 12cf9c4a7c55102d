/* Runs in memory: read when they are asked for, changed by commits, written once a transaction. */
#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/json.h"
#include "base/mem.h"
#include "store/flow_db_own.h"

enum { TOKEN_SLOTS_MIN = 16, NODE_OVERHEAD = 64 };

/* ---- owned spans ---- */

void runs_clear(struct span *slot)
{
    mem_free((void *)(uintptr_t)slot->data);
    *slot = (struct span){0};
}

bool runs_set(struct span *slot, struct span value)
{
    uint8_t *copy = mem_try_alloc(value.len + 1);

    if (!copy) {
        return false;
    }
    if (value.len) {
        memcpy(copy, value.data, value.len);
    }
    copy[value.len] = '\0';
    runs_clear(slot);
    *slot = span_of(copy, value.len);
    return true;
}

static void free_node(struct db_node *node)
{
    runs_clear(&node->id);
    runs_clear(&node->record);
    runs_clear(&node->type);
    runs_clear(&node->token);
    runs_clear(&node->task);
    runs_clear(&node->approval);
}

static void free_run(struct db_run *run)
{
    for (uint32_t i = 0; i < run->node_count; i++) {
        free_node(&run->nodes[i]);
    }
    runs_clear(&run->user);
    runs_clear(&run->tag);
    runs_clear(&run->status);
    runs_clear(&run->header);
    news_free(&run->news);
    mem_free(run->nodes);
    mem_free(run->tokens);
    mem_free(run);
}

/* ---- the table and the order of use ---- */

static bool is_run(const struct table_item *item, const void *key)
{
    const struct db_run *run = (const struct db_run *)item;

    return span_equal(span_of(run->id, run->id_len), *(const struct span *)key);
}

static void unlink_use(struct flow_db *db, struct db_run *run)
{
    *(run->newer ? &run->newer->older : &db->newest) = run->older;
    *(run->older ? &run->older->newer : &db->oldest) = run->newer;
    run->newer = run->older = NULL;
}

static void link_use(struct flow_db *db, struct db_run *run)
{
    run->older = db->newest;
    run->newer = NULL;
    *(db->newest ? &db->newest->newer : &db->oldest) = run;
    db->newest = run;
}

static void remove_run(struct flow_db *db, struct db_run *run)
{
    table_remove(&db->runs, &run->item);
    unlink_use(db, run);
    db->cache_bytes -= run->bytes;
    free_run(run);
}

static size_t size_of(const struct db_run *run)
{
    size_t bytes = sizeof(*run) + run->header.len + run->tag.len + run->user.len +
                   run->node_cap * sizeof(*run->nodes) + run->token_slots * sizeof(*run->tokens);

    for (uint32_t i = 0; i < run->node_count; i++) {
        const struct db_node *node = &run->nodes[i];
        bytes += NODE_OVERHEAD + node->id.len + node->record.len + node->task.len +
                 node->token.len + node->approval.len;
    }
    return bytes;
}

static void count_bytes(struct flow_db *db, struct db_run *run)
{
    size_t bytes = size_of(run);

    db->cache_bytes = db->cache_bytes - run->bytes + bytes;
    run->bytes = bytes;
}

struct db_run *runs_find(const struct flow_db *db, struct span id)
{
    return (struct db_run *)table_find(&db->runs, db_hash(db, id), is_run, &id);
}

static int insert(struct flow_db *db, struct span id, struct db_run **ret_run)
{
    struct db_run *run = mem_try_zalloc(sizeof(*run));

    if (!run) {
        return -ENOMEM;
    }
    CHECK(id.len <= FLOW_RUN_ID_MAX);
    run->item.hash = db_hash(db, id);
    run->id_len = (uint8_t)id.len;
    memcpy(run->id, id.data, id.len);
    if (table_add(&db->runs, &run->item) < 0) {
        mem_free(run);
        return -ENOMEM;
    }
    link_use(db, run);
    *ret_run = run;
    return 0;
}

/* ---- reading a run ---- */

struct reading {
    struct flow_db *db;
    struct db_run *run;
};

/* A JSON string into an owned span. */
static int take_string(struct flow_db *db, struct span raw, struct span *slot)
{
    struct bytes *text = &db->scratch;

    text->len = 0;
    int r = json_string_decode(raw, text);
    return r ? r : runs_set(slot, span_of(text->data, text->len)) ? 0 : -ENOMEM;
}

static struct db_node *new_node(struct db_run *run)
{
    if (run->node_count == run->node_cap) {
        uint32_t cap = run->node_cap ? run->node_cap * 2 : 8;
        struct db_node *nodes = mem_try_realloc(run->nodes, cap * sizeof(*nodes));
        if (!nodes) {
            return NULL;
        }
        run->nodes = nodes;
        run->node_cap = cap;
    }
    run->nodes[run->node_count] = (struct db_node){0};
    return &run->nodes[run->node_count++];
}

static int take_node(void *ctx, const struct db_node_text *text)
{
    struct reading *reading = ctx;
    struct flow_db *db = reading->db;
    struct db_node *node = new_node(reading->run);

    if (!node) {
        return -ENOMEM;
    }
    int r = take_string(db, text->id, &node->id);
    if (r == 0 && text->record.len) {
        r = runs_set(&node->record, text->record) ? 0 : -ENOMEM;
    }
    if (r == 0 && text->task.len) {
        r = take_string(db, text->type, &node->type);
        r = r ? r : take_string(db, text->token, &node->token);
        r = r ? r : runs_set(&node->task, text->task) ? 0 : -ENOMEM;
    }
    if (r == 0 && text->approval.len) {
        r = runs_set(&node->approval, text->approval) ? 0 : -ENOMEM;
    }
    node->due_ms = text->due_ms;
    return r;
}

static int take_row(struct flow_db *db, struct db_run *run, sqlite3_stmt *row)
{
    struct reading reading = {db, run};

    run->row = db_column_int(row, 0);
    run->created_ms = db_column_int(row, 4);
    run->finished_ms = db_column_int(row, 5);
    run->version = db_column_int(row, 6);
    run->events = db_column_int(row, 7);
    run->published = db_column_int(row, 8);
    run->blobs = db_column_int(row, 9);
    bool had = runs_set(&run->status, db_column(row, 1)) &&
               runs_set(&run->tag, db_column(row, 2)) && runs_set(&run->user, db_column(row, 3)) &&
               runs_set(&run->header, db_column(row, 10));
    return had ? part_each_node(db_column(row, 11), take_node, &reading) : -ENOMEM;
}

static int take_parts(struct flow_db *db, struct db_run *run)
{
    struct reading reading = {db, run};
    sqlite3_stmt *stmt = db_statement(db, DB_PART_GET);
    int r, taken = 0;

    db_bind_int(stmt, 1, run->row);
    while ((r = db_step(db, stmt)) == 1) {
        taken = part_each_node(db_column(stmt, 0), take_node, &reading);
        if (taken) {
            db_reset(stmt);
            return taken;
        }
    }
    return r;
}

int runs_get(struct flow_db *db, struct span id, struct db_run **ret_run)
{
    if (id.len == 0 || id.len > FLOW_RUN_ID_MAX) {
        return -ENOENT;
    }
    struct db_run *run = runs_find(db, id);
    if (run) {
        unlink_use(db, run);
        link_use(db, run);
        *ret_run = run;
        return 0;
    }
    sqlite3_stmt *stmt = db_statement(db, DB_RUN_GET);
    db_bind_text(stmt, 1, id);
    int r = db_step(db, stmt);
    if (r <= 0) {
        return r ? r : -ENOENT;
    }
    r = insert(db, id, &run);
    if (r < 0) {
        db_reset(stmt);
        return r;
    }
    r = take_row(db, run, stmt);
    db_reset(stmt);
    r = r ? r : take_parts(db, run);
    if (r < 0) {
        remove_run(db, run);
        return r;
    }
    count_bytes(db, run);
    *ret_run = run;
    return 0;
}

int runs_add(struct flow_db *db, struct span id, struct db_run **ret_run)
{
    struct db_run *run = NULL;

    int r = insert(db, id, &run);
    if (r < 0) {
        return r;
    }
    run->row = db->next_row++;
    run->fresh = true;
    run->tokens_known = true;
    runs_touch(db, run, NULL);
    *ret_run = run;
    return runs_set(&run->status, span_str("running")) ? 0 : -ENOMEM;
}

/* ---- changing a run ---- */

struct db_node *runs_node(struct db_run *run, struct span id)
{
    for (uint32_t i = 0; i < run->node_count; i++) {
        if (span_equal(run->nodes[i].id, id)) {
            return &run->nodes[i];
        }
    }
    return NULL;
}

struct db_node *runs_node_make(struct db_run *run, struct span id)
{
    struct db_node *node = runs_node(run, id);

    if (!node) {
        node = new_node(run);
        if (node && !runs_set(&node->id, id)) {
            run->node_count -= 1;
            return NULL;
        }
    }
    return node;
}

/* Workflows have at most 1000 nodes; should one ever have more, all of its last ones share a bit. */
static uint64_t part_bit(uint32_t part)
{
    return 1ull << (part < 63 ? part : 63);
}

void runs_touch(struct flow_db *db, struct db_run *run, const struct db_node *node)
{
    if (!run->dirty) {
        /* In the order of use: new rows go behind one another. */
        run->dirty = true;
        *(db->dirty ? &db->dirty_last->dirty_next : &db->dirty) = run;
        db->dirty_last = run;
    }
    if (node) {
        run->dirty_parts |= part_bit((uint32_t)(node - run->nodes) / DB_PART_NODES);
    }
}

/* ---- tokens ---- */

static uint64_t *token_slot(uint64_t *tokens, uint32_t slots, uint64_t token)
{
    uint32_t at = (uint32_t)token & (slots - 1);

    while (tokens[at] && tokens[at] != token) {
        at = (at + 1) & (slots - 1);
    }
    return &tokens[at];
}

int runs_consume(struct db_run *run, uint64_t token)
{
    if (run->token_count >= run->token_slots / 4 * 3) {
        uint32_t slots = run->token_slots ? run->token_slots * 2 : TOKEN_SLOTS_MIN;
        uint64_t *bigger = mem_try_zalloc(slots * sizeof(*bigger));
        if (!bigger) {
            return -ENOMEM;
        }
        for (uint32_t i = 0; i < run->token_slots; i++) {
            if (run->tokens[i]) {
                *token_slot(bigger, slots, run->tokens[i]) = run->tokens[i];
            }
        }
        mem_free(run->tokens);
        run->tokens = bigger;
        run->token_slots = slots;
    }
    uint64_t *slot = token_slot(run->tokens, run->token_slots, token);
    run->token_count += *slot == 0;
    *slot = token;
    return 0;
}

static int take_tokens(struct flow_db *db, struct db_run *run, struct span list)
{
    struct bytes *text = &db->scratch;
    struct json_array array;
    struct span raw;
    int r;

    if (json_array_begin(list.data, list.len, &array) < 0) {
        return -EBADMSG;
    }
    while ((r = json_array_next(&array, &raw)) == 1) {
        text->len = 0;
        r = json_string_decode(raw, text);
        r = r ? r : runs_consume(run, db_hash(db, span_of(text->data, text->len)));
        if (r < 0) {
            return r;
        }
    }
    return r;
}

static int read_tokens(struct flow_db *db, struct db_run *run)
{
    sqlite3_stmt *stmt = db_statement(db, DB_LOG_TOKENS);
    int r;

    db_bind_int(stmt, 1, run->row << DB_ROW_BITS);
    db_bind_int(stmt, 2, (run->row + 1) << DB_ROW_BITS);
    while ((r = db_step(db, stmt)) == 1) {
        int taken = take_tokens(db, run, db_column(stmt, 0));
        if (taken < 0) {
            db_reset(stmt);
            return taken;
        }
    }
    run->tokens_known = r == 0;
    return r;
}

int runs_consumed(struct flow_db *db, struct db_run *run, uint64_t token)
{
    if (!run->tokens_known) {
        int r = read_tokens(db, run);
        if (r < 0) {
            return r;
        }
    }
    return run->token_slots && *token_slot(run->tokens, run->token_slots, token) != 0;
}

/* ---- writing ---- */

static bool is_open(const struct db_run *run)
{
    return run->finished_ms == 0 || run->published < run->events;
}

static int write_row(struct flow_db *db, struct db_run *run)
{
    struct bytes *nodes = &db->scratch2;

    run->published = publish_progress(db, run);
    int r = part_write(run, 0, nodes);
    if (r < 0) {
        return r;
    }
    struct span part = span_of(nodes->data, nodes->len);
    if (run->fresh) {
        sqlite3_stmt *add = db_statement(db, DB_RUN_ADD);
        db_bind_int(add, 1, run->row);
        db_bind_text(add, 2, span_of(run->id, run->id_len));
        db_bind_int(add, 3, is_open(run));
        db_bind_text(add, 4, run->status);
        db_bind_text(add, 5, run->tag);
        db_bind_text(add, 6, run->user);
        db_bind_int(add, 7, run->created_ms);
        db_bind_int(add, 8, run->finished_ms);
        db_bind_int(add, 9, run->version);
        db_bind_int(add, 10, run->events);
        db_bind_int(add, 11, run->published);
        db_bind_int(add, 12, run->blobs);
        db_bind_text(add, 13, run->header);
        db_bind_text(add, 14, part);
        return db_run(db, add);
    }
    sqlite3_stmt *set = db_statement(db, DB_RUN_SET);
    db_bind_int(set, 1, run->row);
    db_bind_int(set, 2, run->version);
    db_bind_int(set, 3, run->events);
    db_bind_int(set, 4, run->published);
    db_bind_int(set, 5, run->blobs);
    db_bind_text(set, 6, run->header);
    db_bind_text(set, 7, part);
    r = db_run(db, set);
    if (r == 0 && run->finished_ms) {
        sqlite3_stmt *close = db_statement(db, DB_RUN_CLOSE);
        db_bind_int(close, 1, run->row);
        db_bind_text(close, 2, run->status);
        db_bind_int(close, 3, run->finished_ms);
        db_bind_int(close, 4, is_open(run));
        r = db_run(db, close);
    }
    return r;
}

static int write_parts(struct flow_db *db, struct db_run *run)
{
    int r = 0;

    for (uint32_t part = 1; part * DB_PART_NODES < run->node_count && r == 0; part++) {
        if (!(run->dirty_parts & part_bit(part))) {
            continue;
        }
        r = part_write(run, part, &db->scratch2);
        if (r == 0) {
            sqlite3_stmt *put = db_statement(db, DB_PART_PUT);
            db_bind_int(put, 1, run->row);
            db_bind_int(put, 2, part);
            db_bind_text(put, 3, span_of(db->scratch2.data, db->scratch2.len));
            r = db_run(db, put);
        }
    }
    return r;
}

int runs_write(struct flow_db *db)
{
    int r = 0;

    for (struct db_run *run = db->dirty; run && r == 0; run = run->dirty_next) {
        r = write_row(db, run);
        r = r ? r : write_parts(db, run);
    }
    return r;
}

void runs_settle(struct flow_db *db, bool committed)
{
    while (db->dirty) {
        struct db_run *run = db->dirty;
        db->dirty = run->dirty_next;
        run->dirty = run->fresh = false;
        run->dirty_parts = 0;
        run->dirty_next = NULL;
        if (!committed) {
            remove_run(db, run);
            continue;
        }
        count_bytes(db, run);
        publish_committed(db, run);
    }
}

void runs_forget(struct flow_db *db, struct span id)
{
    struct db_run *run = runs_find(db, id);

    if (run) {
        remove_run(db, run);
    }
}

void runs_evict(struct flow_db *db)
{
    CHECK(!db->dirty);
    while (db->oldest && db->cache_bytes > db->options.cache_bytes_max) {
        remove_run(db, db->oldest);
    }
}

void runs_free_all(struct flow_db *db)
{
    while (db->oldest) {
        remove_run(db, db->oldest);
    }
    table_fini(&db->runs);
}
