/* Words about an option that help and docs share. Internal to config. */
#ifndef CTL_CONFIG_WORDS_H
#define CTL_CONFIG_WORDS_H

#include "base/attr.h"
#include "base/bytes.h"
#include "ctl/config_table.h"

/* "SIZE", "auto|embedded|redis"; "" for a bool. Returns 0 or -ENOMEM. */
MUST_USE int config_words_arg(const struct config_option *option, struct bytes *out);

/* "ADDR, FANOUT_LISTEN", each between the given quotes; the first beats none of the later. */
MUST_USE int config_words_env(
    const struct config_option *option, const char *quote, struct bytes *out);

/* Appends words, each line indented and at most width columns wide, with a newline at the end.
 */
MUST_USE int config_words_wrap(struct span words, size_t indent, size_t width, struct bytes *out);

#endif
