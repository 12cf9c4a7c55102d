#include "flow/why.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/utf8.h"

struct why_quote why_quote(struct span text)
{
    static const char more[] = "…";
    struct why_quote quote;
    size_t len = 0, at = 0;

    while (at < text.len) {
        size_t step = utf8_char_len(text.data + at, text.len - at);
        size_t put = step ? step : 1;
        if (len + put + sizeof(more) > sizeof(quote.text)) {
            memcpy(quote.text + len, more, sizeof(more));
            return quote;
        }
        if (step == 0 || text.data[at] < 0x20 || text.data[at] == 0x7f) {
            quote.text[len] = '?';
        } else {
            memcpy(quote.text + len, text.data + at, step);
        }
        len += put;
        at += put;
    }
    quote.text[len] = 0;
    return quote;
}

void why_say(char *why, size_t cap, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int len = vsnprintf(why, cap, format, args);
    va_end(args);
    if (len < 0 || (size_t)len < cap) {
        return;
    }
    size_t at = 0, step;
    while ((step = utf8_char_len((uint8_t *)why + at, cap - 1 - at)) > 0) {
        at += step;
    }
    why[at] = 0;
}
