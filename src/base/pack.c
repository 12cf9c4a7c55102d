#include "base/pack.h"

#include <errno.h>

static void pack_number(struct pack *pack, uint64_t value, size_t len)
{
    uint8_t raw[8];

    for (size_t i = 0; i < len; i++) {
        raw[i] = (uint8_t)(value >> 8 * i);
    }
    if (!pack->err) {
        pack->err = bytes_append(pack->out, raw, len);
    }
}

void pack_u8(struct pack *pack, uint8_t value)
{
    pack_number(pack, value, 1);
}

void pack_u16(struct pack *pack, uint16_t value)
{
    pack_number(pack, value, 2);
}

void pack_u32(struct pack *pack, uint32_t value)
{
    pack_number(pack, value, 4);
}

void pack_u64(struct pack *pack, uint64_t value)
{
    pack_number(pack, value, 8);
}

void pack_span(struct pack *pack, struct span span)
{
    if (span.len > UINT32_MAX) {
        pack->err = pack->err ? pack->err : -ENOMEM;
        return;
    }
    pack_u32(pack, (uint32_t)span.len);
    if (!pack->err && span.len) {
        pack->err = bytes_append(pack->out, span.data, span.len);
    }
}

size_t pack_begin(struct pack *pack)
{
    pack_u32(pack, 0);
    return pack->out->len;
}

void pack_end(struct pack *pack, size_t mark)
{
    size_t len = pack->out->len - mark;

    if (!pack->err && len > UINT32_MAX) {
        pack->err = -ENOMEM;
    }
    for (size_t i = 0; i < 4 && !pack->err; i++) {
        pack->out->data[mark - 4 + i] = (uint8_t)(len >> 8 * i);
    }
}

static uint64_t unpack_number(struct unpack *in, size_t len)
{
    uint64_t value = 0;

    if (in->failed || in->rest.len < len) {
        in->failed = true;
        return 0;
    }
    for (size_t i = 0; i < len; i++) {
        value |= (uint64_t)in->rest.data[i] << 8 * i;
    }
    in->rest = span_of(in->rest.data + len, in->rest.len - len);
    return value;
}

uint8_t unpack_u8(struct unpack *in)
{
    return (uint8_t)unpack_number(in, 1);
}

uint16_t unpack_u16(struct unpack *in)
{
    return (uint16_t)unpack_number(in, 2);
}

uint32_t unpack_u32(struct unpack *in)
{
    return (uint32_t)unpack_number(in, 4);
}

uint64_t unpack_u64(struct unpack *in)
{
    return unpack_number(in, 8);
}

struct span unpack_span(struct unpack *in)
{
    uint32_t len = unpack_u32(in);

    if (in->failed || in->rest.len < len) {
        in->failed = true;
        return span_of(in->rest.data, 0);
    }
    struct span span = span_of(in->rest.data, len);
    in->rest = span_of(in->rest.data + len, in->rest.len - len);
    return span;
}

uint32_t unpack_count(struct unpack *in, size_t each_min)
{
    uint32_t count = unpack_u32(in);

    if (in->failed || count > in->rest.len / each_min) {
        in->failed = true;
        return 0;
    }
    return count;
}

void unpack_fail(struct unpack *in)
{
    in->failed = true;
}

int unpack_error(const struct unpack *in)
{
    return in->failed ? -EBADMSG : 0;
}
