/* Term: what the tools need to know about a terminal. */
#ifndef ROLE_TERM_H
#define ROLE_TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/bytes.h"

/* Does the stream go to a terminal that shows colours (NO_COLOR unset, TERM not dumb)? */
bool term_colour(FILE *stream);

/* Columns of the terminal behind stream; 0 when it is none. */
uint32_t term_columns(FILE *stream);

/* A line that is written over again and again on a terminal, and now and then elsewhere. */
struct term_progress {
    FILE *stream;
    bool quiet;
    bool shown;       /* Something stands on the line. */
    uint64_t next_ms; /* Not before. */
};

/* May a new text be shown at now_ms? Four times a second on a terminal, else once. */
bool term_progress_due(struct term_progress *progress, uint64_t now_ms);
void term_progress_show(struct term_progress *progress, const char *text);

/* Clears the line, so that something else can be printed. */
void term_progress_end(struct term_progress *progress);

/* Appends a peer's bytes so that they stay on one line and cannot steer the terminal: control bytes
 * become \n, \t or \xNN, broken UTF-8 becomes \xNN. */
void term_append_safe(struct bytes *out, const void *data, size_t len);

/* Writes 1234567 as "1,234,567". */
const char *term_count(uint64_t value, char out[32]);

/* Writes nanoseconds as "850 µs", "1.23 ms", "4.56 s". */
const char *term_time(uint64_t ns, char out[32]);

/* Writes bytes as "512 B", "24.1 MiB". */
const char *term_size(double bytes, char out[32]);

#endif
