/* The list-valued options: addresses to listen on, mappings, namespaces. Internal to config. */
#ifndef CTL_CONFIG_LIST_H
#define CTL_CONFIG_LIST_H

#include "base/attr.h"
#include "base/bytes.h"
#include "ctl/config.h"

enum { CONFIG_LISTEN_MAX = 64, CONFIG_MAPPING_MAX = 256, CONFIG_NAMESPACE_MAX = 1024 };

/* Takes the next part of *text up to the separator, without blanks around it. False at the end. */
bool config_split(struct span *text, char separator, struct span *ret_part);

/* Append what the text holds. Return 0, -ENOMEM, or -EINVAL (nothing changed). Addresses are
 * separated by commas, mappings ("pattern=channel") by semicolons. */
MUST_USE int config_listens_parse(struct span text, struct config_listens *listens);
MUST_USE int config_mappings_parse(struct span text, struct config_mappings *mappings);
MUST_USE int config_mapping_add(
    struct config_mappings *mappings, struct span pattern, struct span channel);

MUST_USE int config_listen_format(const struct config_listen *listen, struct bytes *out);
MUST_USE int config_listens_format(const struct config_listens *listens, struct bytes *out);
MUST_USE int config_mappings_format(const struct config_mappings *mappings, struct bytes *out);

/* Is there a Redis channel that both patterns match? */
bool config_patterns_overlap(const char *a, const char *b);

/* 1..64 of [a-z0-9_-]. */
bool config_namespace_name_valid(struct span name);

/* The namespace of this very name, or NULL; any order. */
struct config_namespace *config_namespace_find(
    const struct config_namespaces *namespaces, struct span name);

/* As above, but adds one with all zeroes where there is none. Returns 0, -ENOMEM, or -EINVAL when
 * there are too many. The pointer is good until the next call. */
MUST_USE int config_namespace_add(struct config_namespaces *namespaces, struct span name,
    struct config_namespace **ret_namespace);

/* By name, which config_namespace() relies on. */
void config_namespaces_sort(struct config_namespaces *namespaces);

/* Copy into a list that is empty. Return 0 or -ENOMEM. */
MUST_USE int config_listens_copy(const struct config_listens *from, struct config_listens *to);
MUST_USE int config_mappings_copy(const struct config_mappings *from, struct config_mappings *to);

void config_listens_fini(struct config_listens *listens);
void config_mappings_fini(struct config_mappings *mappings);
void config_namespaces_fini(struct config_namespaces *namespaces);

#endif
