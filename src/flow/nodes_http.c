/* The http node: a request out of a config, and a result out of an answer. */
#include <errno.h>
#include <stdlib.h>

#include "base/base64.h"
#include "base/utf8.h"
#include "flow/canon.h"
#include "flow/nodes.h"
#include "flow/nodes_config.h"
#include "flow/nodes_url.h"
#include "flow/value.h"
#include "flow/why.h"

/* ---- the request ---- */

static int fill_url(
    const json_t *config, const json_t *document, struct bytes *out, char why[NODES_WHY_MAX])
{
    char finding[NODES_WHY_MAX];
    json_t *value = NULL;

    int err = config_fill(
        "url", json_object_get(config, "url"), document, NODES_URL_MAX + 2, &value, why);
    if (err) {
        return err;
    }
    if (!url_check(config_span(value), finding, sizeof(finding))) {
        why_say(why, NODES_WHY_MAX, "url: %s", finding);
        err = -EINVAL;
    }
    err = err ? err : url_write(out, config_span(value));
    json_decref(value);
    return err;
}

/* One header's value as text. null: the header is left out. */
static int fill_header(struct span name, const json_t *template, const json_t *document,
    json_t *headers, char why[NODES_WHY_MAX])
{
    char finding[NODES_WHY_MAX], place[100];
    struct bytes text = {0};
    json_t *value = NULL;

    why_say(place, sizeof(place), "headers.%s", why_quote(name).text);
    int err = config_fill(place, template, document, NODES_HEADER_MAX + 2, &value, why);
    if (err || json_is_null(value)) {
        json_decref(value);
        return err;
    }
    err = config_text(value, &text);
    struct span span = span_of(text.data, text.len);
    if (!err && (json_is_array(value) || json_is_object(value))) {
        why_say(why, NODES_WHY_MAX, "%s: expected text", place);
        err = -EINVAL;
    } else if (!err && (!header_name_check(name, finding, sizeof(finding)) ||
                           !header_value_check(span, finding, sizeof(finding)))) {
        why_say(why, NODES_WHY_MAX, "%s: %s", place, finding);
        err = -EINVAL;
    }
    if (!err) {
        json_t *string = json_stringn(text.len ? (const char *)text.data : "", text.len);
        err =
            json_object_setn_new(headers, (const char *)name.data, name.len, string) ? -ENOMEM : 0;
    }
    bytes_fini(&text);
    json_decref(value);
    return err;
}

static int fill_headers(
    const json_t *config, const json_t *document, json_t *headers, char why[NODES_WHY_MAX])
{
    const json_t *templates = json_object_get(config, "headers");
    const char *key;
    size_t key_len;
    json_t *template;

    if (json_object_size(templates) > NODES_HEADERS_MAX) {
        why_say(why, NODES_WHY_MAX, "headers: there are more than %d", NODES_HEADERS_MAX);
        return -EINVAL;
    }
    json_object_keylen_foreach((json_t *)templates, key, key_len, template)
    {
        int err = fill_header(span_of(key, key_len), template, document, headers, why);
        if (err) {
            return err;
        }
    }
    return 0;
}

static int fill_body(const json_t *config, const json_t *document, size_t bytes_max,
    struct node_http *http, char why[NODES_WHY_MAX])
{
    const json_t *template = json_object_get(config, "body");
    json_t *value = NULL;

    if (!template) {
        return 0;
    }
    int err = config_fill("body", template, document, bytes_max, &value, why);
    if (err) {
        return err;
    }
    err = config_text(value, &http->body);
    if (!err && !header_find(http->headers, "content-type")) {
        const char *type = json_is_string(value) ? "text/plain; charset=utf-8" : "application/json";
        err = json_object_set_new(http->headers, "Content-Type", json_string(type)) ? -ENOMEM : 0;
    }
    json_decref(value);
    return err;
}

int nodes_http(const struct workflow_node *node, const json_t *document, size_t bytes_max,
    struct node_http *ret_http, char why[NODES_WHY_MAX])
{
    const json_t *config = node->config;
    const char *method = json_object_get(config, "method") || !json_object_get(config, "body")
                             ? config_choice(config, config_members("http"), "method")
                             : "POST";
    struct node_http http = {.headers = json_object(), .bytes_max = bytes_max};
    int64_t answer_max = 0;

    memcpy(http.method, method, strlen(method) + 1);
    if (config_number(json_object_get(config, "max_bytes"), &answer_max) && answer_max > 0 &&
        (uint64_t)answer_max < bytes_max) {
        http.bytes_max = (size_t)answer_max;
    }
    int err = http.headers ? 0 : -ENOMEM;
    err = err ? err : fill_url(config, document, &http.url, why);
    err = err ? err : fill_headers(config, document, http.headers, why);
    err = err ? err : fill_body(config, document, bytes_max, &http, why);
    if (err) {
        nodes_http_fini(&http);
        return err;
    }
    *ret_http = http;
    return 0;
}

void nodes_http_fini(struct node_http *http)
{
    bytes_fini(&http->url);
    bytes_fini(&http->body);
    json_decref(http->headers);
    *http = (struct node_http){0};
}

/* ---- the result ---- */

