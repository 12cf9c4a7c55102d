/* Keyed hashing for tables whose keys a peer chooses (SipHash-1-3, Aumasson and Bernstein 2012).
 *
 * The key is drawn once per process, so nobody outside can aim many names at one slot.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

struct hash_key {
    uint64_t k0, k1;
};

uint64_t hash_bytes(const struct hash_key *key, const void *data, size_t len);

#endif
