#include "role/lines.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "rt/loop.h"

enum { READ_BYTES = 64 * 1024, LINE_BYTES_MAX = 16 * 1024 * 1024 };

void lines_open(struct lines *lines, struct loop *loop, uint8_t kind)
{
    *lines = (struct lines){.loop = loop, .kind = kind};
    /* A regular file cannot be watched, and need not be. */
    bool file = loop_watch(loop, STDIN_FILENO, kind, 0, LOOP_WATCH_IN) != 0;
    lines->state = file ? LINES_FILE : LINES_WATCHED;
}

void lines_fini(struct lines *lines)
{
    bytes_fini(&lines->input);
}

/* Reads a piece of stdin. False when there is nothing now. */
static bool read_piece(struct lines *lines)
{
    bytes_consume(&lines->input, lines->at);
    lines->at = 0;
    if (lines->end || bytes_reserve(&lines->input, READ_BYTES)) {
        return false;
    }
    ssize_t got = read(STDIN_FILENO, lines->input.data + lines->input.len, READ_BYTES);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return false;
    }
    if (got <= 0) {
        lines->end = true;
        if (lines->state == LINES_WATCHED) {
            loop_unwatch(lines->loop, STDIN_FILENO);
        }
        return got == 0 && lines->input.len;
    }
    lines->input.len += (size_t)got;
    return true;
}

void lines_read(struct lines *lines)
{
    (void)read_piece(lines);
}

/* Lets the loop tell about stdin only while lines are wanted: the rest waits in the pipe. */
static void watch(struct lines *lines, bool wanted)
{
    if (wanted && lines->state == LINES_PAUSED && !lines->end) {
        if (loop_watch(lines->loop, STDIN_FILENO, lines->kind, 0, LOOP_WATCH_IN) == 0) {
            lines->state = LINES_WATCHED;
        }
    } else if (!wanted && lines->state == LINES_WATCHED && !lines->end) {
        loop_unwatch(lines->loop, STDIN_FILENO);
        lines->state = LINES_PAUSED;
    }
}

/* What is left over is a line in the making, or lines that wait for the server or the rate. */
void lines_settle(struct lines *lines)
{
    const uint8_t *rest = lines->input.data + lines->at;
    size_t rest_len = lines->input.len - lines->at;

    watch(lines, !rest_len || !memchr(rest, '\n', rest_len));
}

bool lines_next(struct lines *lines, struct span *ret_line, size_t *ret_used)
{
    for (;;) {
        const uint8_t *data = lines->input.data + lines->at;
        size_t left = lines->input.len - lines->at;
        const uint8_t *end = left ? memchr(data, '\n', left) : NULL;
        bool last = !end && left && (lines->end || left > LINE_BYTES_MAX);
        if (end || last) {
            size_t len = end ? (size_t)(end - data) : left;
            *ret_used = len + (end != NULL);
            len -= len && data[len - 1] == '\r';
            *ret_line = span_of(data, len);
            return true;
        }
        watch(lines, true);
        if (lines->state != LINES_FILE || !read_piece(lines)) {
            return false;
        }
    }
}

void lines_take(struct lines *lines, size_t used)
{
    lines->at += used;
}

bool lines_over(const struct lines *lines)
{
    return lines->end && lines->input.len == lines->at;
}
