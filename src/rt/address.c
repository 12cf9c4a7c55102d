#include "rt/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

static int parse_port(const char *text, unsigned short *ret_port)
{
    unsigned value = 0;

    if (!*text) {
        return -EINVAL;
    }
    for (; *text; text++) {
        if (*text < '0' || *text > '9') {
            return -EINVAL;
        }
        value = value * 10 + (unsigned)(*text - '0');
        if (value > UINT16_MAX) {
            return -EINVAL;
        }
    }
    *ret_port = (unsigned short)value;
    return 0;
}

int address_split(const char *text, struct address_text *ret_parts)
{
    struct address_text parts = {0};
    const char *host = text;
    const char *host_end;
    const char *colon;

    if (strncmp(text, "unix:", 5) == 0) {
        parts.is_unix = true;
        parts.path = text + 5;
        if (!*parts.path) {
            return -EINVAL;
        }
        *ret_parts = parts;
        return 0;
    }
    if (*text == '[') {
        host = text + 1;
        host_end = strchr(host, ']');
        if (!host_end || host_end[1] != ':') {
            return -EINVAL;
        }
        colon = host_end + 1;
    } else {
        colon = strchr(text, ':');
        if (!colon || strchr(colon + 1, ':')) {
            return -EINVAL; /* No port, or a v6 address that needs brackets. */
        }
        host_end = colon;
    }
    size_t host_len = (size_t)(host_end - host);
    if (host_len > ADDRESS_HOST_MAX || (*text == '[' && host_len == 0)) {
        return -EINVAL;
    }
    memcpy(parts.host, host, host_len);
    int r = parse_port(colon + 1, &parts.port);
    if (r < 0) {
        return r;
    }
    *ret_parts = parts;
    return 0;
}

int address_parse_host(
    const char *host, unsigned short port, struct sockaddr_storage *ret_addr, socklen_t *ret_len)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

    if (strcmp(host, "localhost") == 0) {
        host = "127.0.0.1";
    }
    memset(ret_addr, 0, sizeof(*ret_addr));
    if (inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
        memcpy(ret_addr, &v4, sizeof(v4));
        *ret_len = sizeof(v4);
        return 0;
    }
    if (inet_pton(AF_INET6, host, &v6.sin6_addr) == 1) {
        memcpy(ret_addr, &v6, sizeof(v6));
        *ret_len = sizeof(v6);
        return 0;
    }
    return -EINVAL;
}

int address_parse(
    const char *text, bool passive, struct sockaddr_storage *ret_addr, socklen_t *ret_len)
{
    struct address_text parts;
    int r = address_split(text, &parts);

    if (r < 0) {
        return r;
    }
    if (parts.is_unix) {
        struct sockaddr_un un = {.sun_family = AF_UNIX};
        size_t path_len = strlen(parts.path);
        if (path_len >= sizeof(un.sun_path)) {
            return -ENAMETOOLONG;
        }
        memcpy(un.sun_path, parts.path, path_len + 1);
        memset(ret_addr, 0, sizeof(*ret_addr));
        memcpy(ret_addr, &un, sizeof(un));
        *ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path_len + 1);
        return 0;
    }
    const char *host = parts.host;
    if (!*host) {
        host = passive ? "::" : "localhost";
    }
    return address_parse_host(host, parts.port, ret_addr, ret_len);
}

int address_known(const char *text, char ret_texts[2][ADDRESS_TEXT_MAX])
{
    struct address_text parts;
    struct sockaddr_storage addr;
    socklen_t addr_len;

    int r = address_split(text, &parts);
    if (r < 0) {
        return r;
    }
    if (parts.is_unix) {
        r = address_parse(text, false, &addr, &addr_len);
        if (r < 0) {
            return -EINVAL;
        }
        snprintf(ret_texts[0], ADDRESS_TEXT_MAX, "%s", text);
        return 1;
    }
    if (!*parts.host || strcmp(parts.host, "localhost") == 0) {
        snprintf(ret_texts[0], ADDRESS_TEXT_MAX, "127.0.0.1:%u", parts.port);
        snprintf(ret_texts[1], ADDRESS_TEXT_MAX, "[::1]:%u", parts.port);
        return 2;
    }
    if (address_parse_host(parts.host, parts.port, &addr, &addr_len) < 0) {
        return 0;
    }
    address_format(&addr, ret_texts[0], ADDRESS_TEXT_MAX);
    return 1;
}

void address_format(const struct sockaddr_storage *addr, char *ret_name, size_t cap)
{
    char host[INET6_ADDRSTRLEN] = "?";

    if (addr->ss_family == AF_UNIX) {
        snprintf(ret_name, cap, "unix");
        return;
    }
    if (addr->ss_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, addr, sizeof(v4));
        inet_ntop(AF_INET, &v4.sin_addr, host, sizeof(host));
        snprintf(ret_name, cap, "%s:%u", host, ntohs(v4.sin_port));
        return;
    }
    if (addr->ss_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, addr, sizeof(v6));
        if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
            inet_ntop(AF_INET, v6.sin6_addr.s6_addr + 12, host, sizeof(host));
            snprintf(ret_name, cap, "%s:%u", host, ntohs(v6.sin6_port));
            return;
        }
        inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof(host));
        snprintf(ret_name, cap, "[%s]:%u", host, ntohs(v6.sin6_port));
        return;
    }
    snprintf(ret_name, cap, "?");
}
