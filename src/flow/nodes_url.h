/* What goes into somebody's HTTP server: URLs and headers of nodes, and what must not be in them.
 * Only nodes*.c include this.
 *
 * Pure.
 */
#ifndef FLOW_NODES_URL_H
#define FLOW_NODES_URL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/bytes.h"

/* Is this a URL we go to: http or https, a host, no credentials (they would end up in logs: there
 * are headers for them), no control characters and no backslash (which some read as a slash)?
 * False with a sentence. */
bool url_check(struct span url, char *why, size_t why_cap);

/* The same of a template: of what is known before it is filled in. */
bool url_template_check(struct span text, char *why, size_t why_cap);

/* Appends a URL with spaces and what is not ASCII percent-encoded, as browsers do, and a NUL that
 * len does not count. Returns 0 or -ENOMEM. */
MUST_USE int url_write(struct bytes *out, struct span url);

/* A token (RFC 9110), and none of those that say how the message is framed: they are libcurl's. */
bool header_name_check(struct span name, char *why, size_t why_cap);

/* No control characters: a line break would begin another header. */
bool header_value_check(struct span value, char *why, size_t why_cap);

/* Does another member of the object have that name in other letters? */
bool header_twice(const json_t *headers, struct span name);

/* The member of that name, whatever the case; NULL: none. */
const json_t *header_find(const json_t *headers, const char *name);

#endif
