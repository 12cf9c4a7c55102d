/* URL: parts put together again are the target; what was encoded decodes to itself. */
#include <errno.h>

#include "fuzz/fuzz.h"
#include "proto/url.h"

static void check_decode(struct span raw, int (*decode)(struct bytes *, struct span))
{
    struct bytes plain = {0}, encoded = {0}, again = {0};
    int err = decode(&plain, raw);

    CHECK(err == 0 || err == -EBADMSG);
    CHECK(plain.len <= raw.len && (err == 0 || plain.len == 0));
    if (err == 0) {
        CHECK(url_encode(&encoded, span_of(plain.data, plain.len)) == 0);
        CHECK(decode(&again, span_of(encoded.data, encoded.len)) == 0);
        fuzz_check_same(&plain, &again);
    }
    bytes_fini(&plain);
    bytes_fini(&encoded);
    bytes_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span target = span_of(data, size);
    struct span path, query, name, value;

    url_split(target, &path, &query);
    CHECK(path.len == size || data[path.len] == '?');
    CHECK(path.len + (path.len < size) + query.len == size);
    CHECK(path.len == 0 || !memchr(path.data, '?', path.len));

    size_t seen = 0;
    for (struct span cursor = path; url_path_next(&cursor, &name);) {
        CHECK(name.len == 0 || !memchr(name.data, '/', name.len));
        seen += name.len + 1;
        check_decode(name, url_decode_path);
    }
    CHECK(seen == (path.len > 0 && path.data[0] == '/' ? path.len : 0));

    for (struct span cursor = query; url_query_next(&cursor, &name, &value);) {
        CHECK(name.len == 0 ||
              (!memchr(name.data, '&', name.len) && !memchr(name.data, '=', name.len)));
        CHECK(value.len == 0 || !memchr(value.data, '&', value.len));
        check_decode(name, url_decode_query);
        check_decode(value, url_decode_query);
    }
    check_decode(target, url_decode_query);

    struct bytes encoded = {0}, plain = {0};
    CHECK(url_encode(&encoded, target) == 0);
    CHECK(url_decode_path(&plain, span_of(encoded.data, encoded.len)) == 0);
    CHECK(span_equal(span_of(plain.data, plain.len), target));
    bytes_fini(&encoded);
    bytes_fini(&plain);
    return 0;
}
