#include "proto/http1_write.h"

#include <errno.h>

const char *http_status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } known[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };

    for (size_t i = 0; i < COUNT_OF(known); i++) {
        if (known[i].status == status) {
            return known[i].text;
        }
    }
    return "Unknown";
}

static bool value_ok(struct span value)
{
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = value.data[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return false;
        }
    }
    return true;
}

static int append_header(struct bytes *out, struct http_header header)
{
    if (!http_is_token(header.name) || !value_ok(header.value)) {
        return -EINVAL;
    }
    int err = bytes_reserve(out, header.name.len + header.value.len + 4);
    if (!err) {
        err = bytes_append(out, header.name.data, header.name.len);
    }
    if (!err) {
        err = bytes_append(out, ": ", 2);
    }
    if (!err) {
        err = bytes_append(out, header.value.data, header.value.len);
    }
    return err ? err : bytes_append(out, "\r\n", 2);
}

/* Everything behind the start line, whose own result comes in as err. */
static int append_fields(struct bytes *out, size_t before, int err,
    const struct http_header *headers, size_t header_count, uint64_t content_length)
{
    for (size_t i = 0; !err && i < header_count; i++) {
        err = append_header(out, headers[i]);
    }
    if (!err && content_length != HTTP_NO_LENGTH) {
        err = bytes_appendf(out, "Content-Length: %llu\r\n", (unsigned long long)content_length);
    }
    if (!err) {
        err = bytes_append(out, "\r\n", 2);
    }
    if (err) {
        out->len = before;
    }
    return err;
}

int http_reply_head(struct bytes *out, int status, const struct http_header *headers,
    size_t header_count, uint64_t content_length)
{
    size_t before = out->len;

    if (status < 100 || status > 599) {
        return -EINVAL;
    }
    int err = bytes_appendf(out, "HTTP/1.1 %d %s\r\n", status, http_status_text(status));
    return append_fields(out, before, err, headers, header_count, content_length);
}

int http_request_head(struct bytes *out, const char *method, struct span target,
    const struct http_header *headers, size_t header_count, uint64_t content_length)
{
    size_t before = out->len;

    if (!http_is_token(span_str(method)) || target.len == 0) {
        return -EINVAL;
    }
    for (size_t i = 0; i < target.len; i++) {
        if (target.data[i] <= ' ' || target.data[i] >= 0x7f) {
            return -EINVAL;
        }
    }
    int err = bytes_appendf(out, "%s ", method);
    if (!err) {
        err = bytes_append(out, target.data, target.len);
    }
    if (!err) {
        err = bytes_append_str(out, " HTTP/1.1\r\n");
    }
    return append_fields(out, before, err, headers, header_count, content_length);
}
