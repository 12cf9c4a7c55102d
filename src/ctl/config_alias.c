/* Short ways to say several options at once: a port, an address, a URL, and what Kubernetes puts
 * into the environment of every pod for each service it knows. */
#include "ctl/config_build.h"

#include <errno.h>
#include <stdio.h>

#include "ctl/config_value.h"

/* Ranks below all that a person wrote: an injected variable must not beat the file. */
enum { RANK_INJECTED = 1 };

static bool put_number(struct config_build *build, const char *key, uint32_t rank,
    struct config_place place, unsigned number)
{
    char text[16];
    snprintf(text, sizeof text, "%u", number);
    return config_build_put(build, key, rank, place, span_str(text)) == 0;
}

static bool put_text(struct config_build *build, const char *key, uint32_t rank,
    struct config_place place, struct span text)
{
    return config_build_put(build, key, rank, place, text) == 0;
}

static bool set_listen_port(
    struct config_build *build, uint32_t rank, struct config_place place, struct span text)
{
    uint64_t port = 0;
    char address[16];
    if (config_parse_uint(text, &port) < 0 || port > UINT16_MAX) {
        return false;
    }
    snprintf(address, sizeof address, ":%u", (unsigned)port);
    return put_text(build, "listen", rank, place, span_str(address));
}

static bool set_redis_addr(
    struct config_build *build, uint32_t rank, struct config_place place, struct span text)
{
    struct span host = {0};
    uint16_t port = 0;
    if (config_parse_host_port(text, &host, &port) < 0 || port == 0) {
        return false;
    }
    return (host.len == 0 || put_text(build, "redis.host", rank, place, host)) &&
           put_number(build, "redis.port", rank, place, port);
}

static int hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9'                     ? c - '0'
           : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                    : -1;
}

/* Puts the text with its %XX decoded. */
static bool put_decoded(struct config_build *build, const char *key, uint32_t rank,
    struct config_place place, struct span text)
{
    struct bytes plain = {0};
    bool fine = true;
    for (size_t i = 0; fine && i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c == '%') {
            int high = i + 2 < text.len ? hex_digit(text.data[i + 1]) : -1;
            int low = i + 2 < text.len ? hex_digit(text.data[i + 2]) : -1;
            fine = high >= 0 && low >= 0;
            c = (uint8_t)(fine ? high * 16 + low : 0);
            i += 2;
        }
        if (fine && bytes_append_byte(&plain, c) < 0) {
            build->no_memory = true;
            break;
        }
    }
    fine = fine && put_text(build, key, rank, place, span_of(plain.data, plain.len));
    bytes_fini(&plain);
    return fine;
}

/* Takes what stands before the separator off the front of *text; false when it is not there. */
static bool take_until(struct span *text, char separator, struct span *ret_part)
{
    const uint8_t *end = text->len ? memchr(text->data, separator, text->len) : NULL;
    if (!end) {
        return false;
    }
    *ret_part = span_of(text->data, (size_t)(end - text->data));
    *text = span_of(end + 1, text->len - ret_part->len - 1);
    return true;
}

static bool take_prefix(struct span *text, const char *prefix)
{
    size_t len = strlen(prefix);
    if (text->len < len || memcmp(text->data, prefix, len) != 0) {
        return false;
    }
    *text = span_of(text->data + len, text->len - len);
    return true;
}

static bool set_userinfo(
    struct config_build *build, uint32_t rank, struct config_place place, struct span user)
{
    struct span name = user, password = span_of("", 0);
    if (take_until(&user, ':', &name)) {
        password = user;
    }
    /* The password first: a user without one would be a second fault on top of a broken one. */
    return (password.len == 0 || put_decoded(build, "redis.password", rank, place, password)) &&
           (name.len == 0 || put_decoded(build, "redis.username", rank, place, name));
}

