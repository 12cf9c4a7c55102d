#include "proto/ws_deflate.h"

#include <errno.h>

#include <zlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "proto/ws.h"

static const uint8_t tail[4] = {0x00, 0x00, 0xff, 0xff};

struct ws_deflater {
    z_stream z;
};

struct ws_inflater {
    z_stream z;
};

static void *zlib_alloc(void *unused, unsigned count, unsigned size)
{
    (void)unused;
    return mem_try_alloc((size_t)count * size);
}

static void zlib_free(void *unused, void *ptr)
{
    (void)unused;
    mem_free(ptr);
}

int ws_deflater_create(int level, int window_bits, struct ws_deflater **ret_deflater)
{
    if (level < 1 || level > 9 || window_bits < 9 || window_bits > 15) {
        return -EINVAL;
    }
    struct ws_deflater *deflater = mem_try_alloc(sizeof *deflater);
    if (!deflater) {
        return -ENOMEM;
    }
    deflater->z = (z_stream){.zalloc = zlib_alloc, .zfree = zlib_free};
    /* The hash may be small where the window is: messages of a few KiB gain nothing from more. */
    int mem_level = window_bits >= 15 ? 8 : window_bits - 7 < 1 ? 1 : window_bits - 7;
    if (deflateInit2(
            &deflater->z, level, Z_DEFLATED, -window_bits, mem_level, Z_DEFAULT_STRATEGY) != Z_OK) {
        mem_free(deflater);
        return -ENOMEM;
    }
    *ret_deflater = deflater;
    return 0;
}

void ws_deflater_destroy(struct ws_deflater *deflater)
{
    if (deflater) {
        deflateEnd(&deflater->z);
        mem_free(deflater);
    }
}

/* zlib counts in 32 bits; what lies beyond waits for the next call. */
static unsigned at_most_uint(size_t len)
{
    return len > UINT32_MAX / 2 ? UINT32_MAX / 2 : (unsigned)len;
}

int ws_deflate_message(struct ws_deflater *deflater, struct span message, struct bytes *out)
{
    z_stream *z = &deflater->z;
    size_t before = out->len;

    if (message.len == 0) {
        return bytes_append_byte(out, 0x00); /* An empty stored block (RFC 7692, 7.2.3.6). */
    }
    deflateReset(z);
    size_t left = message.len;
    z->next_in = (uint8_t *)(uintptr_t)message.data; /* zlib only reads it. */
    if (bytes_reserve(out, deflateBound(z, message.len) + sizeof tail)) {
        return -ENOMEM;
    }
    do {
        z->avail_in = at_most_uint(left);
        left -= z->avail_in;
        do {
            if (bytes_reserve(out, sizeof tail + 16)) {
                out->len = before;
                return -ENOMEM;
            }
            unsigned room = at_most_uint(out->cap - out->len);
            z->next_out = out->data + out->len;
            z->avail_out = room;
            deflate(z, left > 0 ? Z_NO_FLUSH : Z_SYNC_FLUSH);
            out->len += room - z->avail_out;
        } while (z->avail_out == 0);
    } while (left > 0);
    CHECK(out->len - before > sizeof tail &&
          memcmp(out->data + out->len - sizeof tail, tail, sizeof tail) == 0);
    out->len -= sizeof tail;
    return 0;
}

int ws_inflater_create(struct ws_inflater **ret_inflater)
{
    struct ws_inflater *inflater = mem_try_alloc(sizeof *inflater);

    if (!inflater) {
        return -ENOMEM;
    }
    inflater->z = (z_stream){.zalloc = zlib_alloc, .zfree = zlib_free};
    if (inflateInit2(&inflater->z, -15) != Z_OK) {
        mem_free(inflater);
        return -ENOMEM;
    }
    *ret_inflater = inflater;
    return 0;
}

void ws_inflater_destroy(struct ws_inflater *inflater)
{
    if (inflater) {
        inflateEnd(&inflater->z);
        mem_free(inflater);
    }
}

/* Inflates all of z's input. limit: the length that out may reach. */
static int inflate_input(z_stream *z, size_t limit, struct bytes *out)
{
    for (;;) {
        uint8_t beyond; /* A byte that lands here is one too many. */
        size_t room = limit - out->len;
        if (room > 0) {
            size_t step = room < 1024 ? room : 1024;
            if (bytes_reserve(out, step)) {
                return -WS_CODE_INTERNAL;
            }
            room = out->cap - out->len < room ? out->cap - out->len : room;
        }
        unsigned offered = room > 0 ? at_most_uint(room) : 1;
        z->next_out = room > 0 ? out->data + out->len : &beyond;
        z->avail_out = offered;
        int got = inflate(z, Z_SYNC_FLUSH);
        if (room == 0 && z->avail_out == 0) {
            return -WS_CODE_TOO_LARGE;
        }
        if (room > 0) {
            out->len += offered - z->avail_out;
        }
        if (got == Z_STREAM_END) {
            /* A final block ends a stream, not the message (RFC 7692, 7.2.3.5). */
            inflateReset(z);
            if (z->avail_in == 0) {
                return 0;
            }
        } else if (got == Z_MEM_ERROR) {
            return -WS_CODE_INTERNAL;
        } else if (got != Z_OK && got != Z_BUF_ERROR) {
            return -WS_CODE_BAD_DATA;
        } else if (z->avail_in == 0 && z->avail_out > 0) {
            return 0;
        }
    }
}

int ws_inflate_message(
    struct ws_inflater *inflater, struct span payload, size_t bytes_max, struct bytes *out)
{
    z_stream *z = &inflater->z;
    size_t before = out->len;
    size_t limit;
    int err = 0;

    if (payload.len == 0) {
        return 0; /* Not deflate to the letter, but it can mean only one thing. */
    }
    if (__builtin_add_overflow(before, bytes_max, &limit)) {
        limit = SIZE_MAX;
    }
    inflateReset(z);
    z->next_in = (uint8_t *)(uintptr_t)payload.data; /* zlib only reads it. */
    for (size_t left = payload.len; !err && left > 0;) {
        z->avail_in = at_most_uint(left);
        left -= z->avail_in;
        err = inflate_input(z, limit, out);
    }
    if (!err) {
        z->next_in = (uint8_t *)(uintptr_t)tail;
        z->avail_in = sizeof tail;
        err = inflate_input(z, limit, out);
    }
    /* 128: between two blocks, where the sync flush must have led. */
    if (!err && !(z->data_type & 128)) {
        err = -WS_CODE_BAD_DATA;
    }
    if (err) {
        out->len = before;
    }
    return err;
}
