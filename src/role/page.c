#include "role/page.h"

#include <string.h>

#include "base/attr.h"
#include "proto/http1_write.h"

/* The page brings all it needs: nothing is loaded from elsewhere, nothing runs that is not in
 * app.js, and no other page may frame it. 'self' covers the WebSocket to where it came from. */
static const char policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static const struct page_file *find(struct span path)
{
    const struct page_file *file = page_files;

    if (span_equal(path, span_str("/favicon.ico"))) {
        path = span_str("/icon.svg"); /* What browsers ask for unasked. */
    }
    while (file->path && !span_equal(path, span_str(file->path))) {
        file += 1;
    }
    return file->path ? file : NULL;
}

static struct span trim(struct span text)
{
    while (text.len && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text = span_of(text.data + 1, text.len - 1);
    }
    while (text.len && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t')) {
        text.len -= 1;
    }
    return text;
}

/* If-None-Match: "*", or a list of tags; the weak comparison of RFC 9110, 13.1.2. Our tags hold no
 * comma, so a comma inside one of the list can only make it differ. */
static bool names_tag(struct span list, struct span etag)
{
    while (list.len) {
        const uint8_t *comma = memchr(list.data, ',', list.len);
        size_t len = comma ? (size_t)(comma - list.data) : list.len;
        struct span tag = trim(span_of(list.data, len));
        if (tag.len > 2 && memcmp(tag.data, "W/", 2) == 0) {
            tag = span_of(tag.data + 2, tag.len - 2);
        }
        if (span_equal(tag, etag) || span_equal(tag, span_str("*"))) {
            return true;
        }
        len += comma ? 1 : 0;
        list = span_of(list.data + len, list.len - len);
    }
    return false;
}

void page_handler(struct http_exchange *x)
{
    const struct page_file *file = find(x->request->path);

    if (!file) {
        http_reply_error(x, 404, "not_found", "there is no such page");
        return;
    }
    const struct http_header headers[] = {
        http_header_of("ETag", file->etag),
        http_header_of("Cache-Control", "no-cache"), /* Kept, but asked for again: see ETag. */
        http_header_of("Content-Security-Policy", policy),
        http_header_of("X-Content-Type-Options", "nosniff"),
        http_header_of("Referrer-Policy", "no-referrer"),
    };
    if (names_tag(http_request_header(x->request, "If-None-Match"), span_str(file->etag))) {
        http_reply_with(x, 304, NULL, headers, COUNT_OF(headers), NULL, 0);
        return;
    }
    http_reply_with(x, 200, file->content_type, headers, COUNT_OF(headers), file->data, file->len);
}
