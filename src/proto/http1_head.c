#include "proto/http1_head.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include <llhttp.h>

#define EACH_BYTE(b) (UINT64_C(0x0101010101010101) * (b))

static int refuse(struct http1_fault *fault, int status, const char *text)
{
    *fault = (struct http1_fault){.status = status, .text = text};
    return -EBADMSG;
}

/* The next control byte (below 0x20, or 0x7f), or end. */
static const uint8_t *next_control(const uint8_t *at, const uint8_t *end)
{
    while (end - at >= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        word = le64toh(word);
        uint64_t del = word ^ EACH_BYTE(0x7f);
        uint64_t hit = ((word - EACH_BYTE(0x20)) & ~word) | ((del - EACH_BYTE(1)) & ~del);
        hit &= EACH_BYTE(0x80);
        if (hit) {
            return at + __builtin_ctzll(hit) / 8; /* A borrow spoils only higher bytes. */
        }
        at += 8;
    }
    while (at < end && *at >= 0x20 && *at != 0x7f) {
        at++;
    }
    return at;
}

/* llhttp also knows RTSP and ICE and would answer HTTP/2 with a pause: only HTTP/1.x goes on. */
static int check_version(struct span line, bool request, struct http1_fault *fault)
{
    const size_t version_len = 8;
    const uint8_t *version;

    if (line.len < version_len + 1) {
        return refuse(fault, 400, "the start line is not HTTP/1");
    }
    version = request ? line.data + line.len - version_len : line.data;
    bool apart = request ? version[-1] == ' ' : version[version_len] == ' ';
    if (!apart || memcmp(version, "HTTP/", 5) != 0 || version[6] != '.') {
        return refuse(fault, 400, "the start line is not HTTP/1");
    }
    if (version[5] != '1' || (version[7] != '0' && version[7] != '1')) {
        return refuse(fault, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    }
    for (size_t i = 0; request && i < line.len; i++) {
        if (line.data[i] >= 0x80) {
            return refuse(fault, 400, "the request line has a byte that must be percent-encoded");
        }
    }
    return 0;
}

/* Takes the line that ends before scan->at, which is behind its CRLF. 1: the head is complete. */
static int end_line(struct http1_scan *scan, const uint8_t *data, struct http1_fault *fault)
{
    struct span line = span_of(data + scan->line_start, scan->at - 2 - scan->line_start);

    scan->line_start = scan->at;
    if (scan->line_count == 0 && line.len == 0) {
        if (!scan->request || scan->head_start > 0) {
            return refuse(fault, 400, "an empty line stands where the start line belongs");
        }
        scan->head_start = scan->at;
        return 0;
    }
    if (line.len == 0) {
        return 1;
    }
    if (scan->line_count == 0) {
        int err = check_version(line, scan->request, fault);
        if (err) {
            return err;
        }
    } else if (scan->line_count > scan->lines_max) {
        return refuse(fault, 431, "too many header fields");
    }
    scan->line_count += 1;
    return 0;
}

/* How far the scan may look now: the limits fall on bytes, however the data was cut. */
static size_t window(const struct http1_scan *scan)
{
    if (scan->line_count == 0 && scan->start_line_max < scan->bytes_max - scan->line_start) {
        return scan->line_start + scan->start_line_max;
    }
    return scan->bytes_max;
}

int64_t http1_scan_feed(
    struct http1_scan *scan, const uint8_t *data, size_t len, struct http1_fault *ret_fault)
{
    for (;;) {
        size_t limit = window(scan);
        const uint8_t *end = data + (len < limit ? len : limit);
        const uint8_t *at = data + scan->at;

        if (at < end && scan->at == scan->line_start && scan->line_count > 0 &&
            (*at == ' ' || *at == '\t')) {
            return refuse(ret_fault, 400, "a header line begins with white space");
        }
        at = next_control(at, end);
        scan->at = (size_t)(at - data);
        if (end - at < 2 && (at == end || *at == '\r')) {
            if (len < limit) {
                return 0;
            }
            return limit == scan->bytes_max
                       ? refuse(ret_fault, 431, "the header fields are too large")
                       : refuse(ret_fault, 414, "the request target is too long");
        }
        if (*at == '\t') {
            scan->at += 1;
        } else if (*at == '\r' && at[1] == '\n') {
            scan->at += 2;
            int done = end_line(scan, data, ret_fault);
            if (done < 0) {
                return done;
            }
            if (done) {
                return (int64_t)scan->at;
            }
        } else if (*at == '\r' || *at == '\n') {
            return refuse(ret_fault, 400, "a line must end with CR LF");
        } else {
            return refuse(ret_fault, 400, "a control byte stands in the head");
        }
    }
}

/* What llhttp's callbacks fill in. */
struct parse {
    struct http1_head *head;
    bool value_seen; /* The last header has its value, so another one would be a second piece. */
    bool overflow;
};

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
    struct parse *parse = parser->data;

    if (parse->head->target.data) {
        return -1; /* The head came in one piece, so its spans do too. */
    }
    parse->head->target = span_of(at, len);
    return 0;
}

