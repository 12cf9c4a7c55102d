#include "rt/egress.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* A network, and what is in it. Bytes of an address, network order. */
struct block {
    uint8_t bytes[16];
    uint8_t bits;
    uint8_t scope;
    const char *word;
};

/* The first row that fits decides. From the registries of special addresses (RFC 6890), and the
 * addresses where clouds answer what only the machine itself should hear. */
static const struct block blocks4[] = {
    {{168, 63, 129, 16}, 32, EGRESS_SPECIAL, "a metadata service's"},
    {{100, 100, 100, 200}, 32, EGRESS_SPECIAL, "a metadata service's"},
    {{169, 254, 169, 254}, 32, EGRESS_SPECIAL, "a metadata service's"},
    {{169, 254}, 16, EGRESS_SPECIAL, "link-local"},
    {{127}, 8, EGRESS_PRIVATE, "private"},
    {{10}, 8, EGRESS_PRIVATE, "private"},
    {{172, 16}, 12, EGRESS_PRIVATE, "private"},
    {{192, 168}, 16, EGRESS_PRIVATE, "private"},
    {{100, 64}, 10, EGRESS_PRIVATE, "private"},
    /* Connecting to 0.0.0.0 is connecting to this machine; the rest of the block leads nowhere. */
    {{0, 0, 0, 0}, 32, EGRESS_PRIVATE, "private"},
    {{0}, 8, EGRESS_SPECIAL, "reserved"},
    {{192, 0, 0}, 24, EGRESS_SPECIAL, "reserved"},
    {{192, 0, 2}, 24, EGRESS_SPECIAL, "reserved"},
    {{198, 18}, 15, EGRESS_SPECIAL, "reserved"},
    {{198, 51, 100}, 24, EGRESS_SPECIAL, "reserved"},
    {{203, 0, 113}, 24, EGRESS_SPECIAL, "reserved"},
    {{224}, 4, EGRESS_SPECIAL, "multicast"},
    {{240}, 4, EGRESS_SPECIAL, "reserved"},
};

static const struct block blocks6[] = {
    {{0xfd, 0x00, 0x0e, 0xc2, [15] = 0x54, [14] = 0x02}, 128, EGRESS_SPECIAL,
        "a metadata service's"},
    {{[15] = 1}, 128, EGRESS_PRIVATE, "private"},
    {{0}, 128, EGRESS_PRIVATE, "private"}, /* As 0.0.0.0. */
    {{0xfc}, 7, EGRESS_PRIVATE, "private"},
    {{0xfe, 0x80}, 10, EGRESS_SPECIAL, "link-local"},
    {{0xff}, 8, EGRESS_SPECIAL, "multicast"},
    /* Teredo tunnels hide an IPv4 address and a NAT's; nobody needs them. */
    {{0x20, 0x01}, 32, EGRESS_SPECIAL, "reserved"},
    {{0x20, 0x01, 0x0d, 0xb8}, 32, EGRESS_SPECIAL, "reserved"},
    /* Only 2000::/3 is given out as unicast. */
    {{0x20}, 3, EGRESS_PUBLIC, "public"},
    {{0}, 0, EGRESS_SPECIAL, "reserved"},
};

/* Where IPv6 carries IPv4: the prefix, and the byte at which the IPv4 address begins. */
static const struct {
    uint8_t bytes[12];
    uint8_t bits, at;
} carriers[] = {
    {{[10] = 0xff, [11] = 0xff}, 96, 12}, /* Mapped, RFC 4291. */
    {{0}, 96, 12},                        /* Compatible, RFC 4291; ::1 and :: come before. */
    {{0x00, 0x64, 0xff, 0x9b}, 96, 12},   /* NAT64, RFC 6052. */
    {{[8] = 0xff, [9] = 0xff}, 96, 12},   /* Translated, RFC 2765. */
    {{0x20, 0x02}, 16, 2},                /* 6to4, RFC 3056. */
};

static bool within(const uint8_t *address, const uint8_t *network, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;

    return memcmp(address, network, whole) == 0 &&
           (rest == 0 || (address[whole] ^ network[whole]) >> (8 - rest) == 0);
}

static const struct block *find(
    const uint8_t *address, const struct block *blocks, size_t block_count)
{
    for (size_t i = 0; i < block_count; i++) {
        if (within(address, blocks[i].bytes, blocks[i].bits)) {
            return &blocks[i];
        }
    }
    static const struct block open = {.scope = EGRESS_PUBLIC, .word = "public"};
    return &open;
}

static const struct block *find6(const uint8_t *address)
{
    const struct block *block = find(address, blocks6, COUNT_OF(blocks6));

    if (block->bits == 128) {
        return block;
    }
    for (size_t i = 0; i < COUNT_OF(carriers); i++) {
        if (within(address, carriers[i].bytes, carriers[i].bits)) {
            return find(address + carriers[i].at, blocks4, COUNT_OF(blocks4));
        }
    }
    return block;
}

static const struct block *judge(const struct sockaddr *addr)
{
    static const struct block none = {.scope = EGRESS_SPECIAL, .word = "no internet address"};

    if (addr->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)addr;
        return find((const uint8_t *)&v4->sin_addr, blocks4, COUNT_OF(blocks4));
    }
    if (addr->sa_family == AF_INET6) {
        return find6(((const struct sockaddr_in6 *)addr)->sin6_addr.s6_addr);
    }
    return &none;
}

enum egress_scope egress_scope(const struct sockaddr *addr)
{
    return judge(addr)->scope;
}

const char *egress_scope_word(const struct sockaddr *addr)
{
    return judge(addr)->word;
}

void egress_text(const struct sockaddr *addr, char ret_text[EGRESS_TEXT_MAX])
{
    const void *bytes = addr->sa_family == AF_INET
                            ? (const void *)&((const struct sockaddr_in *)addr)->sin_addr
                            : (const void *)&((const struct sockaddr_in6 *)addr)->sin6_addr;

    if ((addr->sa_family != AF_INET && addr->sa_family != AF_INET6) ||
        !inet_ntop(addr->sa_family, bytes, ret_text, EGRESS_TEXT_MAX)) {
        snprintf(ret_text, EGRESS_TEXT_MAX, "?");
    }
}

int egress_socket(const struct sockaddr *addr)
{
    int one = 1;
    int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return -errno;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* Slower without, no more. */
    return fd;
}
