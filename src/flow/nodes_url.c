#include "flow/nodes_url.h"

#include <errno.h>

#include "flow/nodes_config.h"
#include "flow/template.h"
#include "flow/why.h"

static bool begins_nocase(struct span text, const char *with)
{
    size_t len = strlen(with);
    return text.len >= len && span_equal_nocase(span_of(text.data, len), span_of(with, len));
}

static size_t scheme_len(struct span url)
{
    return begins_nocase(url, "http://") ? 7 : begins_nocase(url, "https://") ? 8 : 0;
}

static bool is_alnum(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_one_of(uint8_t c, const char *set)
{
    return c != 0 && strchr(set, c) != NULL;
}

static bool is_control(uint8_t c)
{
    return c < 0x20 || c == 0x7f;
}

static bool refuse(char *why, size_t why_cap, const char *finding)
{
    why_say(why, why_cap, "%s", finding);
    return false;
}

static bool authority_check(struct span rest, char *why, size_t why_cap)
{
    size_t len = 0;

    while (len < rest.len && !is_one_of(rest.data[len], "/?#")) {
        len++;
    }
    if (len == 0 || rest.data[0] == ':') {
        return refuse(why, why_cap, "the URL has no host");
    }
    if (memchr(rest.data, '@', len)) {
        return refuse(
            why, why_cap, "the URL has credentials; expected them in an Authorization header");
    }
    for (size_t i = 0; i < len; i++) {
        if (!is_alnum(rest.data[i]) && !is_one_of(rest.data[i], ".-_:[]")) {
            return refuse(why, why_cap, "the URL's host has characters that no host has");
        }
    }
    return true;
}

bool url_check(struct span url, char *why, size_t why_cap)
{
    size_t scheme = scheme_len(url);

    if (scheme == 0) {
        why_say(
            why, why_cap, "\"%s\" does not begin with http:// or https://", why_quote(url).text);
        return false;
    }
    if (url.len > NODES_URL_MAX) {
        return refuse(why, why_cap, "the URL has more than 8192 bytes");
    }
    for (size_t i = 0; i < url.len; i++) {
        if (is_control(url.data[i]) || url.data[i] == '\\') {
            return refuse(why, why_cap, "the URL has a control character or a backslash");
        }
    }
    return authority_check(span_of(url.data + scheme, url.len - scheme), why, why_cap);
}

bool url_template_check(struct span text, char *why, size_t why_cap)
{
    if (text.len == 0 || !template_has_places(text)) {
        return url_check(text, why, why_cap);
    }
    if (text.len >= 2 && memcmp(text.data, "{{", 2) == 0) {
        return true; /* Even its scheme comes later. */
    }
    if (scheme_len(text) == 0) {
        return url_check(text, why, why_cap);
    }
    return true;
}

int url_write(struct bytes *out, struct span url)
{
    for (size_t i = 0; i < url.len; i++) {
        uint8_t c = url.data[i];
        int err =
            c == ' ' || c >= 0x80 ? bytes_appendf(out, "%%%02X", c) : bytes_append_byte(out, c);
        if (err) {
            return err;
        }
    }
    int err = bytes_append_byte(out, 0);
    if (!err) {
        out->len--;
    }
    return err;
}

bool header_name_check(struct span name, char *why, size_t why_cap)
{
    static const char *const ours[] = {"connection", "content-length", "expect", "keep-alive",
        "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"};

    for (size_t i = 0; i < name.len; i++) {
        if (!is_alnum(name.data[i]) && !is_one_of(name.data[i], "!#$%&'*+-.^_`|~")) {
            return refuse(why, why_cap, "a header's name has letters, digits and - only");
        }
    }
    if (name.len == 0 || name.len > 256) {
        return refuse(why, why_cap, "a header's name has 1 to 256 bytes");
    }
    for (size_t i = 0; i < COUNT_OF(ours); i++) {
        if (span_equal_nocase(name, span_str(ours[i]))) {
            return refuse(why, why_cap, "this header is not yours to set");
        }
    }
    return true;
}

bool header_value_check(struct span value, char *why, size_t why_cap)
{
    if (value.len > NODES_HEADER_MAX) {
        return refuse(why, why_cap, "a header's value has more than 8192 bytes");
    }
    for (size_t i = 0; i < value.len; i++) {
        if (is_control(value.data[i]) && value.data[i] != '\t') {
            return refuse(why, why_cap, "a header's value has a control character");
        }
    }
    return true;
}

bool header_twice(const json_t *headers, struct span name)
{
    const char *key;
    size_t key_len, same = 0;
    json_t *value;

    json_object_keylen_foreach((json_t *)headers, key, key_len, value)
    {
        same += span_equal_nocase(span_of(key, key_len), name);
    }
    return same > 1;
}

const json_t *header_find(const json_t *headers, const char *name)
{
    const char *key;
    size_t key_len;
    json_t *value;

    json_object_keylen_foreach((json_t *)headers, key, key_len, value)
    {
        if (span_equal_nocase(span_of(key, key_len), span_str(name))) {
            return value;
        }
    }
    return NULL;
}