static int on_header_field(llhttp_t *parser, const char *at, size_t len)
{
    struct parse *parse = parser->data;
    struct http1_head *head = parse->head;

    if (head->header_count == head->header_max) {
        parse->overflow = true;
        return -1;
    }
    head->headers[head->header_count++] = (struct http_header){.name = span_of(at, len)};
    parse->value_seen = false;
    return 0;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static struct span trim(struct span text)
{
    while (text.len > 0 && is_blank(text.data[text.len - 1])) {
        text.len--;
    }
    while (text.len > 0 && is_blank(text.data[0])) {
        text.data++;
        text.len--;
    }
    return text;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t len)
{
    struct parse *parse = parser->data;
    struct http1_head *head = parse->head;

    if (head->header_count == 0 || parse->value_seen) {
        return -1;
    }
    head->headers[head->header_count - 1].value = trim(span_of(at, len));
    parse->value_seen = true;
    return 0;
}

/* The body is not llhttp's to read: whatever it thinks comes next, it stops here. */
static int on_headers_complete(llhttp_t *parser)
{
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
};

static int explain(llhttp_errno_t err, struct span method, struct http1_fault *fault)
{
    switch (err) {
    case HPE_INVALID_METHOD:
        return http_is_token(method) ? refuse(fault, 501, "the method is unknown")
                                     : refuse(fault, 400, "the method is malformed");
    case HPE_INVALID_URL:
        return refuse(fault, 400, "the request target is malformed");
    case HPE_INVALID_CONTENT_LENGTH:
    case HPE_UNEXPECTED_CONTENT_LENGTH:
        return refuse(fault, 400, "Content-Length is malformed, repeated, or beside chunked");
    case HPE_INVALID_TRANSFER_ENCODING:
        return refuse(fault, 400, "Transfer-Encoding is malformed");
    case HPE_INVALID_HEADER_TOKEN:
        return refuse(fault, 400, "a header field is malformed");
    case HPE_INVALID_STATUS:
        return refuse(fault, 400, "the status code is malformed");
    default:
        return refuse(fault, 400, "the head is malformed");
    }
}

/* Method SP target SP version (RFC 9112, 3); the scan saw a version, but llhttp may have taken it for the
 * target of CONNECT. */
static bool one_space_apart(const struct http1_head *head, const uint8_t *end)
{
    static const char version[] = " HTTP/";
    const uint8_t *target_end = head->target.data + head->target.len;

    return head->target.len > 0 && head->target.data == head->method.data + head->method.len + 1 &&
           (size_t)(end - target_end) >= strlen(version) &&
           memcmp(target_end, version, strlen(version)) == 0;
}

int http1_head_parse(struct http1_head *head, bool request, const uint8_t *data, size_t len,
    struct http1_fault *ret_fault)
{
    struct parse parse = {.head = head};
    llhttp_t parser;

    head->target = (struct span){0};
    head->header_count = 0;
    head->method = span_of(data, 0);
    while (request && head->method.len < len && data[head->method.len] != ' ') {
        head->method.len++;
    }
    llhttp_init(&parser, request ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
    parser.data = &parse;
    llhttp_errno_t err = llhttp_execute(&parser, (const char *)data, len);
    if (parse.overflow) {
        return refuse(ret_fault, 431, "too many header fields");
    }
    if (err != HPE_PAUSED) {
        return err == HPE_OK ? refuse(ret_fault, 400, "the head is malformed")
                             : explain(err, head->method, ret_fault);
    }
    /* llhttp 8 lets several spaces part a start line, and a field without a name pass. */
    if (request && !one_space_apart(head, data + len)) {
        return refuse(ret_fault, 400, "the request line is malformed");
    }
    for (size_t i = 0; i < head->header_count; i++) {
        if (head->headers[i].name.len == 0) {
            return refuse(ret_fault, 400, "a header field is malformed");
        }
    }
    head->minor = llhttp_get_http_minor(&parser);
    head->chunked = parser.flags & F_CHUNKED;
    head->status = request ? 0 : llhttp_get_status_code(&parser);
    return 0;
}

static int read_length(struct http1_framing *framing, struct span value, struct http1_fault *fault)
{
    uint64_t length = 0;

    if (framing->has_content_length) {
        return refuse(fault, 400, "Content-Length is repeated");
    }
    if (value.len == 0 || value.len > 18) {
        return refuse(fault, 400, "Content-Length is no usable number");
    }
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9') {
            return refuse(fault, 400, "Content-Length is no usable number");
        }
        length = length * 10 + (value.data[i] - '0');
    }
    framing->content_length = length;
    framing->has_content_length = true;
    return 0;
}

