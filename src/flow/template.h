/* Templates: JSON with places for values, `{{ POINTER }}`, within its strings.
 *
 *   {"url":"http://h/flights?city={{/inputs/city}}","max":"{{/results/search/price}}"}
 *
 * POINTER goes through a document of flow's making: {"inputs":…, "results":{node:result},
 * "payload":…, "run":{"id","tag","user"}}. A string that is one place and nothing else becomes the
 * value itself, of any kind; within longer text a string is put in as it is and anything else as
 * JSON. `{{ POINTER | VALUE }}` names a default (JSON) for what is missing; without one a missing
 * value is an error. `{{{{` is a literal `{{`. POINTER ends at a space, a `|` or `}}`. Names of
 * members are no templates, and what is put in is not looked at again.
 *
 * Pure.
 */
#ifndef FLOW_TEMPLATE_H
#define FLOW_TEMPLATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/bytes.h"

enum { TEMPLATE_WHY_MAX = 200 };

/* Checks all strings in value (keys excepted). Calls fn, which may be NULL, with each pointer
 * found; fn returns NULL, or what is wrong with it. Returns 0, or -EINVAL with a sentence in why
 * (and the place within value, as a pointer, in front) about the first fault. */
MUST_USE int template_check(const json_t *value, const char *(*fn)(void *ctx, struct span pointer),
    void *ctx, char why[TEMPLATE_WHY_MAX]);

/* Does the text have a place for a value? */
bool template_has_places(struct span text);

/* Gives value with everything filled in from document; the two may share parts with it, so nobody
 * may change any of them. Returns 0; -ENOENT (a value is missing), -E2BIG (what comes out is more
 * than bytes_max of JSON, or more than VALUE_DEPTH_MAX levels deep) or -EINVAL (template_check()
 * would have refused it), with a sentence in why; or -ENOMEM. */
MUST_USE int template_fill(const json_t *value, const json_t *document, size_t bytes_max,
    json_t **ret_value, char why[TEMPLATE_WHY_MAX]);

#endif
