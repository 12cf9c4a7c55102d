#include "base/sha1.h"

#include <string.h>

enum { BLOCK_BYTES = 64 };

static inline uint32_t rotate(uint32_t x, int bits)
{
    return x << bits | x >> (32 - bits);
}

static uint32_t load_be32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline void round_of(uint32_t s[5], uint32_t mix, uint32_t add)
{
    uint32_t next = rotate(s[0], 5) + mix + s[4] + add;

    s[4] = s[3];
    s[3] = s[2];
    s[2] = rotate(s[1], 30);
    s[1] = s[0];
    s[0] = next;
}

static void block(uint32_t hash[5], const uint8_t *data)
{
    uint32_t word[80];

    for (int i = 0; i < 16; i++) {
        word[i] = load_be32(data + 4 * i);
    }
    for (int i = 16; i < 80; i++) {
        word[i] = rotate(word[i - 3] ^ word[i - 8] ^ word[i - 14] ^ word[i - 16], 1);
    }
    uint32_t s[5];
    memcpy(s, hash, sizeof s);
    for (int i = 0; i < 20; i++) {
        round_of(s, (s[1] & s[2]) | (~s[1] & s[3]), 0x5a827999 + word[i]);
    }
    for (int i = 20; i < 40; i++) {
        round_of(s, s[1] ^ s[2] ^ s[3], 0x6ed9eba1 + word[i]);
    }
    for (int i = 40; i < 60; i++) {
        round_of(s, (s[1] & s[2]) | (s[1] & s[3]) | (s[2] & s[3]), 0x8f1bbcdc + word[i]);
    }
    for (int i = 60; i < 80; i++) {
        round_of(s, s[1] ^ s[2] ^ s[3], 0xca62c1d6 + word[i]);
    }
    for (int i = 0; i < 5; i++) {
        hash[i] += s[i];
    }
}

void sha1(const void *data, size_t len, uint8_t out[SHA1_BYTES])
{
    uint32_t hash[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    const uint8_t *at = data;
    size_t left = len;

    for (; left >= BLOCK_BYTES; left -= BLOCK_BYTES, at += BLOCK_BYTES) {
        block(hash, at);
    }
    /* What is left, the end mark, and the length in bits fill one last block or two. */
    uint8_t last[2 * BLOCK_BYTES] = {0};
    if (left > 0) {
        memcpy(last, at, left);
    }
    last[left] = 0x80;
    size_t size = left + 9 <= BLOCK_BYTES ? BLOCK_BYTES : 2 * BLOCK_BYTES;
    uint64_t bits = (uint64_t)len * 8;
    for (int i = 0; i < 8; i++) {
        last[size - 1 - (size_t)i] = (uint8_t)(bits >> (8 * i));
    }
    for (size_t i = 0; i < size; i += BLOCK_BYTES) {
        block(hash, last + i);
    }
    for (int i = 0; i < SHA1_BYTES; i++) {
        out[i] = (uint8_t)(hash[i / 4] >> (24 - 8 * (i % 4)));
    }
}
