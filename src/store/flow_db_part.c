/* A part of a run's nodes as text: a JSON array, one element a node:
 *
 *   ["id", record or null, ["type","token",task] or null, due in ms or 0, approval or null]
 */
#include <errno.h>

#include "base/json.h"
#include "store/flow_db_own.h"

static int raw_number(struct span raw, uint64_t *ret)
{
    int64_t n = 0;

    if (json_int64(raw, &n) < 0 || n < 0) {
        return -EBADMSG;
    }
    *ret = (uint64_t)n;
    return 0;
}

static bool is_null(struct span raw)
{
    return span_equal(raw, span_str("null"));
}

/* The elements of an array that must have count of them. */
static int elements(struct span raw, struct span *out, uint32_t count)
{
    struct json_array array;
    struct span value;
    uint32_t found = 0;
    int r;

    if (json_array_begin(raw.data, raw.len, &array) < 0) {
        return -EBADMSG;
    }
    while ((r = json_array_next(&array, &value)) == 1) {
        if (found == count) {
            return -EBADMSG;
        }
        out[found++] = value;
    }
    return r == 0 && found == count ? 0 : -EBADMSG;
}

static int read_node(struct span raw, struct db_node_text *node)
{
    struct span parts[5], task[3];

    int r = elements(raw, parts, COUNT_OF(parts));
    if (r < 0) {
        return r;
    }
    *node = (struct db_node_text){.id = parts[0]};
    node->record = is_null(parts[1]) ? (struct span){0} : parts[1];
    node->approval = is_null(parts[4]) ? (struct span){0} : parts[4];
    if (!is_null(parts[2])) {
        r = elements(parts[2], task, COUNT_OF(task));
        if (r < 0) {
            return r;
        }
        node->type = task[0];
        node->token = task[1];
        node->task = task[2];
    }
    return raw_number(parts[3], &node->due_ms);
}

int part_each_node(struct span part, part_node_fn *fn, void *ctx)
{
    struct db_node_text node;
    struct json_array array;
    struct span raw;
    int r;

    if (json_array_begin(part.data, part.len, &array) < 0) {
        return -EBADMSG;
    }
    while ((r = json_array_next(&array, &raw)) == 1) {
        r = read_node(raw, &node);
        r = r ? r : fn(ctx, &node);
        if (r) {
            return r;
        }
    }
    return r;
}

static int write_node(struct bytes *out, const struct db_node *node, bool first)
{
    int r = bytes_append_str(out, first ? "[" : ",\n[");
    r = r ? r : json_append_string(out, node->id.data, node->id.len);
    r = r ? r : bytes_append_byte(out, ',');
    r = r                   ? r
        : node->record.data ? bytes_append(out, node->record.data, node->record.len)
                            : bytes_append_str(out, "null");
    if (r == 0 && node->task.data) {
        r = bytes_append_str(out, ",[");
        r = r ? r : json_append_string(out, node->type.data, node->type.len);
        r = r ? r : bytes_append_byte(out, ',');
        r = r ? r : json_append_string(out, node->token.data, node->token.len);
        r = r ? r : bytes_append_byte(out, ',');
        r = r ? r : bytes_append(out, node->task.data, node->task.len);
        r = r ? r : bytes_append_byte(out, ']');
    } else {
        r = r ? r : bytes_append_str(out, ",null");
    }
    r = r ? r : bytes_appendf(out, ",%llu,", (unsigned long long)node->due_ms);
    r = r                     ? r
        : node->approval.data ? bytes_append(out, node->approval.data, node->approval.len)
                              : bytes_append_str(out, "null");
    return r ? r : bytes_append_byte(out, ']');
}

int part_write(const struct db_run *run, uint32_t part, struct bytes *out)
{
    uint32_t at = part * DB_PART_NODES;

    out->len = 0;
    int r = bytes_append_byte(out, '[');
    for (uint32_t i = at; i < at + DB_PART_NODES && i < run->node_count && r == 0; i++) {
        r = write_node(out, &run->nodes[i], i == at);
    }
    return r ? r : bytes_append_byte(out, ']');
}