static bool set_server(
    struct config_build *build, uint32_t rank, struct config_place place, struct span server)
{
    struct span host = server;
    uint16_t port = 6379;
    bool has_port = config_parse_host_port(server, &host, &port) == 0;
    if (!has_port && server.len >= 2 && server.data[0] == '[') {
        char text[300];
        if (server.len > sizeof text - 8) {
            return false;
        }
        int len = snprintf(text, sizeof text, "%.*s:6379", (int)server.len, server.data);
        if (config_parse_host_port(span_of(text, (size_t)len), &host, &port) < 0) {
            return false;
        }
        return put_text(build, "redis.host", rank, place, host) &&
               put_number(build, "redis.port", rank, place, port);
    }
    if (!has_port && server.len && memchr(server.data, ':', server.len)) {
        return false;
    }
    return (host.len == 0 || put_decoded(build, "redis.host", rank, place, host)) &&
           put_number(build, "redis.port", rank, place, port);
}

/* redis://[user[:password]@][host][:port][/db], rediss://…, unix://[user[:password]@]/path[?db=N].
 * The last @ ends the user, as passwords hold one more often than paths do. */
static bool set_redis_url(
    struct config_build *build, uint32_t rank, struct config_place place, struct span url)
{
    bool is_unix = take_prefix(&url, "unix://") || take_prefix(&url, "redis+unix://");
    bool is_tls = !is_unix && take_prefix(&url, "rediss://");
    if (!is_unix && !is_tls && !take_prefix(&url, "redis://")) {
        return false;
    }
    const uint8_t *at = url.len ? memrchr(url.data, '@', url.len) : NULL;
    struct span db = span_of("", 0);
    if (at) {
        struct span user = span_of(url.data, (size_t)(at - url.data));
        if (!set_userinfo(build, rank, place, user)) {
            return false;
        }
        url = span_of(at + 1, url.len - user.len - 1);
    }
    struct span server = url, query = url;
    if (take_until(&query, '?', &server)) {
        if (!take_prefix(&query, "db=")) {
            return false;
        }
        db = query;
    }
    if (is_unix) {
        if (server.len < 2 || server.data[0] != '/' ||
            !put_decoded(build, "redis.unix", rank, place, server)) {
            return false;
        }
    } else {
        struct span path = server;
        if (take_until(&path, '/', &server) && path.len > 0) {
            db = path;
        }
        if (!set_server(build, rank, place, server)) {
            return false;
        }
    }
    return (!is_tls || put_text(build, "redis.tls", rank, place, span_str("true"))) &&
           (db.len == 0 || put_text(build, "redis.db", rank, place, db));
}

bool config_build_alias(struct config_build *build, const struct config_option *option,
    uint32_t rank, struct config_place place, struct span text)
{
    switch (option->type) {
    case CONFIG_TYPE_LISTEN_PORT:
        return set_listen_port(build, rank, place, text);
    case CONFIG_TYPE_REDIS_ADDR:
        return set_redis_addr(build, rank, place, text);
    case CONFIG_TYPE_REDIS_URL:
        return set_redis_url(build, rank, place, text);
    default:
        return false;
    }
}

bool config_build_injected(struct config_build *build, const struct config_option *option,
    uint32_t rank, struct config_place place, struct span text)
{
    struct span host = {0};
    uint16_t port = 0;
    if (!take_prefix(&text, "tcp://") || config_parse_host_port(text, &host, &port) < 0) {
        return false;
    }
    if (option->type == CONFIG_TYPE_LISTEN_PORT) {
        if (!place.contract) {
            config_notice(build, place.text,
                "tcp://%.*s is what Kubernetes injects for a service named fanout; ignored",
                (int)text.len, text.data);
            return true;
        }
        const uint8_t *colon = memrchr(text.data, ':', text.len);
        return put_text(
            build, "listen", rank, place, span_of(colon, text.len - (size_t)(colon - text.data)));
    }
    if (option->type == CONFIG_TYPE_LISTENS) {
        return put_text(build, "listen", rank, place, text);
    }
    bool is_redis = option->type == CONFIG_TYPE_REDIS_ADDR ||
                    strcmp(option->key, "redis.host") == 0 ||
                    strcmp(option->key, "redis.port") == 0;
    return is_redis && port != 0 && set_redis_addr(build, RANK_INJECTED, place, text);
}
