/* For handlers: the commoner replies, and what the request asked for. */
#include <string.h>

#include "base/json.h"
#include "http/session.h"
#include "proto/url.h"

void http_reply(
    struct http_exchange *x, int status, const char *content_type, const void *body, size_t len)
{
    http_reply_with(x, status, content_type, NULL, 0, body, len);
}

void http_reply_error(struct http_exchange *x, int status, const char *code, const char *message)
{
    struct bytes body = {0};
    struct http_header retry = {span_str("Retry-After"), span_str("1")};

    if (bytes_append_str(&body, "{\"error\":{\"code\":") != 0 ||
        json_append_string(&body, code, strlen(code)) != 0 ||
        bytes_append_str(&body, ",\"message\":") != 0 ||
        json_append_string(&body, message, strlen(message)) != 0 ||
        bytes_append_str(&body, "}}\n") != 0) {
        body.len = 0;
    }
    http_reply_with(
        x, status, "application/json", &retry, status == 503 ? 1 : 0, body.data, body.len);
    bytes_fini(&body);
}

int http_query(const struct http_exchange *x, const char *name, struct bytes *out)
{
    struct span cursor = x->request->query, key, value;

    while (url_query_next(&cursor, &key, &value)) {
        if (span_equal(key, span_str(name))) {
            int err = url_decode_query(out, value);
            return err ? err : 1;
        }
    }
    return 0;
}
