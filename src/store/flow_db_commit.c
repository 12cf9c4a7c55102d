/* A commit: judged first, as a whole; then it changes the run in memory, and writes what has rows
 * of its own. The run's row follows at the end of the transaction, once for all its commits. */
#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "store/flow_db_own.h"

/* What a run's range of rows has numbers for. */
static const uint64_t rows_max = (1ull << DB_ROW_BITS) - 1;

static int hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool commit_ref(struct span text, uint8_t out[DB_REF_LEN])
{
    if (text.len != FLOW_REF_LEN || memcmp(text.data, "sha256:", 7) != 0) {
        return false;
    }
    for (size_t i = 0; i < DB_REF_LEN; i++) {
        int high = hex_digit(text.data[7 + 2 * i]), low = hex_digit(text.data[8 + 2 * i]);
        if (high < 0 || low < 0) {
            return false;
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* ---- judging ---- */

static bool is_json(struct span text)
{
    return text.len && json_valid(text.data, text.len);
}

static bool is_text(struct span text)
{
    return utf8_valid(text.data, text.len);
}

static bool is_node(struct span node)
{
    return node.len > 0 && node.len <= FLOW_NODE_ID_MAX && is_text(node);
}

/* What flow promises of an op, as far as the file would suffer if it were not so. */
static bool is_sound(const struct flow_commit *commit, uint32_t index)
{
    const struct flow_op *op = &commit->ops[index];
    uint8_t ref[DB_REF_LEN];

    switch (op->kind) {
    case FLOW_OPEN:
        return index == 0 && commit->version == 0;
    case FLOW_HEADER:
        return is_json(op->body);
    case FLOW_NODE:
        return is_node(op->node) && is_json(op->body);
    case FLOW_APPROVAL:
        return is_node(op->node) && (op->body.len == 0 || is_json(op->body));
    case FLOW_QUEUE:
        return is_node(op->node) && is_json(op->body) && op->name.len &&
               op->name.len <= FLOW_TYPE_MAX && is_text(op->name) && is_text(op->id);
    case FLOW_CONSUME:
        return is_text(op->id);
    case FLOW_TIMER:
        return is_node(op->node) && op->n > 0 && op->n <= INT64_MAX;
    case FLOW_EVENT:
        return is_json(op->body);
    case FLOW_BLOB:
        return commit_ref(op->id, ref);
    case FLOW_CLOSE:
        return op->name.len > 0 && op->n > 0;
    default:
        return true;
    }
}

static bool is_sound_commit(const struct flow_commit *commit)
{
    if (commit->run_id.len == 0 || commit->run_id.len > FLOW_RUN_ID_MAX) {
        return false;
    }
    if (commit->version == 0 && (commit->op_count == 0 || commit->ops[0].kind != FLOW_OPEN)) {
        return false;
    }
    for (uint32_t i = 0; i < commit->op_count; i++) {
        if (!is_sound(commit, i)) {
            return false;
        }
    }
    return true;
}

/* Is there a token among these that was consumed before, or is consumed twice? Returns 0,
 * -EALREADY, or another: it could not be told. */
static int check_tokens(struct flow_db *db, struct db_run *run, const struct flow_commit *commit)
{
    struct bytes *seen = &db->scratch2;

    seen->len = 0;
    for (uint32_t i = 0; i < commit->op_count; i++) {
        if (commit->ops[i].kind != FLOW_CONSUME) {
            continue;
        }
        uint64_t token = db_hash(db, commit->ops[i].id);
        int r = run ? runs_consumed(db, run, token) : 0;
        if (r) {
            return r < 0 ? r : -EALREADY;
        }
        for (size_t at = 0; at < seen->len; at += sizeof(token)) {
            if (memcmp(seen->data + at, &token, sizeof(token)) == 0) {
                return -EALREADY;
            }
        }
        r = bytes_append(seen, &token, sizeof(token));
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

/* ---- applying ---- */

static int put_ir(struct flow_db *db, const struct db_run *run, struct span ir)
{
    sqlite3_stmt *put = db_statement(db, DB_IR_PUT);

    db_bind_int(put, 1, run->row);
    db_bind_text(put, 2, ir);
    return db_run(db, put);
}

static int put_blob(struct flow_db *db, struct db_run *run, const struct flow_op *op)
{
    sqlite3_stmt *has = db_statement(db, DB_BLOB_HAS), *put = db_statement(db, DB_BLOB_PUT);
    uint64_t first = run->row << DB_ROW_BITS;
    uint8_t ref[DB_REF_LEN];

    if (!commit_ref(op->id, ref) || run->blobs >= rows_max) {
        return -ENOSPC;
    }
    /* A loop may give the same result again and again. */
    db_bind_blob(has, 1, span_of(ref, sizeof(ref)));
    db_bind_int(has, 2, first);
    db_bind_int(has, 3, first + run->blobs);
    int r = db_step(db, has);
    if (r) {
        db_reset(has);
        return r < 0 ? r : 0;
    }
    db_bind_int(put, 1, first + run->blobs++);
    db_bind_blob(put, 2, span_of(ref, sizeof(ref)));
    db_bind_text(put, 3, op->body);
    return db_run(db, put);
}

static void clear_task(struct db_node *node)
{
    runs_clear(&node->type);
    runs_clear(&node->token);
    runs_clear(&node->task);
}

static int apply_queue(struct db_node *node, const struct flow_op *op)
{
    return runs_set(&node->type, op->name) && runs_set(&node->token, op->id) &&
                   runs_set(&node->task, op->body)
               ? 0
               : -ENOMEM;
}

/* Its task need not be handed out again, whoever of this process has it. */
static int apply_consume(struct flow_db *db, struct db_run *run, struct span token)
{
    for (uint32_t i = 0; i < run->node_count; i++) {
        struct db_node *node = &run->nodes[i];
        if (node->task.data && span_equal(node->token, token)) {
            runs_touch(db, run, node);
            clear_task(node);
        }
    }
    return runs_consume(run, db_hash(db, token));
}

/* Ops of a node. */
static int apply_node(struct flow_db *db, struct db_run *run, const struct flow_op *op)
{
    bool makes = op->kind == FLOW_NODE || op->kind == FLOW_QUEUE || op->kind == FLOW_TIMER ||
                 (op->kind == FLOW_APPROVAL && op->body.len);
    struct db_node *node = makes ? runs_node_make(run, op->node) : runs_node(run, op->node);

    if (!node) {
        return makes ? -ENOMEM : 0;
    }
    runs_touch(db, run, node);
    switch (op->kind) {
    case FLOW_NODE:
        return runs_set(&node->record, op->body) ? 0 : -ENOMEM;
    case FLOW_QUEUE:
        return apply_queue(node, op);
    case FLOW_UNQUEUE:
        clear_task(node);
        return 0;
    case FLOW_TIMER:
        node->due_ms = op->n;
        return 0;
    case FLOW_UNTIMER:
        node->due_ms = 0;
        return 0;
    default:
        if (op->body.len == 0) {
            runs_clear(&node->approval);
            return 0;
        }
        return runs_set(&node->approval, op->body) ? 0 : -ENOMEM;
    }
}

static int apply_op(struct flow_db *db, struct db_run *run, const struct flow_op *op)
{
    switch (op->kind) {
    case FLOW_OPEN:
        run->created_ms = op->n;
        if (!runs_set(&run->user, op->id) || !runs_set(&run->tag, op->name)) {
            return -ENOMEM;
        }
        return put_ir(db, run, op->body);
    case FLOW_CONSUME:
        return apply_consume(db, run, op->id);
    case FLOW_HEADER:
        return runs_set(&run->header, op->body) ? 0 : -ENOMEM;
    case FLOW_NODE:
    case FLOW_QUEUE:
    case FLOW_UNQUEUE:
    case FLOW_TIMER:
    case FLOW_UNTIMER:
    case FLOW_APPROVAL:
        return apply_node(db, run, op);
    case FLOW_BLOB:
        return put_blob(db, run, op);
    case FLOW_CLOSE:
        run->finished_ms = op->n;
        return runs_set(&run->status, op->name) ? 0 : -ENOMEM;
    default:
        return 0; /* What the header and the records say as well, or the log. */
    }
}

/* The ops of one kind as a JSON array: of strings, or of what is JSON already. */
static int append_list(struct bytes *out, const struct flow_commit *commit, enum flow_op_kind kind,
    uint32_t *ret_count)
{
    uint32_t count = 0;
    int r = bytes_append_byte(out, '[');

    for (uint32_t i = 0; i < commit->op_count && r == 0; i++) {
        const struct flow_op *op = &commit->ops[i];
        if (op->kind != kind) {
            continue;
        }
        r = count++ ? bytes_append_byte(out, ',') : 0;
        r = r                    ? r
            : kind == FLOW_EVENT ? bytes_append(out, op->body.data, op->body.len)
                                 : json_append_string(out, op->id.data, op->id.len);
    }
    *ret_count = count;
    return r ? r : bytes_append_byte(out, ']');
}

static int put_log(struct flow_db *db, struct db_run *run, const struct flow_commit *commit)
{
    struct bytes *tokens = &db->scratch, *events = &db->scratch2;
    uint32_t token_count = 0, event_count = 0;

    tokens->len = events->len = 0;
    int r = append_list(tokens, commit, FLOW_CONSUME, &token_count);
    r = r ? r : append_list(events, commit, FLOW_EVENT, &event_count);
    if (r || token_count + event_count == 0) {
        return r;
    }
    sqlite3_stmt *put = db_statement(db, DB_LOG_PUT);
    db_bind_int(put, 1, (run->row << DB_ROW_BITS) + run->version);
    db_bind_int(put, 2, run->events);
    db_bind_int(put, 3, event_count);
    db_bind_text(put, 4, span_of(tokens->data, tokens->len));
    db_bind_text(put, 5, span_of(events->data, events->len));
    for (uint32_t i = 0; i < commit->op_count; i++) {
        if (commit->ops[i].kind == FLOW_EVENT) {
            publish_recorded(db, run, run->events++, commit->ops[i].body);
        }
    }
    return db_run(db, put);
}

static int apply(struct flow_db *db, struct db_run *run, struct flow_commit *commit)
{
    int r = 0;

    runs_touch(db, run, NULL);
    run->version += 1;
    for (uint32_t i = 0; i < commit->op_count && r == 0; i++) {
        r = apply_op(db, run, &commit->ops[i]);
    }
    r = r ? r : put_log(db, run, commit);
    commit->ret_version = run->version;
    return r;
}

int commit_apply(struct flow_db *db, struct flow_commit *commit)
{
    struct db_run *run = NULL;

    commit->err = 0;
    if (!is_sound_commit(commit)) {
        commit->err = -EINVAL;
        return 0;
    }
    int r = runs_get(db, commit->run_id, &run);
    if (r == -EBADMSG) {
        commit->err = -EIO; /* That run is damaged; the others of this transaction are not. */
        return 0;
    }
    if (r < 0 && r != -ENOENT) {
        return r;
    }
    if (run ? run->version != commit->version : commit->version != 0) {
        commit->err = commit->version == 0 ? -EEXIST : -ESTALE;
        return 0;
    }
    r = check_tokens(db, run, commit);
    if (r == -EALREADY) {
        commit->err = r;
        return 0;
    }
    if (r == 0 && run && run->version >= rows_max) {
        commit->err = -ENOSPC;
        return 0;
    }
    if (r == 0 && !run) {
        r = runs_add(db, commit->run_id, &run);
    }
    return r ? r : apply(db, run, commit);
}
