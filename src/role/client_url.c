#include "role/client_url.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proto/url.h"

static const struct {
    const char *name;
    enum client_scheme scheme;
    bool tls;
    uint16_t port;
} schemes_known[] = {
    {"http", CLIENT_HTTP, false, 80},
    {"https", CLIENT_HTTP, true, 443},
    {"ws", CLIENT_WS, false, 80},
    {"wss", CLIENT_WS, true, 443},
    {"redis", CLIENT_REDIS, false, 6379},
    {"rediss", CLIENT_REDIS, true, 6379},
};

/* "user:password@" before the host; both percent-decoded. Returns what follows it. */
static const char *read_userinfo(const char *at, const char *end, struct client_url *url)
{
    const char *sign = memrchr(at, '@', (size_t)(end - at));
    if (!sign) {
        return at;
    }
    const char *colon = memchr(at, ':', (size_t)(sign - at));
    struct {
        const char *from, *to;
        char *out;
        size_t cap;
    } parts[] = {
        {at, colon ? colon : sign, url->user, sizeof url->user},
        {colon ? colon + 1 : sign, sign, url->password, sizeof url->password},
    };
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        struct bytes decoded = {0};
        size_t len = (size_t)(parts[i].to - parts[i].from);
        int err = url_decode_path(&decoded, span_of(parts[i].from, len));
        bool fits = !err && decoded.len < parts[i].cap;
        if (fits && decoded.len) {
            memcpy(parts[i].out, decoded.data, decoded.len);
        }
        bytes_fini(&decoded);
        if (!fits) {
            return NULL;
        }
    }
    return sign + 1;
}

int client_url_parse(
    const char *text, uint32_t schemes, struct client_url *ret_url, char err[CLIENT_URL_ERR_MAX])
{
    struct client_url url = {0};
    const char *mark = strstr(text, "://");
    uint16_t default_port = 0;

    for (size_t i = 0; mark && i < COUNT_OF(schemes_known); i++) {
        size_t len = strlen(schemes_known[i].name);
        if ((size_t)(mark - text) == len && strncasecmp(text, schemes_known[i].name, len) == 0) {
            url.scheme = schemes_known[i].scheme;
            url.tls = schemes_known[i].tls;
            default_port = schemes_known[i].port;
        }
    }
    if (url.scheme == CLIENT_HTTP && !(schemes & CLIENT_HTTP) && (schemes & CLIENT_WS)) {
        url.scheme = CLIENT_WS;
    } else if (url.scheme == CLIENT_WS && !(schemes & CLIENT_WS) && (schemes & CLIENT_HTTP)) {
        url.scheme = CLIENT_HTTP;
    }
    if (!(url.scheme & schemes)) {
        snprintf(err, CLIENT_URL_ERR_MAX,
            "\"%.100s\" is no URL of the right kind; expected e.g. %s", text,
            schemes == CLIENT_REDIS ? "redis://127.0.0.1:6379" : "http://127.0.0.1:8084");
        return -EINVAL;
    }
    const char *at = mark + 3;
    size_t len = strcspn(at, "/?#");
    const char *end = at + len;
    at = read_userinfo(at, end, &url);
    if (!at) {
        snprintf(err, CLIENT_URL_ERR_MAX, "\"%.100s\": bad user or password before the '@'", text);
        return -EINVAL;
    }
    bool v6 = *at == '[';
    const char *host_end = v6 ? memchr(at, ']', (size_t)(end - at)) : NULL;
    if (v6 && !host_end) {
        snprintf(err, CLIENT_URL_ERR_MAX, "\"%.100s\": '[' without ']' in the host", text);
        return -EINVAL;
    }
    const char *host = v6 ? at + 1 : at;
    const char *colon = memchr(v6 ? host_end : at, ':', (size_t)(end - (v6 ? host_end : at)));
    host_end = v6 ? host_end : colon ? colon : end;
    size_t host_len = (size_t)(host_end - host);
    if (host_len == 0 || host_len >= sizeof url.host) {
        snprintf(err, CLIENT_URL_ERR_MAX, "\"%.100s\" names no host", text);
        return -EINVAL;
    }
    memcpy(url.host, host, host_len);
    url.port = default_port;
    if (colon) {
        char *port_end;
        long port = strtol(colon + 1, &port_end, 10);
        if (port_end != end || port < 1 || port > 65535 || colon + 1 == end) {
            snprintf(err, CLIENT_URL_ERR_MAX, "\"%.100s\": the port is not 1..65535", text);
            return -EINVAL;
        }
        url.port = (uint16_t)port;
    }
    const char *open = v6 ? "[" : "", *close = v6 ? "]" : "";
    snprintf(url.address, sizeof url.address, "%s%s%s:%u", open, url.host, close, url.port);
    if (url.port == default_port) {
        snprintf(url.host_header, sizeof url.host_header, "%s%s%s", open, url.host, close);
    } else {
        memcpy(url.host_header, url.address, sizeof url.host_header);
    }
    url.target = end;
    *ret_url = url;
    return 0;
}

int client_url_add_param(
    struct bytes *target, const char *name, const void *value, size_t value_len)
{
    size_t before = target->len;
    bool first = !target->len || !memchr(target->data, '?', target->len);
    int err = bytes_appendf(target, "%c%s=", first ? '?' : '&', name);

    err = err ? err : url_encode(target, span_of(value, value_len));
    if (err) {
        target->len = before;
    }
    return err;
}

int client_url_join(struct bytes *target, const char *base, const char *path)
{
    size_t len = strcspn(base, "?#");

    while (len && base[len - 1] == '/') {
        len--;
    }
    return bytes_appendf(target, "%.*s%s", (int)len, base, path);
}
