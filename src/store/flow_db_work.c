/* Tasks and timers. The file has them with their node; here is only what is needed to hand them out
 * in time, so a hundred thousand waiting runs cost little: a spot for each node that waits.
 *
 * A task:   NONE -> WAITING -> GIVEN -> NONE      done, dropped, dead, or taken back meanwhile
 *                              GIVEN -> LATER -> WAITING
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/json.h"
#include "base/mem.h"
#include "store/flow_db_own.h"

struct spot_key {
    struct span run_id, node;
};

static struct span spot_run(const struct db_spot *spot)
{
    return span_of(spot->names, spot->run_len);
}

static struct span spot_node(const struct db_spot *spot)
{
    return span_of(spot->names + spot->run_len, spot->node_len);
}

static bool is_spot(const struct table_item *item, const void *key)
{
    const struct db_spot *spot = (const struct db_spot *)item;
    const struct spot_key *wanted = key;

    return span_equal(spot_run(spot), wanted->run_id) && span_equal(spot_node(spot), wanted->node);
}

static uint64_t spot_hash(const struct flow_db *db, const struct spot_key *key)
{
    uint8_t both[FLOW_RUN_ID_MAX + 1 + FLOW_NODE_ID_MAX];

    CHECK(key->run_id.len <= FLOW_RUN_ID_MAX && key->node.len <= FLOW_NODE_ID_MAX);
    memcpy(both, key->run_id.data, key->run_id.len);
    both[key->run_id.len] = 0;
    memcpy(both + key->run_id.len + 1, key->node.data, key->node.len);
    return db_hash(db, span_of(both, key->run_id.len + 1 + key->node.len));
}

static struct db_spot *find(const struct flow_db *db, struct span run_id, struct span node)
{
    struct spot_key key = {run_id, node};

    if (node.len == 0 || node.len > FLOW_NODE_ID_MAX) {
        return NULL;
    }
    return (struct db_spot *)table_find(&db->spots, spot_hash(db, &key), is_spot, &key);
}

static struct db_spot *make(struct flow_db *db, struct span run_id, struct span node)
{
    struct spot_key key = {run_id, node};
    struct db_spot *spot = find(db, run_id, node);

    if (spot) {
        return spot;
    }
    spot = mem_try_zalloc(MEM_FLEX(struct db_spot, names, run_id.len + node.len));
    if (!spot) {
        return NULL;
    }
    spot->item.hash = spot_hash(db, &key);
    spot->timer.kind = DB_DUE_TIMER;
    spot->later.kind = DB_DUE_LATER;
    spot->run_len = (uint8_t)run_id.len;
    spot->node_len = (uint8_t)node.len;
    memcpy(spot->names, run_id.data, run_id.len);
    memcpy(spot->names + run_id.len, node.data, node.len);
    if (table_add(&db->spots, &spot->item) < 0) {
        mem_free(spot);
        return NULL;
    }
    return spot;
}

static void free_if_unused(struct flow_db *db, struct db_spot *spot)
{
    if (spot->state == DB_TASK_NONE && !spot->timer.place) {
        table_remove(&db->spots, &spot->item);
        mem_free(spot);
    }
}

/* ---- queues by type ---- */

static struct db_type *type_of(struct flow_db *db, struct span name)
{
    struct db_type *type = db->types;

    for (bool first = true; type && (first || type != db->types); type = type->next) {
        if (span_equal(span_of(type->name, type->name_len), name)) {
            return type;
        }
        first = false;
    }
    type = mem_try_zalloc(MEM_FLEX(struct db_type, name, name.len));
    if (type) {
        type->name_len = (uint8_t)name.len;
        memcpy(type->name, name.data, name.len);
        type->next = db->types ? db->types->next : type;
        *(db->types ? &db->types->next : &db->types) = type;
    }
    return type;
}

static void push(struct flow_db *db, struct db_spot *spot)
{
    struct db_type *type = spot->type;

    spot->state = DB_TASK_WAITING;
    spot->prev = type->last;
    spot->next = NULL;
    *(type->last ? &type->last->next : &type->first) = spot;
    type->last = spot;
    db->waiting_count += 1;
}

