/* Nodes' configs: which members a type of node has, and what each may be. One table, for whoever
 * checks a config and for whoever asks what it looks at. Only nodes*.c include this.
 *
 * Pure.
 */
#ifndef FLOW_NODES_CONFIG_H
#define FLOW_NODES_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "flow/nodes.h"
#include "flow/workflow.h"

enum {
    NODES_FROM_MAX = 100,    /* Pointers in an aggregate's from. */
    NODES_HEADERS_MAX = 64,  /* Of an HTTP request, and of an answer that are kept. */
    NODES_URL_MAX = 8192,    /* Bytes. */
    NODES_HEADER_MAX = 8192, /* Bytes of one value. */
    /* Parts of a filter's condition times items: so long, some 0.4 s, nothing else is done. */
    NODES_FILTER_MAX = 10000000,
    CONFIG_PLACE_MAX = 200, /* Bytes of a fault's place. */
};
#define NODES_DELAY_MAX_MS (366LL * 24 * 3600 * 1000)
#define NODES_ANSWER_MAX (1LL << 30)

enum config_kind {
    CONFIG_TEMPLATE, /* Any JSON, with places. */
    CONFIG_TEXT,     /* Text, without places. */
    CONFIG_POINTER,  /* Through the document. */
    CONFIG_POINTERS, /* One such, or an array of them. */
    CONFIG_FIELD,    /* A pointer, through something else. */
    CONFIG_WHEN,     /* A condition. */
    CONFIG_SORT,
    CONFIG_CHOICE,
    CONFIG_NUMBER,
    CONFIG_DELAY, /* A number, or a template of one. */
    CONFIG_URL,
    CONFIG_HEADERS,
    CONFIG_STATUSES,
};

struct config_member {
    const char *name; /* NULL: the end. */
    enum config_kind kind;
    bool required;
    const char *const *choices; /* CONFIG_CHOICE; ends with NULL, the first is the default. */
    int64_t min, max;           /* CONFIG_NUMBER, CONFIG_DELAY. */
};

extern const struct config_member config_sort_members[]; /* Of CONFIG_SORT. */

/* The members of a type that is the coordinator's own; NULL: any are fine. */
const struct config_member *config_members(const char *type);

/* Is this a whole number? Canonical JSON writes 5.0 as 5, so both are. */
bool config_number(const json_t *value, int64_t *ret_number);

/* The choice that the value is; NULL: none of them. */
const char *config_find_choice(const json_t *value, const char *const *choices);

/* Which choice the config made; the default when it made none, or none there is. */
const char *config_choice(
    const json_t *config, const struct config_member *members, const char *name);

/* What nodes look at: calls fn with each pointer through the document; it returns NULL, or what is
 * wrong with it. Faults are added with their place; without faults nobody is told. */
struct config_look {
    const char *(*fn)(void *ctx, struct span pointer);
    void *ctx;
    struct workflow_faults *faults; /* May be NULL. */
};
void config_look(
    const struct config_look *look, const char *place, const json_t *value, enum config_kind kind);

/* template_fill() for a member of a config. -EINVAL, with the member's name in front of why, for all
 * but -ENOMEM; value may be NULL: it is missing. */
MUST_USE int config_fill(const char *member, const json_t *value, const json_t *document,
    size_t bytes_max, json_t **ret_value, char why[NODES_WHY_MAX]);

/* Appends a value as text: a string as it is, anything else as JSON. Returns 0 or -ENOMEM. */
MUST_USE int config_text(const json_t *value, struct bytes *out);

/* The string as a span; empty for anything else. */
static inline struct span config_span(const json_t *string)
{
    return span_of(json_string_value(string), json_string_length(string));
}

#endif
