/* Bench result: everything a run found out, and what follows from it. The text, JSON and HTML
 * reports are three views of this. */
#ifndef ROLE_BENCH_RESULT_H
#define ROLE_BENCH_RESULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "role/bench_plan.h"
#include "role/bench_probe.h"
#include "role/bench_send.h"
#include "role/bench_stat.h"

enum {
    BENCH_SAMPLES_MAX = 2000,
    BENCH_NOTES_MAX = 12,
    BENCH_NOTE_BYTES = 240,
    BENCH_MEMORY_NOISE_BYTES = 64 * 1024, /* What a process that does nothing may gain. */
};

/* The server, sampled while the window ran. */
struct bench_sample {
    double at;    /* Seconds from the window's start. */
    double cores; /* Processors used since the sample before. */
    uint64_t rss_bytes;
};

struct bench_result {
    const struct bench_plan *plan;
    char *command;      /* The command line, quoted for a shell. */
    uint64_t started_s; /* Unix time. */
    struct bench_host host;
    bool interrupted;

    /* Connecting. */
    uint64_t attempts;
    double connect_s;
    struct bench_usage before, connected;

    /* idle-memory. */
    double held_s;
    struct bench_usage held;

    /* The measured window. */
    double window_s;
    struct bench_usage window_start, window_end; /* The end is after the drain. */
    uint64_t generator_cpu_ns;                   /* Of all load threads, window and drain. */
    double measured_s;                           /* Window and drain. */
    struct bench_lane *load;                     /* Sum of all lanes. */
    const struct bench_send_totals *send;        /* NULL: nothing was published. */
    uint64_t bin_ns;
    uint32_t bin_count;
    size_t sample_count;
    struct bench_sample samples[BENCH_SAMPLES_MAX];

    /* Worked out by bench_result_judge(). */
    double deliveries_per_s;       /* To the last delivery, drain included. */
    double deliveries_in_window_s; /* Arrived before the window's end. */
    double handshakes_per_s;
    double us_per_delivery; /* Server CPU; 0 without --pid. */
    double us_per_handshake;
    double server_cores;                           /* Mean over window and drain. */
    double rss_per_connection, pss_per_connection; /* Bytes; 0: the growth is within the noise. */
    double generator_share;                        /* Of the time of all its load threads, 0..1. */
    uint64_t lost;
    double lost_share;
    size_t note_count;
    char notes[BENCH_NOTES_MAX][BENCH_NOTE_BYTES]; /* What a reader must know to trust it. */
    bool failed;
};

/* Works out the derived figures, the notes and the verdict. */
void bench_result_judge(struct bench_result *result);

/* The report for people. */
void bench_report_text(const struct bench_result *result, FILE *out, bool colour);

/* Appends the report as one JSON object. Returns 0 or -ENOMEM. */
MUST_USE int bench_report_json(const struct bench_result *result, bool pretty, struct bytes *out);

/* Appends the report as one HTML page that needs nothing else. Returns 0 or -ENOMEM. */
MUST_USE int bench_report_html(const struct bench_result *result, struct bytes *out);

/* Makes JSON safe inside a script element: '<' becomes \u003c, and so no text can end it. Returns 0
 * or -ENOMEM. */
MUST_USE int bench_html_script(struct bytes *out, struct span json);

/* Escapes text for HTML. Returns 0 or -ENOMEM. */
MUST_USE int bench_html_text(struct bytes *out, const char *text);

/* Quotes one word for a POSIX shell when it needs it. Returns 0 or -ENOMEM. */
MUST_USE int bench_shell_word(struct bytes *out, const char *word);

/* One line on what was done: "1,000 clients in 1 room, 100 msg/s of 128 B over http, 10 s". */
void bench_describe(const struct bench_plan *plan, char *out, size_t cap);

#endif