static void pull(struct flow_db *db, struct db_spot *spot)
{
    struct db_type *type = spot->type;

    *(spot->prev ? &spot->prev->next : &type->first) = spot->next;
    *(spot->next ? &spot->next->prev : &type->last) = spot->prev;
    spot->prev = spot->next = NULL;
    db->waiting_count -= 1;
}

/* Its node has no task any more, or another. What flow has stays with flow. */
static void clear_task(struct flow_db *db, struct db_spot *spot)
{
    if (spot->state == DB_TASK_WAITING) {
        pull(db, spot);
    } else if (spot->state == DB_TASK_LATER) {
        due_unset(&db->heap, &spot->later);
    } else if (spot->state == DB_TASK_GIVEN) {
        spot->given->spot = NULL;
        spot->given = NULL;
    }
    spot->state = DB_TASK_NONE;
    spot->again = false;
}

static void put_off(struct flow_db *db, struct db_spot *spot)
{
    spot->again = true;
    spot->state = DB_TASK_LATER;
    if (due_set(&db->heap, &spot->later, db->now_ms + FLOW_DB_LATER_MS) < 0) {
        push(db, spot);
    }
}

static void set_timer(struct flow_db *db, struct db_spot *spot, uint64_t due_ms)
{
    bool had = spot->timer.place != 0;

    if (due_set(&db->heap, &spot->timer, due_ms) < 0) {
        db->rescan = true;
        return;
    }
    db->timer_count += !had;
}

static void unset_timer(struct flow_db *db, struct db_spot *spot)
{
    db->timer_count -= spot->timer.place != 0;
    due_unset(&db->heap, &spot->timer);
}

/* ---- what is committed ---- */

static void queue(
    struct flow_db *db, struct span run_id, struct span node, struct span type_name, bool again)
{
    struct db_spot *spot = make(db, run_id, node);
    struct db_type *type = type_of(db, type_name);

    if (spot && type) {
        clear_task(db, spot);
        spot->type = type;
        spot->again = again;
        push(db, spot);
        return;
    }
    db->rescan = true;
    if (spot) {
        free_if_unused(db, spot);
    }
}

static void unqueue(struct flow_db *db, struct db_spot *spot)
{
    if (spot) {
        clear_task(db, spot);
        free_if_unused(db, spot);
    }
}

static void untimer(struct flow_db *db, struct db_spot *spot)
{
    if (spot) {
        unset_timer(db, spot);
        free_if_unused(db, spot);
    }
}

static void timer(struct flow_db *db, struct span run_id, struct span node, uint64_t due_ms)
{
    struct db_spot *spot = make(db, run_id, node);

    if (!spot) {
        db->rescan = true;
        return;
    }
    set_timer(db, spot, due_ms);
    free_if_unused(db, spot);
}

void work_apply(struct flow_db *db, const struct flow_commit *commit)
{
    for (uint32_t i = 0; i < commit->op_count; i++) {
        const struct flow_op *op = &commit->ops[i];
        switch (op->kind) {
        case FLOW_QUEUE:
            queue(db, commit->run_id, op->node, op->name, false);
            break;
        case FLOW_UNQUEUE:
            unqueue(db, find(db, commit->run_id, op->node));
            break;
        case FLOW_TIMER:
            timer(db, commit->run_id, op->node, op->n);
            break;
        case FLOW_UNTIMER:
            untimer(db, find(db, commit->run_id, op->node));
            break;
        default: /* A task whose token was consumed is found out when it would be handed out. */
            break;
        }
    }
}

/* ---- what is found at opening ---- */

struct finding {
    struct flow_db *db;
    struct span run_id;
};

static int find_node(void *ctx, const struct db_node_text *text)
{
    struct finding *finding = ctx;
    struct flow_db *db = finding->db;
    struct bytes *node = &db->scratch, *type = &db->scratch2;

    if (!text->task.len && !text->due_ms) {
        return 0;
    }
    node->len = type->len = 0;
    int r = json_string_decode(text->id, node);
    if (r == 0 && text->task.len) {
        r = json_string_decode(text->type, type);
    }
    if (r < 0 || node->len == 0 || node->len > FLOW_NODE_ID_MAX || type->len > FLOW_TYPE_MAX) {
        return r == -ENOMEM ? r : -EBADMSG;
    }
    struct span id = span_of(node->data, node->len);
    struct db_spot *spot = find(db, finding->run_id, id);
    if (text->task.len && (!spot || spot->state == DB_TASK_NONE)) {
        queue(db, finding->run_id, id, span_of(type->data, type->len), true);
    }
    if (text->due_ms && (!spot || !spot->timer.place)) {
        timer(db, finding->run_id, id, text->due_ms);
    }
    return 0;
}

