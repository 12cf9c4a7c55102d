#include "role/sub_print.h"

#include <string.h>
#include <time.h>

#include "base/base64.h"
#include "base/check.h"
#include "base/json.h"
#include "role/term.h"

#define DIM "\033[2m"
#define KEY "\033[34m"
#define TEXT "\033[32m"
#define NUMBER "\033[36m"
#define WORD "\033[35m"
#define NAME "\033[1m"
#define WARN "\033[33m"
#define OFF "\033[0m"

static void put(struct bytes *out, const char *text)
{
    CHECK(bytes_append_str(out, text) == 0);
}

static void put_span(struct bytes *out, struct span text)
{
    CHECK(bytes_append(out, text.data, text.len) == 0);
}

struct sub_item sub_item_read(struct span frame)
{
    enum { CHANNEL, CURSOR, DATA, ENC, STATE, GAP, KEYS };
    const struct span keys[KEYS] = {span_str("channel"), span_str("cursor"), span_str("data"),
        span_str("enc"), span_str("state"), span_str("gap")};
    struct span values[KEYS];
    struct sub_item item = {.kind = SUB_EVENT, .whole = frame};

    if (json_find_members(frame.data, frame.len, keys, KEYS, values)) {
        item.raw = true;
        item.data = frame;
        return item;
    }
    item.channel = values[CHANNEL];
    item.cursor = values[CURSOR];
    item.data = values[DATA];
    item.enc = values[ENC];
    item.state = values[STATE];
    item.gap = values[GAP];
    if (item.gap.data) {
        item.kind = SUB_GAP;
    } else if (item.state.data && !item.data.data) {
        item.kind = SUB_STATE;
    } else if (!item.data.data) {
        item.data = frame;
    }
    return item;
}

