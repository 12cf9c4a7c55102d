#include <errno.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "flow/run_own.h"

/* U+FFFD, for a byte that belongs to no character, and for NUL. */
static const uint8_t replacement[] = {0xef, 0xbf, 0xbd};

int text_append_clean(struct bytes *out, struct span text, size_t max)
{
    size_t left = max;

    for (size_t at = 0; at < text.len;) {
        size_t len = utf8_char_len(text.data + at, text.len - at);
        bool good = len > 0 && text.data[at] != 0;
        const uint8_t *put = good ? text.data + at : replacement;
        size_t put_len = good ? len : sizeof(replacement);

        if (put_len > left) {
            break;
        }
        if (bytes_append(out, put, put_len)) {
            return -ENOMEM;
        }
        left -= put_len;
        at += good ? len : 1;
    }
    return 0;
}

char *text_clean(struct span text, size_t max)
{
    struct bytes out = {0};

    if (text_append_clean(&out, text, max) || bytes_append_byte(&out, 0)) {
        bytes_fini(&out);
        return NULL;
    }
    return (char *)out.data; /* bytes grow by mem_try_realloc(), so mem_free() is right. */
}

int text_append_json(struct bytes *out, struct span text, size_t max)
{
    struct bytes clean = {0};
    int err = text_append_clean(&clean, text, max);

    if (!err) {
        err = json_append_string(out, clean.data, clean.len);
    }
    bytes_fini(&clean);
    return err;
}

void put_digits(struct run_writer *w, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    if (!w->err) {
        w->err = bytes_append(w->out, digits + at, sizeof(digits) - at);
    }
}

static void put_name(struct run_writer *w, const char *name)
{
    put_raw(w, ",\"");
    put_raw(w, name);
    put_raw(w, "\":");
}

void put_number(struct run_writer *w, const char *name, uint64_t value)
{
    put_name(w, name);
    put_digits(w, value);
}

void put_text(struct run_writer *w, const char *name, const char *text)
{
    put_name(w, name);
    if (!w->err) {
        w->err = json_append_string(w->out, text, strlen(text));
    }
}

void put_clean(struct run_writer *w, const char *name, struct span text, size_t max)
{
    put_name(w, name);
    if (!w->err) {
        w->err = text_append_json(w->out, text, max);
    }
}
