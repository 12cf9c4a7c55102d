#include "flow/canon.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/json.h"
#include "base/mem.h"
#include "flow/canon_number.h"

static const char hex[] = "0123456789abcdef";
static const char ref_prefix[] = "sha256:";

enum { REF_PREFIX_LEN = sizeof ref_prefix - 1, DIGEST_BYTES = 32 };

static int append_escape(struct bytes *out, uint8_t byte)
{
    static const char short_ones[] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    char text[6] = {'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]};

    if (byte == '"' || byte == '\\') {
        text[1] = (char)byte;
        return bytes_append(out, text, 2);
    }
    if (byte < sizeof short_ones && short_ones[byte]) {
        text[1] = short_ones[byte];
        return bytes_append(out, text, 2);
    }
    return bytes_append(out, text, sizeof text);
}

/* Not json_append_string(): RFC 8785 (3.2.2.2) wants \b and \f in their short form. */
static int append_string(struct bytes *out, const char *text, size_t len)
{
    size_t begin = 0;
    int err = bytes_append_byte(out, '"');

    for (size_t i = 0; i < len && !err; i++) {
        uint8_t byte = (uint8_t)text[i];
        if (byte >= ' ' && byte != '"' && byte != '\\') {
            continue;
        }
        err = bytes_append(out, text + begin, i - begin);
        err = err ? err : append_escape(out, byte);
        begin = i + 1;
    }
    err = err ? err : bytes_append(out, text + begin, len - begin);
    return err ? err : bytes_append_byte(out, '"');
}

/* UTF-8 sorts by code point, UTF-16 puts all that needs surrogates (first byte F0 and up) before
 * U+E000..U+FFFF (EE, EF). No other byte of UTF-8 has these values. */
static int utf16_weight(uint8_t byte)
{
    return byte == 0xee || byte == 0xef ? byte + 0x100 : byte;
}

static int compare_names(const void *a, const void *b)
{
    const char *x = *(const char *const *)a, *y = *(const char *const *)b;

    while (*x && *x == *y) {
        x++;
        y++;
    }
    return utf16_weight((uint8_t)*x) - utf16_weight((uint8_t)*y);
}

static int append_value(struct bytes *out, const json_t *value, unsigned depth);

static int append_members(struct bytes *out, json_t *object, const char **names, unsigned depth)
{
    size_t count = 0;
    int err = 0;

    for (void *i = json_object_iter(object); i; i = json_object_iter_next(object, i)) {
        names[count++] = json_object_iter_key(i);
    }
    qsort(names, count, sizeof *names, compare_names);
    for (size_t i = 0; i < count && !err; i++) {
        err = i ? bytes_append_byte(out, ',') : 0;
        err = err ? err : append_string(out, names[i], strlen(names[i]));
        err = err ? err : bytes_append_byte(out, ':');
        err = err ? err : append_value(out, json_object_get(object, names[i]), depth);
    }
    return err;
}

static int append_object(struct bytes *out, json_t *object, unsigned depth)
{
    size_t count = json_object_size(object);

    if (count == 0) {
        return bytes_append(out, "{}", 2);
    }
    const char **names = mem_try_alloc(count * sizeof *names);
    if (!names) {
        return -ENOMEM;
    }
    int err = bytes_append_byte(out, '{');
    err = err ? err : append_members(out, object, names, depth);
    err = err ? err : bytes_append_byte(out, '}');
    mem_free(names);
    return err;
}

static int append_array(struct bytes *out, const json_t *array, unsigned depth)
{
    int err = bytes_append_byte(out, '[');

    for (size_t i = 0; i < json_array_size(array) && !err; i++) {
        err = i ? bytes_append_byte(out, ',') : 0;
        err = err ? err : append_value(out, json_array_get(array, i), depth);
    }
    return err ? err : bytes_append_byte(out, ']');
}

static int append_value(struct bytes *out, const json_t *value, unsigned depth)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        /* jansson walks no const object, though it changes nothing. */
        return depth == JSON_DEPTH_MAX ? -ERANGE : append_object(out, (json_t *)value, depth + 1);
    case JSON_ARRAY:
        return depth == JSON_DEPTH_MAX ? -ERANGE : append_array(out, value, depth + 1);
    case JSON_STRING:
        return append_string(out, json_string_value(value), json_string_length(value));
    case JSON_INTEGER:
        return canon_append_integer(out, json_integer_value(value));
    case JSON_REAL:
        return canon_append_real(out, json_real_value(value));
    case JSON_TRUE:
        return bytes_append(out, "true", 4);
    case JSON_FALSE:
        return bytes_append(out, "false", 5);
    default:
        return bytes_append(out, "null", 4);
    }
}

int canon_append(struct bytes *out, const json_t *value)
{
    size_t before = out->len;
    int err = append_value(out, value, 0);

    if (err) {
        out->len = before;
    }
    return err;
}

void canon_ref(struct span text, char out[FLOW_REF_LEN + 1])
{
    uint8_t digest[DIGEST_BYTES];
    unsigned len = 0;

    _Static_assert(FLOW_REF_LEN == REF_PREFIX_LEN + 2 * DIGEST_BYTES, "two digits a byte");
    /* It fails for want of memory only, a few hundred bytes that no peer has chosen. */
    CHECK(EVP_Digest(text.len ? text.data : (const void *)"", text.len, digest, &len, EVP_sha256(),
              NULL) == 1);
    CHECK(len == DIGEST_BYTES);
    memcpy(out, ref_prefix, REF_PREFIX_LEN);
    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        out[REF_PREFIX_LEN + 2 * i] = hex[digest[i] >> 4];
        out[REF_PREFIX_LEN + 2 * i + 1] = hex[digest[i] & 15];
    }
    out[FLOW_REF_LEN] = '\0';
}

int canon_blob(const json_t *value, struct bytes *out, char ref[FLOW_REF_LEN + 1])
{
    CHECK(out->len == 0);
    int err = canon_append(out, value);
    if (err) {
        return err;
    }
    canon_ref(span_of(out->data, out->len), ref);
    return 0;
}

bool canon_ref_parse(struct span text, char out[FLOW_REF_LEN + 1])
{
    static const char scheme[] = "cas://";
    size_t scheme_len = sizeof scheme - 1;

    if (text.len >= scheme_len && memcmp(text.data, scheme, scheme_len) == 0) {
        text = span_of(text.data + scheme_len, text.len - scheme_len);
    }
    if (text.len != FLOW_REF_LEN || memcmp(text.data, ref_prefix, REF_PREFIX_LEN) != 0) {
        return false;
    }
    for (size_t i = REF_PREFIX_LEN; i < FLOW_REF_LEN; i++) {
        if (!isxdigit(text.data[i])) {
            return false;
        }
        out[i] = (char)tolower(text.data[i]);
    }
    memcpy(out, ref_prefix, REF_PREFIX_LEN);
    out[FLOW_REF_LEN] = '\0';
    return true;
}
