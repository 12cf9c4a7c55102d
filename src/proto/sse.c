#include "proto/sse.h"

#include <string.h>

static size_t line_length(struct span text)
{
    size_t len = 0;

    while (len < text.len && text.data[len] != '\n' && text.data[len] != '\r') {
        len += 1;
    }
    return len;
}

int sse_append_data(struct bytes *out, struct span text)
{
    for (;;) {
        size_t len = line_length(text);
        int err = bytes_append_str(out, "data: ");
        err = err || len == 0 ? err : bytes_append(out, text.data, len);
        err = err ? err : bytes_append_byte(out, '\n');
        if (err || len == text.len) {
            return err;
        }
        size_t end = text.data[len] == '\r' && len + 1 < text.len && text.data[len + 1] == '\n';
        text = span_of(text.data + len + 1 + end, text.len - len - 1 - end);
    }
}

/* Inside strings JSON has no raw line ends, so they are white space wherever they stand. */
void sse_flatten_json(struct bytes *out, size_t start)
{
    uint8_t *at = out->data + start, *end = out->data + out->len;

    if (!memchr(at, '\n', (size_t)(end - at)) && !memchr(at, '\r', (size_t)(end - at))) {
        return;
    }
    for (; at < end; at++) {
        *at = *at == '\n' || *at == '\r' ? ' ' : *at;
    }
}

int sse_append_json(struct bytes *out, struct span json)
{
    int err = bytes_append_str(out, "data: ");
    size_t start = out->len;

    err = err ? err : bytes_append(out, json.data, json.len);
    if (err) {
        return err;
    }
    sse_flatten_json(out, start);
    return bytes_append_byte(out, '\n');
}
