/* The words of a fault: what was found, quoted, and what would have been right. */
#include "ctl/config_value.h"

#include "base/check.h"

enum { QUOTE_MAX = 60 };

size_t config_utf8_len(struct span text)
{
    if (text.len == 0) {
        return 0;
    }
    uint8_t first = text.data[0];
    size_t len = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (len == 0 || len > text.len || first > 0xf4) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((text.data[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    /* Longer than needed, a surrogate, or past the last code point. */
    bool odd = (first == 0xe0 && text.data[1] < 0xa0) || (first == 0xed && text.data[1] > 0x9f) ||
               (first == 0xf0 && text.data[1] < 0x90) || (first == 0xf4 && text.data[1] > 0x8f);
    return odd ? 0 : len;
}

int config_quote(struct span text, struct bytes *out)
{
    int err = bytes_append_byte(out, '"');
    size_t i = 0;
    while (err == 0 && i < text.len && i < QUOTE_MAX) {
        size_t len = config_utf8_len(span_of(text.data + i, text.len - i));
        uint8_t c = text.data[i];
        if (len == 0 || c < ' ' || c == 0x7f) {
            err = bytes_appendf(out, "\\x%02x", c);
            len = 1;
        } else if (c == '"' || c == '\\') {
            err = bytes_appendf(out, "\\%c", c);
        } else {
            err = bytes_append(out, text.data + i, len);
        }
        i += len;
    }
    return err < 0 ? err : bytes_append_str(out, i < text.len ? "…\"" : "\"");
}

static int expect_number(const struct config_option *option, const char *noun, struct bytes *out)
{
    uint64_t max = option->max;
    if (option->type == CONFIG_TYPE_INT && max == 0) {
        max = UINT32_MAX;
    }
    /* Bounds are written as the value would be. */
    struct config_option plain = {.type = CONFIG_TYPE_SIZE};
    plain.type = option->type == CONFIG_TYPE_DURATION ? CONFIG_TYPE_DURATION : CONFIG_TYPE_SIZE;
    int err = bytes_append_str(out, noun);
    if (option->type == CONFIG_TYPE_INT) {
        return err < 0 ? err
                       : bytes_appendf(out, " from %llu to %llu", (unsigned long long)option->min,
                             (unsigned long long)max);
    }
    if (err == 0) {
        err = bytes_append_str(out, " from ");
    }
    if (err == 0) {
        err = config_value_format(&plain, &option->min, out);
    }
    if (err == 0 && max != 0) {
        err = bytes_append_str(out, " to ");
    }
    if (err == 0 && max != 0) {
        err = config_value_format(&plain, &max, out);
    }
    return err < 0 ? err : bytes_appendf(out, ", e.g. %s", option->preset);
}

static int expect_choice(const struct config_option *option, struct bytes *out)
{
    int err = 0;
    for (size_t i = 0; err == 0 && i < CONFIG_CHOICE_MAX && option->choices[i]; i++) {
        bool last = i + 1 == CONFIG_CHOICE_MAX || !option->choices[i + 1];
        err = bytes_appendf(out, "%s%s", i == 0 ? "" : last ? " or " : ", ", option->choices[i]);
    }
    return err;
}

int config_value_expected(const struct config_option *option, struct bytes *out)
{
    switch (option->type) {
    case CONFIG_TYPE_BOOL:
        return bytes_append_str(out, "true or false");
    case CONFIG_TYPE_INT:
        return expect_number(option, "a whole number", out);
    case CONFIG_TYPE_SIZE:
        return expect_number(option, "a size", out);
    case CONFIG_TYPE_DURATION:
        return expect_number(option, "a duration", out);
    case CONFIG_TYPE_STRING:
    case CONFIG_TYPE_SECRET:
        return bytes_append_str(out, "text without control characters");
    case CONFIG_TYPE_ENUM:
        return expect_choice(option, out);
    case CONFIG_TYPE_LISTENS:
        return bytes_append_str(out, "host:port, :port, [v6]:port or unix:/path");
    case CONFIG_TYPE_MAPPINGS:
        return bytes_append_str(out, "pattern=channel with at most one * and a namespace before "
                                     "the first colon of the channel, e.g. orders:*=orders:{1}");
    case CONFIG_TYPE_NAMESPACES:
        return bytes_append_str(
            out, "name:key=value,…, e.g. room:policy=drop_newest,outbox_messages=64");
    case CONFIG_TYPE_LISTEN_PORT:
        return bytes_append_str(out, "a port from 0 to 65535");
    case CONFIG_TYPE_REDIS_ADDR:
        return bytes_append_str(out, "host:port, e.g. localhost:6379");
    case CONFIG_TYPE_REDIS_URL:
        return bytes_append_str(out, "redis://[user:password@]host[:port][/db], rediss://… or "
                                     "unix:///path[?db=0]");
    }
    CHECK(!"a known type");
    return 0;
}
