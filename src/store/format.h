/* Format: the bytes on disk, version 1. Pure; what comes from a disk is foreign.
 *
 * The file is an LMDB environment with these tables; numbers in keys are big-endian, so that they
 * sort, numbers in values little-endian. Every value carries a CRC-32 over its key and itself.
 *
 *   meta      "fanout"                              struct format_meta
 *   channels  name                                  struct format_channel
 *   records   channel id (8), offset (8)            struct format_record, payload
 *             channel id (8), offset (8), part (2)  more of the payload
 *   recent    minute of last write (4), id (8)      name
 *   once      expiry (8), idempotency key (16)      struct format_once
 *
 * Each record names the one before it, so a page that a damaged tree no longer leads to is noticed.
 * A payload is cut into parts so that no value needs two pages in a row: a file full of small holes
 * can always be written to.
 */
#ifndef STORE_FORMAT_H
#define STORE_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"

enum {
    FORMAT_VERSION = 1,
    FORMAT_META_LEN = 72,
    FORMAT_CHANNEL_LEN = 88,
    FORMAT_RECORD_HEAD_LEN = 32,
    FORMAT_RECORD_KEY_LEN = 16,
    FORMAT_PART_KEY_LEN = 18,
    FORMAT_RECENT_KEY_LEN = 12,
    FORMAT_ONCE_KEY_LEN = 24,
    FORMAT_ONCE_LEN = 28,
    FORMAT_PARTS_MAX = 65535,
};

struct format_meta {
    uint32_t version;
    uint32_t generation;       /* Of the present opening. */
    uint32_t epoch_generation; /* The first of the present serial. */
    uint32_t serial;
    uint64_t store_id;
    uint64_t secret[2];
    uint64_t next_channel_id;
    uint64_t known_from; /* The highest offset of a channel whose row was forgotten. */
};

struct format_channel {
    uint64_t id;
    uint64_t first;      /* Oldest record; 0: none. */
    uint64_t last;       /* The highest offset that was ever written or cleared. */
    uint64_t newest;     /* Newest record. */
    uint64_t boundary;   /* Up to here nothing is shown; it may still be there. */
    uint64_t known_from; /* The meta's, when this row was made. */
    uint64_t count;      /* Records. */
    uint64_t bytes;      /* Values of the records. */
    uint64_t first_ms;   /* When the oldest record was written. */
    uint64_t age_ms;     /* As last told; 0: no bound. */
    uint32_t minute;     /* Of the last write, since 1970; names its row in `recent`. */
};

struct format_record {
    uint32_t crc; /* Of the key, of what stands behind it, and of all parts. */
    uint8_t flags;
    uint32_t key; /* Conflation key's hash. */
    uint32_t payload_len;
    uint64_t time_ms;
    uint64_t before; /* The record before it when it was written; 0: none. */
};

struct format_once {
    uint64_t channel; /* The channel name's hash. */
    uint64_t epoch;
    uint64_t offset;
};

/* Each decode returns 0 or -EBADMSG (damaged); format_decode_meta() also -EPROTONOSUPPORT, with
 * version filled in, when a newer fanout wrote it. */
void format_encode_meta(const struct format_meta *meta, uint8_t out[FORMAT_META_LEN]);
MUST_USE int format_decode_meta(struct span in, struct format_meta *ret_meta);

void format_encode_channel(
    const struct format_channel *row, struct span name, uint8_t out[FORMAT_CHANNEL_LEN]);
MUST_USE int format_decode_channel(
    struct span in, struct span name, struct format_channel *ret_row);

void format_record_key(uint64_t id, uint64_t offset, uint8_t out[FORMAT_RECORD_KEY_LEN]);
void format_part_key(uint64_t id, uint64_t offset, uint16_t part, uint8_t out[FORMAT_PART_KEY_LEN]);

struct format_record_key {
    uint64_t id, offset;
    uint32_t part; /* 0: the first. */
};

MUST_USE int format_decode_record_key(struct span in, struct format_record_key *ret_key);

/* Writes the head, with its checksum over the key and the payload. */
void format_encode_record(struct format_record *record, uint64_t id, uint64_t offset,
    const void *payload, uint8_t out[FORMAT_RECORD_HEAD_LEN]);

/* The head alone; *ret_rest is what follows it in the first part (at most payload_len bytes). */
MUST_USE int format_decode_record(
    struct span in, struct format_record *ret_record, struct span *ret_rest);

/* Is this the record's payload (payload_len bytes), under this key? 0 or -EBADMSG. */
MUST_USE int format_check_record(
    const struct format_record *record, uint64_t id, uint64_t offset, const void *payload);

void format_recent_key(uint32_t minute, uint64_t id, uint8_t out[FORMAT_RECENT_KEY_LEN]);

void format_once_key(uint64_t expiry_ms, const uint64_t key[2], uint8_t out[FORMAT_ONCE_KEY_LEN]);
MUST_USE int format_decode_once_key(struct span in, uint64_t *ret_expiry_ms, uint64_t ret_key[2]);

/* key: the row's own, FORMAT_ONCE_KEY_LEN bytes. */
void format_encode_once(
    const struct format_once *once, struct span key, uint8_t out[FORMAT_ONCE_LEN]);
MUST_USE int format_decode_once(struct span in, struct span key, struct format_once *ret_once);

#endif