static bool status_expected(const json_t *config, int status)
{
    const json_t *expect = json_object_get(config, "expect");
    int64_t wanted = 0;
    size_t index;
    json_t *part;

    json_array_foreach(expect, index, part)
    {
        if (config_number(part, &wanted) && wanted == status) {
            return true;
        }
    }
    return !json_is_array(expect) && status >= 200 && status < 300;
}

/* Too early, too many, too slow, or the server's own trouble: that may pass. */
static bool status_passes(int status)
{
    return status == 408 || status == 425 || status == 429 || status >= 500;
}

/* A header that occurs again is one list, as HTTP has it. */
static int add_header(json_t *headers, struct span name, struct span value)
{
    struct bytes text = {0};
    const char *key = (const char *)name.data;
    const json_t *before = json_object_getn(headers, key, name.len);

    if (!before && json_object_size(headers) == NODES_HEADERS_MAX) {
        return 0;
    }
    int err = before ? config_text(before, &text) : 0;
    err = err ? err : before ? bytes_append_str(&text, ", ") : 0;
    err = err ? err : bytes_append(&text, value.data, value.len);
    if (!err && text.len <= NODES_HEADER_MAX) {
        json_t *string = json_stringn(text.len ? (const char *)text.data : "", text.len);
        err = json_object_setn_new(headers, key, name.len, string) ? -ENOMEM : 0;
    }
    bytes_fini(&text);
    return err;
}

/* Headers as an object; what is no text is left out. */
static int make_headers(const struct flow_http *answer, json_t *headers)
{
    char why[NODES_WHY_MAX];

    for (uint32_t i = 0; i < answer->ret_header_count; i++) {
        struct span name = answer->ret_headers[i].name, value = answer->ret_headers[i].value;
        bool named = name.len > 0 && name.len <= 256 && utf8_valid(name.data, name.len) &&
                     !memchr(name.data, 0, name.len);
        if (!named || !header_value_check(value, why, sizeof(why)) ||
            !utf8_valid(value.data, value.len)) {
            continue;
        }
        int err = add_header(headers, name, value);
        if (err) {
            return err;
        }
    }
    return 0;
}

static bool says_json(const json_t *headers)
{
    struct span type = config_span(json_object_get(headers, "content-type"));

    for (size_t i = 0; i + 4 <= type.len && type.data[i] != ';'; i++) {
        if (span_equal_nocase(span_of(type.data + i, 4), span_str("json"))) {
            return true;
        }
    }
    return false;
}

/* JSON if it says so and is, else text, else {"base64":…}. */
static int make_body(struct span body, const json_t *headers, json_t **ret_body)
{
    char why[NODES_WHY_MAX];

    if (body.len > 0 && says_json(headers)) {
        size_t all = SIZE_MAX;
        json_t *value = json_read(body, why, sizeof(why));
        if (!value && errno == ENOMEM) {
            return -ENOMEM;
        }
        /* Within the result it is one level deeper. */
        if (value && value_fits(value, VALUE_DEPTH_MAX - 1, &all)) {
            *ret_body = value;
            return 0;
        }
        json_decref(value);
    }
    if (utf8_valid(body.data, body.len)) {
        *ret_body = json_stringn(body.len ? (const char *)body.data : "", body.len);
        return *ret_body ? 0 : -ENOMEM;
    }
    struct bytes text = {0};
    int err = base64_encode(&text, body.data, body.len);
    if (!err) {
        *ret_body = json_pack("{s:s%}", "base64", (const char *)text.data, text.len);
        err = *ret_body ? 0 : -ENOMEM;
    }
    bytes_fini(&text);
    return err;
}

/* A sentence about a status nobody expected, with the beginning of what the server said. */
static void say_status(const struct flow_http *answer, char why[NODES_WHY_MAX])
{
    struct why_quote quote = why_quote(answer->ret_body);

    if (answer->ret_body.len > 0) {
        why_say(why, NODES_WHY_MAX, "the server answered with status %d: %s", answer->status,
            quote.text);
    } else {
        why_say(why, NODES_WHY_MAX, "the server answered with status %d", answer->status);
    }
}

int nodes_http_result(const struct workflow_node *node, const struct flow_http *answer,
    json_t **ret_result, bool *ret_again, char why[NODES_WHY_MAX])
{
    json_t *headers, *body = NULL;

    *ret_again = true;
    if (answer->err) {
        *ret_again = answer->err != -EMSGSIZE;
        why_say(why, NODES_WHY_MAX, "%s",
            answer->why[0] ? answer->why : "the server could not be asked");
        return -EINVAL;
    }
    if (!status_expected(node->config, answer->status)) {
        *ret_again = status_passes(answer->status);
        say_status(answer, why);
        return -EINVAL;
    }
    headers = json_object();
    int err = headers ? make_headers(answer, headers) : -ENOMEM;
    err = err ? err : make_body(answer->ret_body, headers, &body);
    if (err) {
        json_decref(headers);
        return err;
    }
    *ret_result =
        json_pack("{s:i, s:o, s:o}", "status", answer->status, "headers", headers, "body", body);
    return *ret_result ? 0 : -ENOMEM;
}
