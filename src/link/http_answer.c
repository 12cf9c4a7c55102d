#include "link/http_answer.h"

#include <errno.h>
#include <string.h>

#include "link/http_client.h"

struct place {
    uint32_t name_at, name_len, value_len; /* The value follows its name. */
};

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

static struct span trim(struct span text)
{
    while (text.len && is_blank(text.data[text.len - 1])) {
        text.len -= 1;
    }
    while (text.len && is_blank(text.data[0])) {
        text = span_of(text.data + 1, text.len - 1);
    }
    return text;
}

/* A length that is none is curl's to judge. */
static uint64_t read_length(struct span value)
{
    uint64_t length = 0;

    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9' || length > UINT64_MAX / 10 - 1) {
            return UINT64_MAX;
        }
        length = length * 10 + (uint64_t)(value.data[i] - '0');
    }
    return value.len ? length : UINT64_MAX;
}

static int keep(struct http_answer *answer, struct span name, struct span value)
{
    struct place place = {(uint32_t)answer->text.len, (uint32_t)name.len, (uint32_t)value.len};
    int err = bytes_append(&answer->text, name.data, name.len);

    for (size_t i = 0; !err && i < name.len; i++) {
        uint8_t *byte = &answer->text.data[place.name_at + i];
        *byte = *byte >= 'A' && *byte <= 'Z' ? (uint8_t)(*byte + 32) : *byte;
    }
    err = err ? err : bytes_append(&answer->text, value.data, value.len);
    return err ? err : bytes_append(&answer->places, &place, sizeof(place));
}

static int take_line(struct http_answer *answer, struct span line)
{
    const uint8_t *colon = memchr(line.data, ':', line.len);
    struct span name = trim(span_of(line.data, colon ? (size_t)(colon - line.data) : 0));
    long status = 0;

    if (trim(line).len == 0) {
        curl_easy_getinfo(answer->easy, CURLINFO_RESPONSE_CODE, &status);
        answer->begun = status >= 200;
        bool bodiless = answer->head || status == 204 || status == 304;
        return answer->begun && !bodiless && answer->length != UINT64_MAX &&
                       answer->length > answer->body_max
                   ? -EMSGSIZE
                   : 0;
    }
    /* Another head: what came before was an interim one. */
    if (line.len > 5 && memcmp(line.data, "HTTP/", 5) == 0) {
        answer->text.len = answer->places.len = 0;
        answer->length = UINT64_MAX;
        return 0;
    }
    /* Neither the rest of a folded header nor a line without a name is worth a failure. */
    if (name.len == 0 || is_blank(line.data[0])) {
        return 0;
    }
    struct span value = trim(span_of(colon + 1, line.len - (size_t)(colon + 1 - line.data)));
    if (span_equal_nocase(name, span_str("content-length"))) {
        answer->length = read_length(value);
    }
    return keep(answer, name, value);
}

/* Both for curl: another number than that of the bytes ends the transfer. */
static size_t on_header(char *data, size_t size, size_t count, void *ctx)
{
    struct http_answer *answer = ctx;
    size_t len = size * count;

    answer->line_count += 1;
    answer->line_bytes += len;
    /* A blank line and a status line go with each head, interim ones too: they count as headers. */
    if (answer->line_count > HTTP_CLIENT_HEADERS_MAX + 2 ||
        answer->line_bytes > HTTP_CLIENT_HEADER_BYTES_MAX) {
        answer->err = -E2BIG;
    } else if (!answer->begun) {
        answer->err = take_line(answer, span_of(data, len));
    }
    return answer->err ? 0 : len;
}

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
    struct http_answer *answer = ctx;
    size_t len = size * count;

    answer->err = len > answer->body_max - answer->body.len
                      ? -EMSGSIZE
                      : bytes_append(&answer->body, data, len);
    return answer->err ? 0 : len;
}

CURLcode http_answer_apply(struct http_answer *answer, CURL *easy)
{
    answer->easy = easy;
    answer->length = UINT64_MAX;
    CURLcode code = curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    code = code ? code : curl_easy_setopt(easy, CURLOPT_HEADERDATA, answer);
    code = code ? code : curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    return code ? code : curl_easy_setopt(easy, CURLOPT_WRITEDATA, answer);
}

int http_answer_give(struct http_answer *answer, struct flow_http *http)
{
    size_t count = answer->places.len / sizeof(struct place);
    const struct place *places = (const struct place *)(const void *)answer->places.data;
    long status = 0;

    for (size_t i = 0; i < count; i++) {
        const uint8_t *name = answer->text.data + places[i].name_at;
        struct flow_http_header header = {span_of(name, places[i].name_len),
            span_of(name + places[i].name_len, places[i].value_len)};
        int err = bytes_append(&answer->headers, &header, sizeof(header));
        if (err) {
            return err;
        }
    }
    curl_easy_getinfo(answer->easy, CURLINFO_RESPONSE_CODE, &status);
    http->status = (int)status;
    http->ret_headers = (const struct flow_http_header *)(const void *)answer->headers.data;
    http->ret_header_count = (uint32_t)count;
    http->ret_body = span_of(answer->body.data, answer->body.len);
    return 0;
}

void http_answer_fini(struct http_answer *answer)
{
    bytes_fini(&answer->text);
    bytes_fini(&answer->places);
    bytes_fini(&answer->headers);
    bytes_fini(&answer->body);
}
