#include "role/page.h"

#include <string.h>

#include "base/attr.h"
#include "proto/http1_write.h"

/* The page brings all it needs: nothing is loaded from elsewhere, nothing runs that is not a file
 * of its own, and no other page may frame it. 'self' covers the WebSocket to where it came from. */
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

/* Takes the next member of a comma list; false at its end. Neither our tags nor codings hold a
 * comma, so one inside a quoted tag of somebody else can only make it differ. */
static bool next_member(struct span *list, struct span *member)
{
    if (list->len == 0) {
        return false;
    }
    const uint8_t *comma = memchr(list->data, ',', list->len);
    size_t len = comma ? (size_t)(comma - list->data) : list->len;
    *member = trim(span_of(list->data, len));
    len += comma ? 1 : 0;
    *list = span_of(list->data + len, list->len - len);
    return true;
}

/* If-None-Match: "*", or a list of tags; the weak comparison of RFC 9110, 13.1.2. */
static bool names_tag(struct span list, struct span etag)
{
    struct span tag;

    while (next_member(&list, &tag)) {
        if (tag.len > 2 && memcmp(tag.data, "W/", 2) == 0) {
            tag = span_of(tag.data + 2, tag.len - 2);
        }
        if (span_equal(tag, etag) || span_equal(tag, span_str("*"))) {
            return true;
        }
    }
    return false;
}

/* A weight of RFC 9110, 12.4.2, behind the ';': is it one of zero? */
static bool weighs_nothing(struct span weight)
{
    weight = trim(weight);
    if (weight.len < 3 || (weight.data[0] | 0x20) != 'q' || weight.data[1] != '=') {
        return false;
    }
    for (size_t i = 2; i < weight.len; i++) {
        if (weight.data[i] != '0' && weight.data[i] != '.') {
            return false;
        }
    }
    return true;
}

/* Accept-Encoding: may it come as gzip? Silence and "*" leave it as it is, which always is right. */
static bool takes_gzip(struct span list)
{
    struct span coding;

    while (next_member(&list, &coding)) {
        const uint8_t *semicolon = memchr(coding.data, ';', coding.len);
        size_t len = semicolon ? (size_t)(semicolon - coding.data) : coding.len;
        if (span_equal_nocase(trim(span_of(coding.data, len)), span_str("gzip"))) {
            return !semicolon || !weighs_nothing(span_of(semicolon + 1, coding.len - len - 1));
        }
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
    bool gz = file->gz && takes_gzip(http_request_header(x->request, "Accept-Encoding"));
    const char *etag = gz ? file->etag_gz : file->etag;
    const struct http_header headers[] = {
        http_header_of("ETag", etag),
        /* no-cache: kept, but asked for again, see ETag. */
        http_header_of(
            "Cache-Control", file->immutable ? "public, max-age=31536000, immutable" : "no-cache"),
        http_header_of("Vary", "Accept-Encoding"),
        http_header_of("Content-Security-Policy", policy),
        http_header_of("X-Content-Type-Options", "nosniff"),
        http_header_of("Referrer-Policy", "no-referrer"),
        http_header_of("Content-Encoding", "gzip"), /* The last, left out where it is not. */
    };
    size_t count = COUNT_OF(headers) - (gz ? 0 : 1);
    if (names_tag(http_request_header(x->request, "If-None-Match"), span_str(etag))) {
        /* Without Content-Encoding: there is no content. */
        http_reply_with(x, 304, NULL, headers, COUNT_OF(headers) - 1, NULL, 0);
        return;
    }
    http_reply_with(x, 200, file->content_type, headers, count, gz ? file->gz : file->data,
        gz ? file->gz_len : file->len);
}