int work_rebuild(struct flow_db *db)
{
    sqlite3_stmt *stmt = db_statement(db, DB_RUNS_OPEN);
    uint64_t last = 0;
    int r;

    db->rescan = false;
    while ((r = db_step(db, stmt)) == 1) {
        uint64_t row = db_column_int(stmt, 0);
        struct finding finding = {db, db_column(stmt, 1)};
        bool first = row != last, runs = span_equal(db_column(stmt, 3), span_str("running"));
        int found = 0;
        if (finding.run_id.len == 0 || finding.run_id.len > FLOW_RUN_ID_MAX) {
            found = -EBADMSG;
        }
        if (first && found == 0) {
            found = publish_found(db, finding.run_id, db_column(stmt, 2), row,
                db_column_int(stmt, 4), db_column_int(stmt, 5), !runs);
        }
        if (first && found == 0 && runs) {
            found = part_each_node(db_column(stmt, 6), find_node, &finding);
        }
        if (found == 0 && runs && sqlite3_column_type(stmt, 7) != SQLITE_NULL) {
            found = part_each_node(db_column(stmt, 7), find_node, &finding);
        }
        if (found) {
            db_reset(stmt);
            return found;
        }
        last = row;
    }
    return r;
}

/* ---- handing out ---- */

static struct span append(char *text, size_t *len, struct span more)
{
    struct span at = span_of(text + *len, more.len);

    if (more.len) {
        memcpy(text + *len, more.data, more.len);
    }
    *len += more.len;
    return at;
}

static struct db_given *make_given(struct db_spot *spot, const struct db_node *node)
{
    struct span type = span_of(spot->type->name, spot->type->name_len);
    size_t len = type.len + node->task.len + node->token.len + spot->run_len + spot->node_len;
    struct db_given *given = mem_try_zalloc(MEM_FLEX(struct db_given, text, len));

    if (given) {
        len = 0;
        given->task.type = append(given->text, &len, type);
        given->task.body = append(given->text, &len, node->task);
        given->task.again = spot->again;
        given->token = append(given->text, &len, node->token);
        given->run_id = append(given->text, &len, spot_run(spot));
        given->node = append(given->text, &len, spot_node(spot));
        given->spot = spot;
    }
    return given;
}

static void link_given(struct flow_db *db, struct db_given *given)
{
    given->next = db->given;
    if (db->given) {
        db->given->prev = given;
    }
    db->given = given;
    db->given_count += 1;
}

static void unlink_given(struct flow_db *db, struct db_given *given)
{
    *(given->prev ? &given->prev->next : &db->given) = given->next;
    if (given->next) {
        given->next->prev = given->prev;
    }
    given->prev = given->next = NULL;
    db->given_count -= 1;
}

static void give(struct flow_db *db, struct db_spot *spot)
{
    struct db_run *run = NULL;
    struct db_given *given = NULL;

    pull(db, spot);
    spot->state = DB_TASK_NONE;
    int r = runs_get(db, spot_run(spot), &run);
    struct db_node *node = r == 0 ? runs_node(run, spot_node(spot)) : NULL;
    if (r == -ENOENT || (r == 0 && (!node || !node->task.data))) {
        free_if_unused(db, spot); /* Its token was consumed while it waited. */
        return;
    }
    if (node) {
        given = make_given(spot, node);
    }
    if (!given) {
        put_off(db, spot); /* The disk, or memory. */
        return;
    }
    spot->state = DB_TASK_GIVEN;
    spot->given = given;
    link_given(db, given);
    db->options.in.on_task(db->options.in.ctx, &given->task);
}

/* One of each type in turn, so that many tasks of one do not hold up the others. */
void work_hand_out(struct flow_db *db)
{
    while (db->waiting_count && db->given_count < db->options.tasks_max) {
        while (!db->types->first) {
            db->types = db->types->next;
        }
        struct db_type *type = db->types;
        db->types = type->next;
        give(db, type->first);
    }
}

