#include "link/redis_resp.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <string.h>

#include "base/check.h"

enum step {
    STEP_TYPE,
    STEP_TEXT,   /* Of a status or an error, up to the carriage return. */
    STEP_NUMBER, /* Of an integer, a string's length, a list's count. */
    STEP_LF,
    STEP_BULK, /* number bytes of a string, then its carriage return. */
    STEP_BULK_LF,
};

enum { DIGITS_MAX = 19 }; /* 19 digits always fit 64 bits without a sign. */

/* An element is complete; so may be the lists it ends. 1: and with them the reply. */
static int element_done(struct resp_scan *scan)
{
    scan->step = STEP_TYPE;
    while (scan->depth > 0) {
        uint32_t *left = &scan->left[scan->depth - 1];
        *left -= 1;
        if (*left > 0) {
            return 0;
        }
        scan->depth -= 1;
    }
    scan->element_count = 0;
    return 1;
}

static int scan_type(struct resp_scan *scan, uint8_t byte)
{
    if (scan->element_count == RESP_ELEMENTS_MAX) {
        return -E2BIG;
    }
    scan->element_count += 1;
    scan->type = byte;
    scan->negative = false;
    scan->digit_count = 0;
    scan->line_len = 0;
    scan->number = 0;
    switch (byte) {
    case '+':
    case '-':
        scan->step = STEP_TEXT;
        return 0;
    case ':':
    case '$':
    case '*':
        scan->step = STEP_NUMBER;
        return 0;
    default:
        return -EPROTO;
    }
}

/* Numbers have one spelling: no leading zero, no "-0". */
static int scan_number(struct resp_scan *scan, uint8_t byte)
{
    bool leading_zero = scan->digit_count == 1 && scan->number == 0;

    if (byte == '-' && !scan->negative && scan->digit_count == 0) {
        scan->negative = true;
        return 0;
    }
    if (byte >= '0' && byte <= '9' && scan->digit_count < DIGITS_MAX && !leading_zero) {
        scan->digit_count += 1;
        scan->number = scan->number * 10 + (uint64_t)(byte - '0');
        return 0;
    }
    if (byte == '\r' && scan->digit_count > 0 && !(leading_zero && scan->negative)) {
        scan->step = STEP_LF;
        return 0;
    }
    return -EPROTO;
}

static int open_list(struct resp_scan *scan)
{
    if (scan->number == 0) {
        return element_done(scan);
    }
    if (scan->depth == RESP_DEPTH_MAX || scan->number > RESP_ELEMENTS_MAX - scan->element_count) {
        return -E2BIG;
    }
    scan->left[scan->depth] = (uint32_t)scan->number;
    scan->depth += 1;
    scan->step = STEP_TYPE;
    return 0;
}

/* The line's meaning, now that it is whole. */
static int line_done(struct resp_scan *scan)
{
    if (scan->type != '$' && scan->type != '*') {
        /* Beyond a signed 64-bit value hiredis would compute nonsense. */
        return scan->type == ':' && scan->number > INT64_MAX ? -EPROTO : element_done(scan);
    }
    if (scan->negative) { /* Nil is spelt -1. */
        return scan->number == 1 ? element_done(scan) : -EPROTO;
    }
    if (scan->type == '*') {
        return open_list(scan);
    }
    if (scan->number > RESP_BULK_MAX) {
        return -E2BIG;
    }
    scan->step = STEP_BULK;
    return 0;
}

/* Everything that is looked at byte by byte; strings and lines are passed in one go. */
static int scan_byte(struct resp_scan *scan, uint8_t byte)
{
    switch ((enum step)scan->step) {
    case STEP_TYPE:
        return scan_type(scan, byte);
    case STEP_NUMBER:
        return scan_number(scan, byte);
    case STEP_LF:
        return byte == '\n' ? line_done(scan) : -EPROTO;
    case STEP_TEXT: /* Only its end comes here. */
        scan->step = STEP_LF;
        return byte == '\r' ? 0 : -EPROTO;
    case STEP_BULK: /* Only its end comes here. */
        scan->step = STEP_BULK_LF;
        return byte == '\r' ? 0 : -EPROTO;
    case STEP_BULK_LF:
        return byte == '\n' ? element_done(scan) : -EPROTO;
    }
    return -EPROTO;
}

/* Passes what needs no look at each byte. Returns how many bytes, or -E2BIG. */
static long pass_over(struct resp_scan *scan, const uint8_t *data, size_t len)
{
    size_t count = 0;

    if (scan->step == STEP_BULK) {
        count = len < scan->number ? len : (size_t)scan->number;
        scan->number -= count;
    } else if (scan->step == STEP_TEXT) {
        while (count < len && data[count] != '\r' && data[count] != '\n') {
            count += 1;
        }
        if (count > RESP_LINE_MAX - scan->line_len) {
            return -E2BIG;
        }
        scan->line_len += (uint32_t)count;
    }
    return (long)count;
}

int resp_scan(struct resp_scan *scan, struct span data, size_t *ret_used)
{
    size_t at = 0;

    while (at < data.len) {
        long passed = pass_over(scan, data.data + at, data.len - at);
        if (passed < 0) {
            return (int)passed;
        }
        at += (size_t)passed;
        if (at == data.len) {
            break;
        }
        int r = scan_byte(scan, data.data[at]);
        at += 1;
        if (r != 0) {
            *ret_used = at;
            return r;
        }
    }
    *ret_used = at;
    return 0;
}

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

static bool take_item(struct span *rest, struct span *ret_item)
{
    uint8_t type;

    if (!take_line(rest, &type, ret_item) || type == '*') {
        return false;
    }
    if (type != '$') {
        return true;
    }
    size_t len = line_number(*ret_item);
    if (len == SIZE_MAX) {
        *ret_item = (struct span){NULL, 0};
        return true;
    }
    if (rest->len < 2 || len > rest->len - 2) {
        return false;
    }
    *ret_item = span_of(rest->data, len);
    *rest = span_of(rest->data + len + 2, rest->len - len - 2);
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
