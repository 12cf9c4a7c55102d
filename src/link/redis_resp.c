#include "link/redis_resp.h"

#include <errno.h>

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
