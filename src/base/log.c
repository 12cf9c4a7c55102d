#include "base/log.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};
static const char *const format_names[] = {"logfmt", "json"};

/* Set once at start and at a reload; a line that sees the old value for a moment does no harm. */
static atomic_int current_level = LOG_INFO;
static atomic_int current_format = LOG_LOGFMT;

enum { LINE_MAX_BYTES = 4096 };

struct line {
    char text[LINE_MAX_BYTES];
    size_t len;
};

void log_configure(enum log_level level, enum log_format format)
{
    atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
    atomic_store_explicit(&current_format, (int)format, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&current_level, memory_order_relaxed);
}

static void put(struct line *line, const char *text, size_t len)
{
    size_t room = sizeof(line->text) - 2 - line->len; /* Two for a closing brace and newline. */

    if (len > room) {
        len = room;
    }
    memcpy(line->text + line->len, text, len);
    line->len += len;
}

static void put_str(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

/* Quoted as a JSON string; logfmt readers understand the same. Long values are cut. */
static void put_quoted(struct line *line, const char *text, size_t len)
{
    enum { VALUE_MAX = 512 };
    size_t shown = len < VALUE_MAX ? len : VALUE_MAX;

    put_str(line, "\"");
    for (size_t i = 0; i < shown; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\') {
            char pair[2] = {'\\', (char)c};
            put(line, pair, 2);
        } else if (c < 0x20 || c == 0x7f) {
            char code[8];
            snprintf(code, sizeof(code), "\\u%04x", c);
            put(line, code, 6);
        } else {
            put(line, (const char *)&text[i], 1);
        }
    }
    put_str(line, shown < len ? "…\"" : "\"");
}

static bool is_plain(const char *text, size_t len)
{
    if (len == 0 || len > 200) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\') {
            return false;
        }
    }
    return true;
}

static void put_value(struct line *line, const struct log_field *field, bool json)
{
    char number[40];

    switch (field->type) {
    case LOG_FIELD_STR:
        if (!json && is_plain(field->str.text, field->str.len)) {
            put(line, field->str.text, field->str.len);
        } else {
            put_quoted(line, field->str.text ? field->str.text : "", field->str.len);
        }
        return;
    case LOG_FIELD_INT:
        snprintf(number, sizeof(number), "%lld", (long long)field->i);
        break;
    case LOG_FIELD_UINT:
        snprintf(number, sizeof(number), "%llu", (unsigned long long)field->u);
        break;
    case LOG_FIELD_NUM:
        snprintf(number, sizeof(number), "%.3f", field->num);
        break;
    case LOG_FIELD_HEX:
        snprintf(number, sizeof(number), json ? "\"%llx\"" : "%llx", (unsigned long long)field->u);
        break;
    }
    put_str(line, number);
}

static void put_field(struct line *line, const struct log_field *field, bool json)
{
    put_str(line, json ? ",\"" : " ");
    put_str(line, field->name);
    put_str(line, json ? "\":" : "=");
    put_value(line, field, json);
}

void log_write(
    enum log_level level, const char *ev, const struct log_field *fields, size_t field_count)
{
    bool json = atomic_load_explicit(&current_format, memory_order_relaxed) == LOG_JSON;
    struct line line = {.len = 0};
    struct timespec now;
    struct tm utc;
    char stamp[48];

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t n = strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(stamp + n, sizeof(stamp) - n, ".%03ldZ", now.tv_nsec / 1000000);

    struct log_field head[] = {LOG_S("ts", stamp), LOG_S("ev", ev)};
    put_str(&line, json ? "{\"level\":\"" : "level=");
    put_str(&line, level_names[level]);
    put_str(&line, json ? "\"" : "");
    for (size_t i = 0; i < 2; i++) {
        put_field(&line, &head[i], json);
    }
    for (size_t i = 0; i < field_count; i++) {
        put_field(&line, &fields[i], json);
    }
    if (json) {
        line.text[line.len++] = '}';
    }
    line.text[line.len++] = '\n';
    if (write(STDERR_FILENO, line.text, line.len) < 0) {
        return; /* Nowhere left to complain. */
    }
}

bool log_allow(struct log_limit *limit, uint64_t now_ms, uint64_t interval_ms, uint64_t *ret_held)
{
    if (now_ms < limit->next_ms) {
        limit->held_count += 1;
        return false;
    }
    *ret_held = limit->held_count;
    limit->held_count = 0;
    limit->next_ms = now_ms + interval_ms;
    return true;
}

bool log_allow_burst(struct log_burst *limit, uint64_t now_ms, uint64_t interval_ms, uint32_t burst)
{
    if (now_ms >= limit->end_ms && limit->held_count == 0) {
        limit->end_ms = now_ms + interval_ms;
        limit->lines = 0;
    }
    if (limit->lines < burst) {
        limit->lines += 1;
        return true;
    }
    limit->held_count += 1;
    return false;
}

uint64_t log_burst_over(struct log_burst *limit, uint64_t now_ms)
{
    uint64_t held = now_ms >= limit->end_ms ? limit->held_count : 0;

    limit->held_count -= held;
    return held;
}

static int find_name(const char *const *names, int count, const char *name)
{
    for (int i = 0; i < count; i++) {
        if (strcasecmp(names[i], name) == 0) {
            return i;
        }
    }
    return -1;
}

int log_level_parse(const char *name)
{
    return find_name(level_names, 5, name);
}

int log_format_parse(const char *name)
{
    return find_name(format_names, 2, name);
}
