#include "link/http_request.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "link/http_client.h"

enum { LABEL_MAX = 120, METHOD_MAX = 32 };

/* Headers that say where a message ends or what becomes of the connection: they are the client's,
 * or a request could smuggle another one into a connection that is used again. */
static const char *const own_headers[] = {"connection", "content-length", "expect", "keep-alive",
    "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"};

/* RFC 9110, 5.6.2. */
static bool is_token(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!text.data[i] || text.data[i] >= 0x80 ||
            (!isalnum(text.data[i]) && !strchr("!#$%&'*+-.^_`|~", text.data[i]))) {
            return false;
        }
    }
    return text.len > 0;
}

static bool is_field_value(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if ((text.data[i] < 0x20 && text.data[i] != '\t') || text.data[i] == 0x7f) {
            return false;
        }
    }
    return true;
}

bool http_request_is_head(const struct flow_http *http)
{
    return strcmp(http->method, "HEAD") == 0;
}

/* ---- sentences ---- */

/* Appends a part, if there is one; what is too long is cut at a code point. */
static void append_part(char label[LABEL_MAX], CURLU *url, CURLUPart part, const char *before)
{
    char *text = NULL;
    size_t len = strlen(label);

    if (curl_url_get(url, part, &text, 0) == CURLUE_OK) {
        int more = snprintf(label + len, LABEL_MAX - len, "%s%s", before, text);
        if (more > 0 && (size_t)more >= LABEL_MAX - len) {
            for (len = LABEL_MAX - 4; ((uint8_t)label[len] & 0xc0) == 0x80; len--) {
            }
            snprintf(label + len, LABEL_MAX - len, "…");
        }
    }
    curl_free(text);
}

/* What others wrote may go into a log line or an event, but not with bytes that are no text. */
static void make_text(char *text)
{
    bool valid = utf8_valid(text, strlen(text));

    for (uint8_t *at = (uint8_t *)text; *at; at++) {
        if (*at < 0x20 || *at == 0x7f || (*at >= 0x80 && !valid)) {
            *at = '?';
        }
    }
}

/* Credentials may be in the name, the password and the query. */
static void label_of(const char *text, char label[LABEL_MAX])
{
    CURLU *url = curl_url();

    label[0] = 0;
    if (url && strlen(text) <= HTTP_CLIENT_URL_MAX &&
        curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK) {
        append_part(label, url, CURLUPART_SCHEME, "");
        append_part(label, url, CURLUPART_HOST, "://");
        append_part(label, url, CURLUPART_PORT, ":");
        append_part(label, url, CURLUPART_PATH, "");
    }
    if (!label[0]) {
        snprintf(label, LABEL_MAX, "the request");
    }
    curl_url_cleanup(url);
}

void http_request_explain(struct flow_http *http, const char *format, ...)
{
    char label[LABEL_MAX], finding[sizeof(http->why) - LABEL_MAX - 2];
    va_list args;

    va_start(args, format);
    vsnprintf(finding, sizeof(finding), format, args);
    va_end(args);
    make_text(finding);
    label_of(http->url, label);
    make_text(label);
    snprintf(http->why, sizeof(http->why), "%s: %s", label, finding);
}

/* The system's word for it, as the end of a sentence. */
static void explain_errno(struct flow_http *http, long error)
{
    const char *text = strerror((int)error);

    http_request_explain(http, "%c%s", tolower((unsigned char)text[0]), text[0] ? text + 1 : "");
}

int http_request_failure(struct flow_http *http, CURL *easy, CURLcode code, const char *detail)
{
    long error = 0;

    curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &error);
    switch (code) {
    case CURLE_OUT_OF_MEMORY:
        http_request_explain(http, "no memory");
        return -ENOMEM;
    case CURLE_COULDNT_RESOLVE_HOST:
        http_request_explain(http, "the host's name has no address");
        return -EHOSTUNREACH;
    case CURLE_COULDNT_CONNECT:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
        if (error > 0) {
            explain_errno(http, error);
            return (int)-error;
        }
        http_request_explain(http, code == CURLE_COULDNT_CONNECT ? "it cannot be connected to"
                                                                 : "the connection was lost");
        return code == CURLE_COULDNT_CONNECT ? -ECONNREFUSED : -ECONNRESET;
    case CURLE_GOT_NOTHING:
        http_request_explain(http, "the connection was closed without an answer");
        return -ECONNRESET;
    case CURLE_PARTIAL_FILE:
        http_request_explain(http, "the connection was closed in the middle of the answer");
        return -ECONNRESET;
    case CURLE_OPERATION_TIMEDOUT:
        http_request_explain(http, "not connected in time");
        return -ETIMEDOUT;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
        http_request_explain(http, "what it answers is not HTTP");
        return -EPROTO;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CACERT_BADFILE:
    default:
        http_request_explain(http, "%s", detail[0] ? detail : curl_easy_strerror(code));
        return -EPROTO;
    }
}

/* ---- judging ---- */

static int fault(struct flow_http *http, const char *format, ...) PRINTF_LIKE(2, 3);

static int fault(struct flow_http *http, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(http->why, sizeof(http->why), format, args);
    va_end(args);
    return -EINVAL;
}