/* ---- giving back ---- */

/* Is the task still the node's, as far as can be said without reading? */
static bool is_in_file(const struct flow_db *db, const struct db_given *given)
{
    struct db_run *run = runs_find(db, given->run_id);
    struct db_node *node = run ? runs_node(run, given->node) : NULL;

    return !run || (node && node->task.data && span_equal(node->token, given->token));
}

void work_release(
    struct flow_db *db, struct flow_task *task, enum flow_release how, const char *why)
{
    struct db_given *given = CONTAINER_OF(task, struct db_given, task);
    struct db_spot *spot = given->spot;

    unlink_given(db, given);
    if (spot) {
        spot->given = NULL;
        spot->state = DB_TASK_NONE;
        if (how == FLOW_LATER && db->sqlite) {
            put_off(db, spot);
        } else {
            free_if_unused(db, spot);
        }
    }
    given->dead = how == FLOW_DEAD;
    bool writes = given->dead || (how != FLOW_LATER && spot && is_in_file(db, given));
    if (!writes || !db->sqlite) {
        mem_free(given);
        return;
    }
    snprintf(given->why, sizeof(given->why), "%s", why ? why : "");
    given->spot = NULL;
    given->next = db->released;
    db->released = given;
}

static int write_dead(struct flow_db *db, const struct db_given *given)
{
    sqlite3_stmt *put = db_statement(db, DB_DEAD_PUT), *trim = db_statement(db, DB_DEAD_TRIM);

    db_bind_int(put, 1, db->now_ms);
    db_bind_text(put, 2, span_str("task"));
    db_bind_text(put, 3, span_str(given->why));
    db_bind_blob(put, 4, given->task.body);
    int r = db_run(db, put);
    db_bind_int(trim, 1, FLOW_DB_DEAD_MAX);
    return r ? r : db_run(db, trim);
}

int work_write_released(struct flow_db *db)
{
    int r = 0;

    for (struct db_given *given = db->released; given && r == 0; given = given->next) {
        struct db_run *run = NULL;
        r = runs_get(db, given->run_id, &run);
        struct db_node *node = r == 0 ? runs_node(run, given->node) : NULL;
        if (node && node->task.data && span_equal(node->token, given->token)) {
            runs_touch(db, run, node);
            runs_clear(&node->type);
            runs_clear(&node->token);
            runs_clear(&node->task);
        }
        r = r == -ENOENT || r == -EBADMSG ? 0 : r;
        if (r == 0 && given->dead) {
            r = write_dead(db, given);
        }
    }
    return r;
}

void work_settle_released(struct flow_db *db)
{
    while (db->released) {
        struct db_given *given = db->released;
        db->released = given->next;
        mem_free(given);
    }
}

/* ---- due ---- */

void work_due(struct flow_db *db, struct db_due *due)
{
    if (due->kind == DB_DUE_LATER) {
        struct db_spot *spot = CONTAINER_OF(due, struct db_spot, later);
        due_unset(&db->heap, due);
        push(db, spot);
        return;
    }
    struct db_spot *spot = CONTAINER_OF(due, struct db_spot, timer);
    struct db_run *run = NULL;
    if (runs_get(db, spot_run(spot), &run) == -ENOENT) {
        untimer(db, spot); /* Its time was over, and nobody took the timer back. */
        return;
    }
    set_timer(db, spot, db->now_ms + FLOW_DB_TIMER_MS);
    db->options.in.on_timer(db->options.in.ctx, spot_run(spot), spot_node(spot));
}

void work_free_all(struct flow_db *db)
{
    struct table_item *item;
    size_t cursor = 0;

    work_settle_released(db);
    while (db->given) {
        struct db_given *given = db->given;
        unlink_given(db, given);
        mem_free(given);
    }
    while ((item = table_next(&db->spots, &cursor))) {
        mem_free(item);
    }
    table_fini(&db->spots);
    mem_free(db->heap.items);
    struct db_type *type = db->types ? db->types->next : NULL;
    if (type) {
        db->types->next = NULL;
    }
    while (type) {
        struct db_type *next = type->next;
        mem_free(type);
        type = next;
    }
}
