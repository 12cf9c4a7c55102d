/* Numbers, sizes, durations and addresses as people write them. */
#include "ctl/config_value.h"

#include <arpa/inet.h>
#include <errno.h>
#include <strings.h>

#include "base/mem.h"

struct unit {
    const char *name;
    uint64_t factor;
};

/* k is 1024, as in every server people configure; KB would be read either way, so it is refused. */
static const struct unit size_units[] = {{"", 1}, {"b", 1}, {"k", 1ull << 10}, {"kib", 1ull << 10},
    {"m", 1ull << 20}, {"mib", 1ull << 20}, {"g", 1ull << 30}, {"gib", 1ull << 30},
    {"t", 1ull << 40}, {"tib", 1ull << 40}};

static const struct unit duration_units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};

static size_t take_digits(struct span text, uint64_t *ret_value)
{
    uint64_t value = 0;
    size_t i = 0;
    for (; i < text.len && text.data[i] >= '0' && text.data[i] <= '9'; i++) {
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, text.data[i] - '0', &value)) {
            return 0;
        }
    }
    *ret_value = value;
    return i;
}

int config_parse_uint(struct span text, uint64_t *ret_value)
{
    uint64_t value = 0;
    size_t used = take_digits(text, &value);
    if (used == 0 || used != text.len) {
        return -EINVAL;
    }
    *ret_value = value;
    return 0;
}

static int parse_with_unit(
    struct span text, const struct unit *units, size_t unit_count, uint64_t *ret_value)
{
    uint64_t value = 0;
    size_t used = take_digits(text, &value);
    if (used == 0) {
        return -EINVAL;
    }
    while (used < text.len && text.data[used] == ' ') {
        used += 1;
    }
    struct span rest = span_of(text.data + used, text.len - used);
    for (size_t i = 0; i < unit_count; i++) {
        if (span_equal_nocase(rest, span_str(units[i].name))) {
            if (__builtin_mul_overflow(value, units[i].factor, &value)) {
                return -EINVAL;
            }
            *ret_value = value;
            return 0;
        }
    }
    return -EINVAL;
}

int config_parse_size(struct span text, uint64_t *ret_bytes)
{
    return parse_with_unit(text, size_units, COUNT_OF(size_units), ret_bytes);
}

int config_parse_duration(struct span text, uint64_t *ret_ms)
{
    if (span_equal(text, span_str("0"))) {
        *ret_ms = 0;
        return 0;
    }
    return parse_with_unit(text, duration_units, COUNT_OF(duration_units), ret_ms);
}

/* A name or an IPv4 address: what can stand before a port without brackets. */
static bool is_host(struct span host)
{
    for (size_t i = 0; i < host.len; i++) {
        if (host.data[i] <= ' ' || host.data[i] == 0x7f || strchr(":/[]@,;", host.data[i])) {
            return false;
        }
    }
    return host.len <= 255;
}

static bool is_v6(struct span host)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char address[16];
    /* A zone, as in fe80::1%eth0, is for the resolver to judge. */
    const uint8_t *zone = memchr(host.data, '%', host.len);
    size_t len = zone ? (size_t)(zone - host.data) : host.len;
    if (len >= sizeof text || host.len > 255 || memchr(host.data, '\0', host.len)) {
        return false;
    }
    memcpy(text, host.data, len);
    text[len] = '\0';
    return inet_pton(AF_INET6, text, address) == 1;
}

int config_parse_host_port(struct span text, struct span *ret_host, uint16_t *ret_port)
{
    const uint8_t *colon = text.len ? memrchr(text.data, ':', text.len) : NULL;
    if (!colon) {
        return -EINVAL;
    }
    struct span host = span_of(text.data, (size_t)(colon - text.data));
    struct span port_text = span_of(colon + 1, text.len - host.len - 1);
    uint64_t port = 0;
    if (config_parse_uint(port_text, &port) < 0 || port > UINT16_MAX) {
        return -EINVAL;
    }
    if (host.len >= 2 && host.data[0] == '[' && host.data[host.len - 1] == ']') {
        host = span_of(host.data + 1, host.len - 2);
        if (!is_v6(host)) {
            return -EINVAL;
        }
    } else if (!is_host(host)) {
        return -EINVAL;
    }
    *ret_host = host;
    *ret_port = (uint16_t)port;
    return 0;
}

char *config_copy_text(struct span text)
{
    char *copy = mem_try_alloc(text.len + 1);
    if (copy) {
        if (text.len > 0) {
            memcpy(copy, text.data, text.len);
        }
        copy[text.len] = '\0';
    }
    return copy;
}
