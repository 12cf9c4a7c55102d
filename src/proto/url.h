/* URL: the parts of a request target, and percent-encoding (RFC 3986, sections 2.1, 3.3 and 3.4).
 *
 * Splitting gives raw spans of the target; decoding is a second step, so that an encoded '/' or '&'
 * never becomes a separator. Spans live as long as the target.
 */
#ifndef PROTO_URL_H
#define PROTO_URL_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/bytes.h"

/* Splits at the first '?'. *ret_query is what follows it, empty when there is none. */
void url_split(struct span target, struct span *ret_path, struct span *ret_query);

/* Walks the parameters of a query: start with *cursor = the query. Gives raw name and value; the
 * value is empty when there is no '='. Empty pieces ("a=1&&b=2") are skipped. False at the end. */
bool url_query_next(struct span *cursor, struct span *ret_name, struct span *ret_value);

/* Walks the segments of a path: start with *cursor = the path, "/a/b" gives "a", "b" and "/a/"
 * gives "a", "". False at the end, or where no '/' begins the rest. */
bool url_path_next(struct span *cursor, struct span *ret_segment);

/* Append the decoded bytes; in a query '+' is a space. Any byte may come out, NUL too.
 * Returns 0, -EBADMSG (a '%' without two hex digits) or -ENOMEM; out keeps its content on failure.
 */
MUST_USE int url_decode_query(struct bytes *out, struct span raw);
MUST_USE int url_decode_path(struct bytes *out, struct span raw);

/* Appends data with everything but unreserved characters percent-encoded: fits a query value and a
 * path segment alike. Returns 0 or -ENOMEM (out unchanged). */
MUST_USE int url_encode(struct bytes *out, struct span data);

#endif
