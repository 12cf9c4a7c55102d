/* HTTP request: one flow_http as curl wants it, and its failures as sentences. Inside link only.
 *
 * Runs anywhere; no state.
 */
#ifndef LINK_HTTP_REQUEST_H
#define LINK_HTTP_REQUEST_H

#include <curl/curl.h>
#include <stdbool.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "flow/ports.h"

/* Judges method, URL and headers; appends "scheme://host:port", which requests to the same server
 * have in common, to origin. Returns 0, -ENOMEM, or -EINVAL with a sentence in http->why. */
MUST_USE int http_request_check(struct flow_http *http, struct bytes *origin);

/* Sets up what belongs to the request itself. Gives the list that must live as long as easy uses
 * it; free it with curl_slist_free_all(). Returns 0 or -ENOMEM. */
MUST_USE int http_request_apply(
    const struct flow_http *http, CURL *easy, struct curl_slist **ret_headers);

/* The same for HEAD. */
bool http_request_is_head(const struct flow_http *http);

/* Writes "URL: finding" into http->why; URL without name, password and query. */
void http_request_explain(struct flow_http *http, const char *format, ...) PRINTF_LIKE(2, 3);

/* What curl found: explains it, and returns it as a negative errno. detail: curl's own words. */
MUST_USE int http_request_failure(
    struct flow_http *http, CURL *easy, CURLcode code, const char *detail);

#endif
