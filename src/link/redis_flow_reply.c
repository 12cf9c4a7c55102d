#include "link/redis_flow_reply.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "link/redis_resp.h"

/* Does the error begin with the word, or hold it as Redis 6.2 quotes the errors within scripts? */
static bool says(struct span text, const char *word)
{
    size_t len = strlen(word);
    const uint8_t *at = text.data;
    size_t left = text.len;

    if (left >= len && memcmp(at, word, len) == 0) {
        return true;
    }
    while (left > len && (at = memmem(at, left, word, len))) {
        if (at > text.data && at[-1] == '-') {
            return true;
        }
        at += 1;
        left = text.len - (size_t)(at - text.data);
    }
    return false;
}

int redis_flow_error(struct span reply)
{
    static const struct {
        const char *word;
        int err;
    } meanings[] = {
        {"NOSCRIPT ", -EAGAIN},
        {"OOM ", -ENOSPC},
        {"MISCONF ", -ENOSPC},
        {"NOGROUP ", -ESRCH},
        {"UNBLOCKED ", -ESRCH},
        {"BUSYGROUP ", -EEXIST},
        {"LOADING ", -ENOTCONN},
        {"READONLY ", -ENOTCONN},
        {"MASTERDOWN ", -ENOTCONN},
        {"CLUSTERDOWN ", -ENOTCONN},
        {"NOREPLICAS ", -ENOTCONN},
        {"TRYAGAIN ", -ENOTCONN},
        {"BUSY ", -ENOTCONN},
        {"NOAUTH ", -ENOTCONN},
    };
    struct span text = span_of(reply.data + 1, reply.len - 1);

    for (size_t i = 0; i < sizeof(meanings) / sizeof(*meanings); i++) {
        if (says(text, meanings[i].word)) {
            return meanings[i].err;
        }
    }
    return -EIO;
}

bool redis_flow_number(struct span text, uint64_t *ret_number)
{
    uint64_t number = 0;

    if (text.len == 0 || text.len > 16) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        number = number * 10 + (uint64_t)(text.data[i] - '0');
    }
    *ret_number = number;
    return number < 1ull << 53;
}

int redis_flow_committed(struct span reply, uint64_t *ret_version)
{
    static const struct {
        const char *word;
        int err;
    } words[] = {{"stale", -ESTALE}, {"exists", -EEXIST}, {"already", -EALREADY}};
    struct resp_item item;

    if (!resp_next(&reply, &item)) {
        return -EBADMSG;
    }
    if (item.type == ':') {
        return redis_flow_number(item.text, ret_version) ? 0 : -EBADMSG;
    }
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        if (item.type == '$' && span_equal(item.text, span_str(words[i].word))) {
            return words[i].err;
        }
    }
    return -EBADMSG;
}

int redis_flow_words(struct span reply, struct span **ret_words, size_t *ret_count)
{
    struct span rest = reply;
    struct resp_item head;

    if (!resp_next(&rest, &head)) {
        return -EBADMSG;
    }
    if (head.nil) {
        return -ENOENT;
    }
    if (head.type != '*') {
        return -EBADMSG;
    }
    struct span *words = mem_try_alloc((head.count + 1) * sizeof(*words));
    if (!words) {
        return -ENOMEM;
    }
    if (resp_flat(reply, words, head.count) < 0) {
        mem_free(words);
        return -EBADMSG;
    }
    *ret_words = words;
    *ret_count = head.count;
    return 0;
}

int redis_flow_shelved(struct span text, struct flow_shelf_item *ret_item)
{
    static const char updated[] = "updated_ms", definition[] = "definition";
    const struct span keys[] = {span_str(updated), span_str(definition)};
    struct span values[2];

    if (!text.len || json_find_members(text.data, text.len, keys, 2, values) != 0 ||
        !values[1].data || !redis_flow_number(values[0], &ret_item->updated_ms)) {
        return -EBADMSG;
    }
    ret_item->body = values[1];
    return 0;
}

int redis_entries_begin(struct span reply, struct redis_entries *ret_entries)
{
    struct resp_item item;

    *ret_entries = (struct redis_entries){.rest = reply};
    if (!resp_next(&ret_entries->rest, &item) || item.type != '*') {
        return -EBADMSG;
    }
    if (item.nil) {
        return 0; /* Nothing came in time. */
    }
    if (item.count != 1 || !resp_next(&ret_entries->rest, &item) || item.type != '*' ||
        item.count != 2 || !resp_next(&ret_entries->rest, &item) || item.type != '$' ||
        !resp_next(&ret_entries->rest, &item) || item.type != '*') {
        return -EBADMSG;
    }
    ret_entries->left = item.count;
    return 0;
}

static bool read_id(struct redis_entry *entry)
{
    const uint8_t *dash = entry->id.len ? memchr(entry->id.data, '-', entry->id.len) : NULL;

    if (!dash) {
        return false;
    }
    size_t len = (size_t)(dash - entry->id.data);
    return redis_flow_number(span_of(entry->id.data, len), &entry->ms) &&
           redis_flow_number(span_of(dash + 1, entry->id.len - len - 1), &entry->seq);
}

int redis_entries_next(
    struct redis_entries *entries, struct span field, struct redis_entry *ret_entry)
{
    struct resp_item item, value;

    *ret_entry = (struct redis_entry){0};
    if (entries->left == 0) {
        return 0;
    }
    entries->left -= 1;
    if (!resp_next(&entries->rest, &item) || item.type != '*' || item.count != 2 ||
        !resp_next(&entries->rest, &item) || item.type != '$') {
        return -EBADMSG;
    }
    ret_entry->id = item.text;
    if (!read_id(ret_entry) || !resp_next(&entries->rest, &item) || item.type != '*') {
        return -EBADMSG;
    }
    ret_entry->gone = item.nil;
    for (size_t i = 0; i + 1 < item.count; i += 2) {
        struct resp_item name;
        if (!resp_next(&entries->rest, &name) || name.type != '$' ||
            !resp_next(&entries->rest, &value) || value.type != '$') {
            return -EBADMSG;
        }
        if (!ret_entry->found && span_equal(name.text, field)) {
            ret_entry->found = true;
            ret_entry->value = value.text;
        }
    }
    return item.count % 2 ? -EBADMSG : 1;
}
