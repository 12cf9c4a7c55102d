/* Lines of stdin as messages, as fast as they are wanted: what nobody has asked for waits in the pipe. */
#ifndef ROLE_LINES_H
#define ROLE_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"

struct loop;

struct lines {
    struct loop *loop;
    uint8_t kind; /* Of the loop's events for stdin. */
    struct bytes input;
    size_t at; /* Bytes of input already taken. */
    bool end;
    enum {
        LINES_FILE,    /* Can always be read. */
        LINES_WATCHED, /* A pipe or a terminal: the loop tells when there is more. */
        LINES_PAUSED,  /* Enough lines are waiting. */
    } state;
};

/* Begins to watch stdin. */
void lines_open(struct lines *lines, struct loop *loop, uint8_t kind);
void lines_fini(struct lines *lines);

/* The loop told of stdin: reads a piece. Then lines_settle(), when it has been looked for lines. */
void lines_read(struct lines *lines);
void lines_settle(struct lines *lines);

/* The next line, without its end; an empty one, too; valid until the next call here. *ret_used is for
 * lines_take(). False when there is none now. */
MUST_USE bool lines_next(struct lines *lines, struct span *ret_line, size_t *ret_used);
void lines_take(struct lines *lines, size_t used);

/* Nothing more will come. */
bool lines_over(const struct lines *lines);

#endif