static int read_coding(struct http1_framing *framing, struct span value, struct http1_fault *fault)
{
    if (framing->transfer_encoding) {
        return refuse(fault, 400, "Transfer-Encoding is repeated");
    }
    framing->transfer_encoding = true;
    framing->chunked = span_equal_nocase(value, span_str("chunked"));
    return framing->chunked ? 0
                            : refuse(fault, 501, "no Transfer-Encoding but chunked is understood");
}

static bool list_has(struct span list, const char *token)
{
    struct span element;

    while (http_list_next(&list, &element)) {
        if (span_equal_nocase(element, span_str(token))) {
            return true;
        }
    }
    return false;
}

int http1_framing_read(
    struct http1_framing *framing, const struct http1_head *head, struct http1_fault *ret_fault)
{
    bool asks_close = false, asks_keep = false, names_upgrade = false, has_upgrade = false;

    *framing = (struct http1_framing){0};
    for (size_t i = 0; i < head->header_count; i++) {
        struct span name = head->headers[i].name;
        struct span value = head->headers[i].value;
        int err = 0;
        if (name.len == 14 && span_equal_nocase(name, span_of("Content-Length", 14))) {
            err = read_length(framing, value, ret_fault);
        } else if (name.len == 17 && span_equal_nocase(name, span_of("Transfer-Encoding", 17))) {
            err = read_coding(framing, value, ret_fault);
        } else if (name.len == 10 && span_equal_nocase(name, span_of("Connection", 10))) {
            asks_close |= list_has(value, "close");
            asks_keep |= list_has(value, "keep-alive");
            names_upgrade |= list_has(value, "upgrade");
        } else if (name.len == 7 && span_equal_nocase(name, span_of("Upgrade", 7))) {
            has_upgrade |= value.len > 0;
        }
        if (err) {
            return err;
        }
    }
    if (framing->transfer_encoding && framing->has_content_length) {
        return refuse(ret_fault, 400, "Content-Length and Transfer-Encoding contradict each other");
    }
    if (framing->chunked != head->chunked) {
        /* "chunked" with a tab behind it is one value to us and another to llhttp: to nobody, then. */
        return refuse(ret_fault, 400, "Transfer-Encoding is malformed");
    }
    if (framing->transfer_encoding && head->minor == 0) {
        return refuse(ret_fault, 400, "HTTP/1.0 has no Transfer-Encoding");
    }
    framing->keep_alive = !asks_close && (head->minor > 0 || asks_keep);
    framing->upgrade = has_upgrade && names_upgrade;
    return 0;
}

struct span http_header_find(
    const struct http_header *headers, size_t header_count, const char *name)
{
    struct span want = span_str(name);

    for (size_t i = 0; i < header_count; i++) {
        if (span_equal_nocase(headers[i].name, want)) {
            /* Present but empty differs from absent. */
            return headers[i].value.data ? headers[i].value : span_of("", 0);
        }
    }
    return (struct span){0};
}

size_t http_header_occurs(const struct http_header *headers, size_t header_count, const char *name)
{
    struct span want = span_str(name);
    size_t count = 0;

    for (size_t i = 0; i < header_count; i++) {
        count += span_equal_nocase(headers[i].name, want);
    }
    return count;
}

bool http_list_next(struct span *cursor, struct span *ret_element)
{
    while (cursor->len > 0) {
        bool quoted = false;
        size_t at = 0;
        for (; at < cursor->len && (quoted || cursor->data[at] != ','); at++) {
            if (cursor->data[at] == '"') {
                quoted = !quoted;
            } else if (quoted && cursor->data[at] == '\\' && at + 1 < cursor->len) {
                at++;
            }
        }
        *ret_element = trim(span_of(cursor->data, at));
        size_t used = at < cursor->len ? at + 1 : at;
        *cursor = span_of(cursor->data + used, cursor->len - used);
        if (ret_element->len > 0) {
            return true;
        }
    }
    return false;
}

bool http_header_has_token(
    const struct http_header *headers, size_t header_count, const char *name, const char *token)
{
    struct span want = span_str(name);

    for (size_t i = 0; i < header_count; i++) {
        if (span_equal_nocase(headers[i].name, want) && list_has(headers[i].value, token)) {
            return true;
        }
    }
    return false;
}

bool http_token_char(uint8_t byte)
{
    /* A bit a byte: letters, digits and !#$%&'*+-.^_`|~ */
    static const uint64_t allowed[4] = {0x03ff6cfa00000000, 0x57ffffffc7fffffe, 0, 0};
    return allowed[byte >> 6] >> (byte & 63) & 1;
}

bool http_is_token(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!http_token_char(text.data[i])) {
            return false;
        }
    }
    return text.len > 0;
}