/* The end of the JSON string that starts at text[at]: the index behind its closing quote. */
static size_t string_end(struct span text, size_t at)
{
    for (at++; at < text.len && text.data[at] != '"'; at++) {
        at += text.data[at] == '\\';
    }
    return at < text.len ? at + 1 : text.len;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

void sub_items(struct span frame, sub_item_fn *fn, void *ctx)
{
    size_t at = 0, start, depth = 0;

    while (at < frame.len && is_space(frame.data[at])) {
        at++;
    }
    if (at == frame.len || frame.data[at] != '[' || !json_valid(frame.data, frame.len)) {
        struct sub_item item = sub_item_read(frame);
        fn(ctx, &item);
        return;
    }
    for (start = ++at; at < frame.len;) {
        uint8_t c = frame.data[at];
        if (c == '"') {
            at = string_end(frame, at);
            continue;
        }
        depth += c == '{' || c == '[';
        if ((c == ',' || c == ']') && depth == 0) {
            while (start < at && is_space(frame.data[start])) {
                start++;
            }
            if (at > start) {
                struct sub_item item = sub_item_read(span_of(frame.data + start, at - start));
                fn(ctx, &item);
            }
            start = at + 1;
        }
        depth -= (c == '}' || c == ']') && depth;
        at++;
    }
}

static void put_string(struct bytes *out, struct span raw, bool is_key, bool colour)
{
    if (colour) {
        put(out, is_key ? KEY : TEXT);
    }
    /* JSON escapes C0 controls; DEL and C1 remain for the terminal's sake. */
    term_append_safe(out, raw.data, raw.len);
    if (colour) {
        put(out, OFF);
    }
}

void sub_print_value(struct bytes *out, struct span json, bool colour)
{
    size_t at = 0;

    while (at < json.len) {
        uint8_t c = json.data[at];
        if (c == '"') {
            size_t end = string_end(json, at), next = end;
            while (next < json.len && is_space(json.data[next])) {
                next++;
            }
            bool is_key = next < json.len && json.data[next] == ':';
            put_string(out, span_of(json.data + at, end - at), is_key, colour);
            at = end;
        } else if (is_space(c) || memchr(":,{}[]", c, 6)) {
            term_append_safe(out, &c, 1);
            at++;
        } else {
            size_t start = at;
            while (at < json.len && !is_space(json.data[at]) && json.data[at] != ',' &&
                   json.data[at] != '}' && json.data[at] != ']') {
                at++;
            }
            if (colour) {
                put(out, c == '-' || (c >= '0' && c <= '9') ? NUMBER : WORD);
            }
            term_append_safe(out, json.data + start, at - start);
            if (colour) {
                put(out, OFF);
            }
        }
    }
}

/* The text of a raw JSON string, made safe; a raw item's channel is text already. */
static void put_plain(struct bytes *out, struct span raw, bool is_text)
{
    struct bytes text = {0};

    if (!is_text && json_string_decode(raw, &text) == 0) {
        term_append_safe(out, text.data, text.len);
    } else {
        term_append_safe(out, raw.data, raw.len);
    }
    bytes_fini(&text);
}

static void put_data(struct bytes *out, const struct sub_item *item, bool colour)
{
    if (item->enc.data) {
        /* Text that is no JSON, or base64: shown as it is, without quotes. */
        put_plain(out, item->data, false);
    } else if (json_valid(item->data.data, item->data.len)) {
        sub_print_value(out, item->data, colour);
    } else {
        term_append_safe(out, item->data.data, item->data.len);
    }
}

void sub_print_human(struct bytes *out, const struct sub_item *item, uint64_t wall_ns, bool colour)
{
    time_t seconds = (time_t)(wall_ns / 1000000000u);
    struct tm local;
    char clock[16];
    const char *dim = colour ? DIM : "", *off = colour ? OFF : "";

    localtime_r(&seconds, &local);
    strftime(clock, sizeof clock, "%H:%M:%S", &local);
    CHECK(bytes_appendf(
              out, "%s%s.%03u%s  ", dim, clock, (unsigned)(wall_ns / 1000000u % 1000u), off) == 0);
    if (item->channel.data) {
        put(out, colour ? NAME : "");
        put_plain(out, item->channel, item->raw);
        put(out, off);
        put(out, "  ");
    }
    if (item->cursor.data) {
        put(out, dim);
        put_plain(out, item->cursor, false);
        put(out, off);
        put(out, "  ");
    }
    switch (item->kind) {
    case SUB_EVENT:
        put_data(out, item, colour);
        break;
    case SUB_STATE:
        put(out, colour ? WARN "state " : "state ");
        put_plain(out, item->state, false);
        put(out, off);
        break;
    case SUB_GAP:
        put(out, colour ? WARN "gap " : "gap ");
        put(out, off);
        sub_print_value(out, item->gap, colour);
        break;
    }
    put(out, "\n");
}

/* Copies JSON as it is but for line ends between values: it stays on one line. */
static void put_line(struct bytes *out, struct span json)
{
    for (size_t at = 0; at < json.len;) {
        if (json.data[at] == '"') {
            size_t end = string_end(json, at);
            put_span(out, span_of(json.data + at, end - at));
            at = end;
        } else {
            if (json.data[at] != '\n' && json.data[at] != '\r') {
                CHECK(bytes_append_byte(out, json.data[at]) == 0);
            }
            at++;
        }
    }
}

void sub_print_json(struct bytes *out, const struct sub_item *item)
{
    if (!item->raw) {
        put_line(out, item->whole);
        put(out, "\n");
        return;
    }
    put(out, "{\"channel\":");
    if (!item->channel.data || json_append_string(out, item->channel.data, item->channel.len)) {
        put(out, "null");
    }
    put(out, ",\"cursor\":null,\"data\":");
    if (json_valid(item->data.data, item->data.len)) {
        put_line(out, item->data);
        put(out, "}\n");
        return;
    }
    if (json_append_string(out, item->data.data, item->data.len) == 0) {
        put(out, ",\"enc\":\"text\"}\n");
        return;
    }
    put(out, "\"");
    CHECK(base64_encode(out, item->data.data, item->data.len) == 0);
    put(out, "\",\"enc\":\"base64\"}\n");
}
