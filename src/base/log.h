/* Log: one event a line on stderr, as logfmt or JSON.
 *
 *   level=warn ts=2026-11-21T09:30:00.123Z ev=conn.slow conn=9f2c queued_bytes=1048576
 *
 * Values are quoted and escaped, so nothing a peer sends can forge a line. Each line is one
 * write(2); any thread may log. Libraries (base, proto, core, store) do not log at all.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };
enum log_format { LOG_LOGFMT, LOG_JSON };

struct log_field {
    const char *name;
    enum { LOG_FIELD_STR, LOG_FIELD_INT, LOG_FIELD_UINT, LOG_FIELD_NUM, LOG_FIELD_HEX } type;
    union {
        struct {
            const char *text;
            size_t len;
        } str;
        int64_t i;
        uint64_t u;
        double num;
    };
};

/* A NUL-terminated string; NULL shows as "". */
static inline struct log_field log_str(const char *name, const char *text)
{
    return (struct log_field){name, LOG_FIELD_STR, .str = {text, text ? strlen(text) : 0}};
}

#define LOG_S(n, v) log_str(n, v)
#define LOG_N(n, v, l) ((struct log_field){n, LOG_FIELD_STR, .str = {(const char *)(v), (l)}})
#define LOG_I(n, v) ((struct log_field){n, LOG_FIELD_INT, .i = (v)})
#define LOG_U(n, v) ((struct log_field){n, LOG_FIELD_UINT, .u = (v)})
#define LOG_F(n, v) ((struct log_field){n, LOG_FIELD_NUM, .num = (v)})
#define LOG_X(n, v) ((struct log_field){n, LOG_FIELD_HEX, .u = (v)})

/* Process-wide; call before threads start, or again at a reload. */
void log_configure(enum log_level level, enum log_format format);
bool log_enabled(enum log_level level);

/* Writes one line; fields are borrowed. Prefer LOG(). */
void log_write(
    enum log_level level, const char *ev, const struct log_field *fields, size_t field_count);

#define LOG(level, ev, ...)                                                                        \
    do {                                                                                           \
        if (log_enabled(level)) {                                                                  \
            const struct log_field log_fields_[] = {{0}, ##__VA_ARGS__};                           \
            log_write(level, ev, log_fields_ + 1, sizeof log_fields_ / sizeof *log_fields_ - 1);   \
        }                                                                                          \
    } while (0)

/* Sums up repeats: at most one line an interval, the next one says how many were held back.
 * Lives in whatever repeats itself (a link, a shard); one thread. */
struct log_limit {
    uint64_t next_ms; /* No line before this time. */
    uint64_t held_count;
};

/* May a line be written at now_ms? *ret_held is how many were held back since the last one. */
bool log_allow(struct log_limit *limit, uint64_t now_ms, uint64_t interval_ms, uint64_t *ret_held);

/* The same for many subjects that each deserve a line: up to `burst` lines an interval, and the rest
 * of that interval is told as a number. */
struct log_burst {
    uint64_t end_ms; /* Of the interval under way. */
    uint32_t lines;  /* Written in it. */
    uint64_t held_count;
};

/* May a line be written at now_ms? A new interval begins only after log_burst_over() told of what the
 * last one held back. */
bool log_allow_burst(
    struct log_burst *limit, uint64_t now_ms, uint64_t interval_ms, uint32_t burst);

/* How many lines the interval that is over by now held back; 0 while it lasts. To be asked now and then,
 * and each answer is given once. */
uint64_t log_burst_over(struct log_burst *limit, uint64_t now_ms);

/* Names as used in options; -1 when unknown. */
int log_level_parse(const char *name);
int log_format_parse(const char *name);

#endif
