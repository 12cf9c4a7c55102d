/* Reading and writing what resp_scan() judged or nobody needs to judge: our own commands. */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <string.h>

#include "base/check.h"
#include "link/redis_resp.h"

/* Reads "<type><text>\r\n" at the start of rest and moves behind it; false at the end. */
static bool take_line(struct span *rest, uint8_t *ret_type, struct span *ret_text)
{
    const uint8_t *end = rest->len > 3 ? memmem(rest->data, rest->len, "\r\n", 2) : NULL;

    if (!end) {
        return false;
    }
    *ret_type = rest->data[0];
    *ret_text = span_of(rest->data + 1, (size_t)(end - rest->data) - 1);
    size_t used = ret_text->len + 3;
    *rest = span_of(rest->data + used, rest->len - used);
    return true;
}

/* A count or length of a line that resp_scan() judged; SIZE_MAX for nil. */
static size_t line_number(struct span text)
{
    size_t number = 0;

    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || number > RESP_BULK_MAX) {
            return SIZE_MAX;
        }
        number = number * 10 + (size_t)(text.data[i] - '0');
    }
    return number;
}

bool resp_next(struct span *rest, struct resp_item *ret_item)
{
    uint8_t type;

    *ret_item = (struct resp_item){0};
    if (!take_line(rest, &type, &ret_item->text)) {
        return false;
    }
    ret_item->type = (char)type;
    if (type != '$' && type != '*') {
        return true;
    }
    size_t number = line_number(ret_item->text);
    ret_item->text = span_of(NULL, 0);
    ret_item->nil = number == SIZE_MAX;
    if (ret_item->nil) {
        return true;
    }
    if (type == '*') {
        ret_item->count = number;
        return true;
    }
    if (rest->len < 2 || number > rest->len - 2) {
        return false;
    }
    ret_item->text = span_of(rest->data, number);
    *rest = span_of(rest->data + number + 2, rest->len - number - 2);
    return true;
}

static bool take_item(struct span *rest, struct span *ret_text)
{
    struct resp_item item;

    if (!resp_next(rest, &item) || item.type == '*') {
        return false;
    }
    *ret_text = item.text;
    return true;
}

int resp_flat(struct span reply, struct span *ret_items, size_t cap)
{
    struct span rest = reply;
    struct span text;
    uint8_t type;

    if (!take_line(&rest, &type, &text) || type != '*') {
        return -EINVAL;
    }
    size_t count = line_number(text);
    if (count > cap) { /* Nil is the largest of all. */
        return -EINVAL;
    }
    for (size_t i = 0; i < count; i++) {
        if (!take_item(&rest, &ret_items[i])) {
            return -EINVAL;
        }
    }
    return (int)count;
}

int resp_decode(struct span reply, struct redisReply **ret_reply)
{
    redisReader *reader = redisReaderCreate();
    void *object = NULL;

    if (!reader) {
        return -ENOMEM;
    }
    int r = redisReaderFeed(reader, (const char *)reply.data, reply.len);
    if (r == REDIS_OK) {
        r = redisReaderGetReply(reader, &object);
    }
    int err = reader->err == REDIS_ERR_OOM ? -ENOMEM : -EPROTO;
    redisReaderFree(reader);
    if (r != REDIS_OK || !object) {
        return err;
    }
    *ret_reply = object;
    return 0;
}

/* By hand: a commit of the coordinator has a hundred words. */
static int append_head(struct bytes *out, char type, size_t number)
{
    char text[24];
    size_t at = sizeof(text);

    text[--at] = '\n';
    text[--at] = '\r';
    do {
        text[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    text[--at] = type;
    return bytes_append(out, text + at, sizeof(text) - at);
}

int resp_command_begin(struct bytes *out, size_t arg_count)
{
    return append_head(out, '*', arg_count);
}

int resp_command_word_begin(struct bytes *out, size_t len)
{
    return append_head(out, '$', len);
}

int resp_command_word(struct bytes *out, struct span word)
{
    int r = resp_command_word_begin(out, word.len);

    r = r || !word.len ? r : bytes_append(out, word.data, word.len);
    return r ? r : bytes_append(out, "\r\n", 2);
}

int resp_command(struct bytes *out, const struct span *args, size_t arg_count)
{
    enum { ARGS_MAX = 1024 };
    const char *texts[ARGS_MAX];
    size_t lens[ARGS_MAX];
    char *command = NULL;

    CHECK(arg_count > 0 && arg_count <= ARGS_MAX);
    for (size_t i = 0; i < arg_count; i++) {
        texts[i] = args[i].len > 0 ? (const char *)args[i].data : "";
        lens[i] = args[i].len;
    }
    int len = redisFormatCommandArgv(&command, (int)arg_count, texts, lens);
    if (len < 0) {
        return -ENOMEM;
    }
    int r = bytes_append(out, command, (size_t)len);
    redisFreeCommand(command);
    return r;
}