static int check_headers(struct flow_http *http)
{
    size_t size = 0;

    if (http->header_count > HTTP_CLIENT_HEADERS_MAX) {
        return fault(http, "the request has %u headers; at most %d are sent", http->header_count,
            HTTP_CLIENT_HEADERS_MAX);
    }
    for (uint32_t i = 0; i < http->header_count; i++) {
        struct span name = http->headers[i].name, value = http->headers[i].value;

        if (!is_token(name)) {
            return fault(http, "the name of header %u of the request is not a token", i + 1);
        }
        size += name.len < SIZE_MAX / 4 && value.len < SIZE_MAX / 4 ? name.len + value.len
                                                                    : SIZE_MAX / 2;
        if (size > HTTP_CLIENT_HEADER_BYTES_MAX) {
            return fault(http, "the request's headers are larger than %d bytes",
                HTTP_CLIENT_HEADER_BYTES_MAX);
        }
        int len = name.len < 64 ? (int)name.len : 64;
        if (!is_field_value(value)) {
            return fault(http, "the request's header %.*s has control characters in it", len,
                (const char *)name.data);
        }
        for (size_t own = 0; own < COUNT_OF(own_headers); own++) {
            if (span_equal_nocase(name, span_str(own_headers[own]))) {
                return fault(
                    http, "the request's header %s is set by the client itself", own_headers[own]);
            }
        }
    }
    return 0;
}

static int check_url(struct flow_http *http, CURLU *url, struct bytes *origin)
{
    char *scheme = NULL, *host = NULL, *port = NULL;
    int err = 0;

    if (strlen(http->url) > HTTP_CLIENT_URL_MAX) {
        return fault(http, "the URL is longer than %d bytes", HTTP_CLIENT_URL_MAX);
    }
    CURLUcode code = curl_url_set(url, CURLUPART_URL, http->url, 0);
    if (code == CURLUE_OUT_OF_MEMORY) {
        return -ENOMEM;
    }
    if (code != CURLUE_OK) {
        return fault(http, "the URL cannot be read (%s); http://host/path is expected",
            curl_url_strerror(code));
    }
    if (curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)) {
        err = fault(http, "the URL begins with neither http:// nor https://");
    } else if (curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK || !host[0] ||
               curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK) {
        err = fault(http, "the URL names no host");
    } else {
        for (char *at = host; *at; at++) {
            *at = (char)tolower((unsigned char)*at);
        }
        err = bytes_appendf(origin, "%s://%s:%s", scheme, host, port);
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    return err;
}

int http_request_check(struct flow_http *http, struct bytes *origin)
{
    size_t method_len = strlen(http->method);

    if (method_len > METHOD_MAX || !is_token(span_of(http->method, method_len)) ||
        strcmp(http->method, "CONNECT") == 0) {
        return fault(http, "the request's method is not one that can be sent, as GET or POST is");
    }
    if (http_request_is_head(http) && http->body.len) {
        return fault(http, "a HEAD request has no body");
    }
    int err = check_headers(http);
    if (err) {
        return err;
    }
    CURLU *url = curl_url();
    err = url ? check_url(http, url, origin) : -ENOMEM;
    curl_url_cleanup(url);
    return err;
}

/* ---- for curl ---- */

static bool has_header(const struct flow_http *http, const char *name)
{
    for (uint32_t i = 0; i < http->header_count; i++) {
        if (span_equal_nocase(http->headers[i].name, span_str(name))) {
            return true;
        }
    }
    return false;
}

static bool add_line(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);

    *list = longer ? longer : *list;
    return longer;
}

/* A value of nothing must be written "Name;": "Name:" takes the header out. */
static bool add_header(
    struct curl_slist **list, const struct flow_http_header *header, struct bytes *line)
{
    struct span value = header->value;

    while (value.len && (value.data[0] == ' ' || value.data[0] == '\t')) {
        value = span_of(value.data + 1, value.len - 1);
    }
    line->len = 0;
    return bytes_append(line, header->name.data, header->name.len) == 0 &&
           bytes_append_str(line, value.len ? ": " : ";") == 0 &&
           bytes_append(line, value.data, value.len) == 0 && bytes_append_byte(line, 0) == 0 &&
           add_line(list, (const char *)line->data);
}

static CURLcode apply_body(const struct flow_http *http, CURL *easy)
{
    bool wants_body = http->body.len || strcmp(http->method, "POST") == 0 ||
                      strcmp(http->method, "PUT") == 0 || strcmp(http->method, "PATCH") == 0;
    CURLcode code;

    if (http_request_is_head(http)) {
        return curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    }
    if (wants_body) {
        code = curl_easy_setopt(
            easy, CURLOPT_POSTFIELDS, http->body.len ? (const char *)http->body.data : "");
        code =
            code ? code
                 : curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)http->body.len);
    } else {
        code = curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    }
    return code ? code : curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, http->method);
}

int http_request_apply(const struct flow_http *http, CURL *easy, struct curl_slist **ret_headers)
{
    struct curl_slist *list = NULL;
    struct bytes line = {0};
    /* Without waiting for "100 Continue", and with no type of content that nobody named. */
    bool fine = add_line(&list, "Expect:") &&
                (has_header(http, "content-type") || add_line(&list, "Content-Type:"));

    for (uint32_t i = 0; fine && i < http->header_count; i++) {
        fine = add_header(&list, &http->headers[i], &line);
    }
    bytes_fini(&line);
    fine = fine && curl_easy_setopt(easy, CURLOPT_URL, http->url) == CURLE_OK &&
           apply_body(http, easy) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HTTPHEADER, list) == CURLE_OK;
    if (!fine) {
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, NULL);
        curl_slist_free_all(list);
        return -ENOMEM;
    }
    *ret_headers = list;
    return 0;
}
