/* JSON: accepts and reads what jansson does, but for the differences that base/json.h names. */
#include <errno.h>
#include <jansson.h>

#include "base/json.h"
#include "fuzz/fuzz.h"

enum { FLAGS = JSON_DECODE_ANY | JSON_ALLOW_NUL };

/* Levels of a text that jansson accepted. */
static size_t depth_of(const uint8_t *data, size_t len)
{
    size_t depth = 0, most = 0;
    bool quoted = false;

    for (size_t i = 0; i < len; i++) {
        if (quoted && data[i] == '\\') {
            i++;
        } else if (data[i] == '"') {
            quoted = !quoted;
        } else if (!quoted && (data[i] == '{' || data[i] == '[')) {
            depth++;
            most = depth > most ? depth : most;
        } else if (!quoted && (data[i] == '}' || data[i] == ']')) {
            depth--;
        }
    }
    return most;
}

/* A raw value means to jansson what it means in its own text. */
static void check_value(struct span raw, const json_t *expected)
{
    json_t *value = json_loadb((const char *)raw.data, raw.len, FLAGS, NULL);
    CHECK(value && json_equal(value, expected));
    json_decref(value);
    int64_t number = 0;
    if (json_is_integer(expected)) {
        CHECK(json_int64(raw, &number) == 0 && number == json_integer_value(expected));
    } else {
        CHECK(json_int64(raw, &number) != 0);
    }
    struct bytes text = {0};
    if (json_is_string(expected)) {
        struct span want = span_of(json_string_value(expected), json_string_length(expected));
        CHECK(json_string_decode(raw, &text) == 0);
        CHECK(span_equal(span_of(text.data, text.len), want));
        CHECK(json_string_equal(raw, want));
        struct bytes again = {0}, twice = {0};
        CHECK(json_append_string(&again, text.data, text.len) == 0);
        CHECK(json_string_decode(span_of(again.data, again.len), &twice) == 0);
        fuzz_check_same(&text, &twice);
        bytes_fini(&again);
        bytes_fini(&twice);
    } else {
        CHECK(json_string_decode(raw, &text) == -EBADMSG);
    }
    bytes_fini(&text);
}

static void append_token(struct bytes *pointer, const char *name)
{
    CHECK(bytes_append_byte(pointer, '/') == 0);
    for (; *name; name++) {
        int err = *name == '~'   ? bytes_append(pointer, "~0", 2)
                  : *name == '/' ? bytes_append(pointer, "~1", 2)
                                 : bytes_append(pointer, name, 1);
        CHECK(!err);
    }
}

static void check_pointer(
    const uint8_t *data, size_t size, const struct bytes *pointer, const json_t *expected)
{
    struct span raw;
    int err = json_pointer(data, size, span_of(pointer->data, pointer->len), &raw);
    CHECK(err == 0 || err == -EEXIST);
    if (err == 0) {
        check_value(raw, expected);
    }
}

static void check_object(const uint8_t *data, size_t size, json_t *object)
{
    const char *name;
    json_t *member;

    json_object_foreach(object, name, member)
    {
        struct span keys[2] = {span_str("\x01 no such name"), span_str(name)};
        struct span found[2];
        int err = json_find_members(data, size, keys, 2, found);
        CHECK(err == 0 || err == -EEXIST);
        struct bytes pointer = {0};
        append_token(&pointer, name);
        check_pointer(data, size, &pointer, member);
        bytes_fini(&pointer);
        if (err == 0) {
            check_value(found[1], member);
        } else {
            CHECK(!found[1].data);
        }
    }
}

static void check_array(const uint8_t *data, size_t size, json_t *array)
{
    struct bytes pointer = {0};
    struct span raw;

    for (size_t i = 0; i < json_array_size(array) && i < 20; i++) {
        pointer.len = 0;
        CHECK(bytes_appendf(&pointer, "/%zu", i) == 0);
        check_pointer(data, size, &pointer, json_array_get(array, i));
    }
    pointer.len = 0;
    CHECK(bytes_appendf(&pointer, "/%zu", json_array_size(array)) == 0);
    CHECK(json_pointer(data, size, span_of(pointer.data, pointer.len), &raw) == -ENOENT);
    bytes_fini(&pointer);
}

/* The walk accepts the arrays that are JSON, and finds their elements. */
static void check_walk(const uint8_t *data, size_t size, bool valid, const json_t *root)
{
    struct json_array array;
    struct span value;
    size_t count = 0;
    int got = json_array_begin(data, size, &array);

    CHECK(got == 0 || got == -EINVAL);
    if (got) {
        CHECK(!json_is_array(root) || !valid);
        return;
    }
    while ((got = json_array_next(&array, &value)) == 1) {
        const json_t *element = json_array_get(root, count++);
        CHECK(json_valid(value.data, value.len));
        CHECK(!valid || !root || element);
        if (valid && root && count <= 20) {
            check_value(value, element);
        }
    }
    CHECK((got == 0) == valid);
    CHECK(!valid || !root || count == json_array_size(root));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_error_t error;
    json_t *root = json_loadb((const char *)data, size, FLAGS, &error);
    bool valid = json_valid(data, size);
    struct span whole, found, key = span_str("a");

    if (valid != (root != NULL)) {
        enum json_error_code code = root ? json_error_unknown : json_error_code(&error);
        CHECK(valid ? code == json_error_numeric_overflow || code == json_error_null_byte_in_key
                    : depth_of(data, size) > JSON_DEPTH_MAX || memchr(data, 0, size));
    }
    check_walk(data, size, valid, root);
    int err = json_find_members(data, size, &key, 1, &found);
    CHECK((err == -EBADMSG) == !valid);
    if (valid && root) {
        CHECK((err == -EINVAL) == !json_is_object(root));
        CHECK(json_pointer(data, size, span_of("", 0), &whole) == 0);
        check_value(whole, root);
        if (json_is_object(root)) {
            check_object(data, size, root);
        } else if (json_is_array(root)) {
            check_array(data, size, root);
        }
    }
    json_decref(root);

    /* Any text can be written as a string, and reads back. */
    struct bytes string = {0}, again = {0};
    err = json_append_string(&string, data, size);
    if (err == 0) {
        CHECK(json_valid(string.data, string.len));
        CHECK(json_string_decode(span_of(string.data, string.len), &again) == 0);
        CHECK(span_equal(span_of(again.data, again.len), span_of(data, size)));
    } else {
        CHECK(err == -EILSEQ && string.len == 0);
    }
    bytes_fini(&string);
    bytes_fini(&again);
    return 0;
}
