#include "flow/template_text.h"

static bool begins(struct span text, size_t at, const char *with)
{
    size_t len = strlen(with);

    return text.len - at >= len && memcmp(text.data + at, with, len) == 0;
}

static size_t skip_spaces(struct span text, size_t at)
{
    while (at < text.len && text.data[at] == ' ') {
        at++;
    }
    return at;
}

/* Where a default ends: at the first "}}" that is in no string, array or object of it. */
static size_t find_end(struct span text, size_t at)
{
    size_t depth = 0;
    bool quoted = false;

    for (; at < text.len; at++) {
        uint8_t c = text.data[at];
        if (quoted) {
            quoted = c != '"';
            at += c == '\\';
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (depth > 0) {
            depth -= c == '}' || c == ']';
        } else if (begins(text, at, "}}")) {
            return at;
        }
    }
    return SIZE_MAX;
}

static struct span trim_end(const uint8_t *data, size_t len)
{
    while (len > 0 && data[len - 1] == ' ') {
        len--;
    }
    return span_of(data, len);
}

/* Takes the place that *rest begins with. Returns NULL, or what is wrong. */
static const char *take_place(struct span *rest, struct template_piece *ret_piece)
{
    static const char endless[] = "a {{ has no }} (a literal {{ is written {{{{)";
    size_t from = skip_spaces(*rest, 2), at = from;

    while (at < rest->len && rest->data[at] != ' ' && rest->data[at] != '|' &&
           !begins(*rest, at, "}}")) {
        at++;
    }
    *ret_piece =
        (struct template_piece){.is_place = true, .text = span_of(rest->data + from, at - from)};
    at = skip_spaces(*rest, at);
    if (at < rest->len && rest->data[at] == '|') {
        from = skip_spaces(*rest, at + 1);
        at = find_end(*rest, from);
        if (at == SIZE_MAX) {
            return endless;
        }
        ret_piece->has_fallback = true;
        ret_piece->fallback = trim_end(rest->data + from, at - from);
    } else if (at >= rest->len) {
        return endless;
    } else if (!begins(*rest, at, "}}")) {
        return "a place is {{POINTER}} or {{POINTER | VALUE}}";
    }
    *rest = span_of(rest->data + at + 2, rest->len - at - 2);
    return NULL;
}

bool template_next(struct span *rest, struct template_piece *ret_piece, const char **wrong)
{
    size_t len = 0;

    *wrong = NULL;
    if (rest->len == 0) {
        return false;
    }
    if (begins(*rest, 0, "{{{{")) {
        *ret_piece = (struct template_piece){.text = span_of(rest->data, 2)};
        *rest = span_of(rest->data + 4, rest->len - 4);
        return true;
    }
    if (begins(*rest, 0, "{{")) {
        *wrong = take_place(rest, ret_piece);
        return true;
    }
    while (len < rest->len && !begins(*rest, len, "{{")) {
        len++;
    }
    *ret_piece = (struct template_piece){.text = span_of(rest->data, len)};
    *rest = span_of(rest->data + len, rest->len - len);
    return true;
}
