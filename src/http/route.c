#include "http/route.h"

#include <stdio.h>

#include "proto/url.h"

static bool match(const char *pattern, struct span path, struct span *params)
{
    struct span want = span_str(pattern), want_rest = want, have_rest = path;
    struct span want_segment, have_segment;
    size_t count = 0;

    for (;;) {
        bool more = url_path_next(&want_rest, &want_segment);
        if (more != url_path_next(&have_rest, &have_segment)) {
            return false;
        }
        if (!more) {
            return want_rest.len == have_rest.len;
        }
        if (span_equal(want_segment, span_str("{}"))) {
            if (have_segment.len == 0 || count == ROUTE_PARAMS_MAX) {
                return false;
            }
            params[count++] = have_segment;
        } else if (!span_equal(want_segment, have_segment)) {
            return false;
        }
    }
}

struct route_match route_find(const struct route *rows, enum http_method method, struct span path)
{
    struct route_match found = {0};

    for (const struct route *row = rows; row->pattern; row++) {
        struct span params[ROUTE_PARAMS_MAX] = {{0}};
        if (!match(row->pattern, path, params)) {
            continue;
        }
        found.methods |= row->methods;
        if (!found.route && (row->methods & ROUTE_METHOD(method))) {
            found.route = row;
            memcpy(found.params, params, sizeof(params));
        }
    }
    return found;
}

size_t route_allow(uint32_t methods, char *out, size_t cap)
{
    static const struct {
        enum http_method method;
        const char *name;
    } names[] = {
        {HTTP_METHOD_GET, "GET"},
        {HTTP_METHOD_HEAD, "HEAD"},
        {HTTP_METHOD_POST, "POST"},
        {HTTP_METHOD_PUT, "PUT"},
        {HTTP_METHOD_DELETE, "DELETE"},
    };
    size_t len = 0;

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (methods & ROUTE_METHOD(names[i].method)) {
            len += (size_t)snprintf(out + len, cap - len, "%s%s", len ? ", " : "", names[i].name);
        }
    }
    return len;
}
