/* Values: each type's text form, both ways. Internal to config. */
#ifndef CTL_CONFIG_VALUE_H
#define CTL_CONFIG_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "ctl/config_table.h"

/* Numbers as people write them. Return 0 or -EINVAL; the text must be used up. */
MUST_USE int config_parse_uint(struct span text, uint64_t *ret_value);
MUST_USE int config_parse_size(struct span text, uint64_t *ret_bytes);
MUST_USE int config_parse_duration(struct span text, uint64_t *ret_ms);

/* "host:port", ":port" or "[v6]:port"; *ret_host is empty without a host. */
MUST_USE int config_parse_host_port(struct span text, struct span *ret_host, uint16_t *ret_port);

/* Gives a copy with a NUL behind it; NULL without memory. */
MUST_USE char *config_copy_text(struct span text);

/* Reads text into the field, which must be of option's type and valid; a list grows by what the
 * text holds. Returns 0, -ENOMEM, or -EINVAL (nothing changed). Not for namespaces or aliases. */
MUST_USE int config_value_parse(const struct config_option *option, struct span text, void *field);

/* Appends the field as config_value_parse() reads it; the items of a list are separated by ", ".
 * A string that is not set appends nothing. Returns 0 or -ENOMEM. */
MUST_USE int config_value_format(
    const struct config_option *option, const void *field, struct bytes *out);

/* Frees what the field holds and leaves it all zeroes, which is valid for every type. */
void config_value_fini(const struct config_option *option, void *field);

/* Copies a field into one that holds all zeroes. Returns 0 or -ENOMEM. Not for namespaces. */
MUST_USE int config_value_copy(const struct config_option *option, const void *from, void *to);

/* What would have been right: "a duration from 200ms to 1h, e.g. 2s". Returns 0 or -ENOMEM. */
MUST_USE int config_value_expected(const struct config_option *option, struct bytes *out);

/* Appends "text" in quotes, escaped, and cut when it is long. */
MUST_USE int config_quote(struct span text, struct bytes *out);

/* Bytes of the UTF-8 character at the start of text; 0 when there is none. */
size_t config_utf8_len(struct span text);

/* Size of a field in memory. */
size_t config_type_size(enum config_type type);

#endif
