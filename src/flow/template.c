#include "flow/template.h"

#include <errno.h>

#include "flow/canon.h"
#include "flow/pointer.h"
#include "flow/template_text.h"
#include "flow/value.h"
#include "flow/why.h"

/* ---- where in a value something is ---- */

struct place {
    const struct place *parent; /* NULL: the whole value. */
    const char *key;            /* NULL: an array's element. */
    size_t key_len, index;
};

enum { PLACE_MAX = 100 }; /* Bytes of a place that are told. */

static void append_place(const struct place *place, struct bytes *out)
{
    if (!place->parent || out->len > PLACE_MAX) {
        return;
    }
    append_place(place->parent, out);
    int err = bytes_append_byte(out, '/');
    if (!place->key) {
        err = err ? err : bytes_appendf(out, "%zu", place->index);
    }
    for (size_t i = 0; place->key && i < place->key_len && !err; i++) {
        char c = place->key[i];
        err = c == '~'   ? bytes_append(out, "~0", 2)
              : c == '/' ? bytes_append(out, "~1", 2)
                         : bytes_append_byte(out, (uint8_t)c);
    }
    (void)err; /* Without memory the place is told in part. */
}

/* Writes "PLACE: FINDING", or the finding alone of a value that is the string itself. */
static void say_at(const struct place *place, char *why, const char *finding)
{
    struct bytes text = {0};

    append_place(place, &text);
    struct why_quote quote = why_quote(span_of(text.data, text.len));
    why_say(why, TEMPLATE_WHY_MAX, "%s%s%s", quote.text, text.len ? ": " : "", finding);
    bytes_fini(&text);
}

bool template_has_places(struct span text)
{
    struct template_piece piece = {0};
    const char *wrong;

    while (template_next(&text, &piece, &wrong)) {
        if (wrong || piece.is_place) {
            return true;
        }
    }
    return false;
}

static struct span string_span(const json_t *string)
{
    return span_of(json_string_value(string), json_string_length(string));
}

/* ---- checking ---- */

struct checker {
    const char *(*fn)(void *ctx, struct span pointer);
    void *ctx;
    char *why;
};

static const char no_pointer[] =
    "is no JSON pointer: one is empty or begins with \"/\", and has ~ only in ~0 and ~1";

static int check_place(
    const struct checker *checker, const struct template_piece *piece, const struct place *place)
{
    char finding[TEMPLATE_WHY_MAX], why[TEMPLATE_WHY_MAX / 2];
    const char *wrong = NULL;

    if (!pointer_valid(piece->text)) {
        wrong = no_pointer;
    } else if (checker->fn) {
        wrong = checker->fn(checker->ctx, piece->text);
    }
    if (wrong) {
        why_say(finding, sizeof(finding), "\"%s\" %s", why_quote(piece->text).text, wrong);
        say_at(place, checker->why, finding);
        return -EINVAL;
    }
    if (!piece->has_fallback) {
        return 0;
    }
    json_t *fallback = json_read(piece->fallback, why, sizeof(why));
    if (!fallback) {
        why_say(finding, sizeof(finding), "the default \"%s\" is no JSON (text wants quotes): %s",
            why_quote(piece->fallback).text, why);
        say_at(place, checker->why, finding);
        return -EINVAL;
    }
    json_decref(fallback);
    return 0;
}

static int check_string(
    const struct checker *checker, const json_t *string, const struct place *place)
{
    struct span rest = string_span(string);
    struct template_piece piece = {0};
    const char *wrong;
    int err = 0;

    while (!err && template_next(&rest, &piece, &wrong)) {
        if (wrong) {
            say_at(place, checker->why, wrong);
            return -EINVAL;
        }
        err = piece.is_place ? check_place(checker, &piece, place) : 0;
    }
    return err;
}

static int check_value(
    const struct checker *checker, const json_t *value, const struct place *place, size_t depth)
{
    const char *key;
    size_t key_len, index;
    json_t *part;
    int err = 0;

    if (json_is_string(value)) {
        return check_string(checker, value, place);
    }
    if ((json_is_array(value) || json_is_object(value)) && depth == 0) {
        say_at(place, checker->why, "a template has 64 levels at most");
        return -EINVAL;
    }
    json_array_foreach(value, index, part)
    {
        struct place inner = {.parent = place, .index = index};
        err = check_value(checker, part, &inner, depth - 1);
        if (err) {
            return err;
        }
    }
    json_object_keylen_foreach((json_t *)value, key, key_len, part)
    {
        struct place inner = {.parent = place, .key = key, .key_len = key_len};
        err = check_value(checker, part, &inner, depth - 1);
        if (err) {
            return err;
        }
    }
    return 0;
}

int template_check(const json_t *value, const char *(*fn)(void *ctx, struct span pointer),
    void *ctx, char why[TEMPLATE_WHY_MAX])
{
    struct checker checker = {.fn = fn, .ctx = ctx, .why = why};

    return check_value(&checker, value, &(struct place){0}, VALUE_DEPTH_MAX);
}

/* ---- filling ---- */

struct filler {
    const json_t *document;
    size_t left; /* Bytes that may still come out. */
    char *why;
};

static bool take(struct filler *filler, size_t bytes)
{
    bool enough = filler->left >= bytes;

    filler->left -= enough ? bytes : 0;
    return enough;
}

static int too_big(struct filler *filler, const struct place *place)
{
    say_at(place, filler->why, "what comes out is too large or too deep");
    return -E2BIG;
}

/* Gives the value of a place. */
static int find_value(struct filler *filler, const struct template_piece *piece,
    const struct place *place, json_t **ret_value)
{
    char finding[TEMPLATE_WHY_MAX], why[TEMPLATE_WHY_MAX / 2];
    const json_t *found = pointer_get(filler->document, piece->text);

    if (found) {
        *ret_value = json_incref((json_t *)found);
        return 0;
    }
    if (!pointer_valid(piece->text)) {
        why_say(finding, sizeof(finding), "\"%s\" %s", why_quote(piece->text).text, no_pointer);
        say_at(place, filler->why, finding);
        return -EINVAL;
    }
    if (!piece->has_fallback) {
        why_say(finding, sizeof(finding), "there is no \"%s\", and no default for it",
            why_quote(piece->text).text);
        say_at(place, filler->why, finding);
        return -ENOENT;
    }
    *ret_value = json_read(piece->fallback, why, sizeof(why));
    if (*ret_value) {
        return 0;
    }
    if (errno == ENOMEM) {
        return -ENOMEM;
    }
    say_at(place, filler->why, "a default is no JSON");
    return -EINVAL;
}

/* A value within text: strings as they are, the rest as JSON. */
static int append_value(
    struct filler *filler, const json_t *value, const struct place *place, struct bytes *out)
{
    size_t left = filler->left, before = out->len;

    /* Measured first, so that nothing large is written only to be thrown away. */
    if (!value_fits(value, VALUE_DEPTH_MAX, &left)) {
        return too_big(filler, place);
    }
    int err = json_is_string(value)
                  ? bytes_append(out, json_string_value(value), json_string_length(value))
                  : canon_append(out, value);
    if (err) {
        return err == -ENOMEM ? err : too_big(filler, place);
    }
    return take(filler, out->len - before) ? 0 : too_big(filler, place);
}

static int append_pieces(
    struct filler *filler, struct span rest, const struct place *place, struct bytes *out)
{
    struct template_piece piece = {0};
    const char *wrong;
    int err = 0;

    while (!err && template_next(&rest, &piece, &wrong)) {
        if (wrong) {
            say_at(place, filler->why, wrong);
            return -EINVAL;
        }
        if (piece.is_place) {
            json_t *value = NULL;
            err = find_value(filler, &piece, place, &value);
            err = err ? err : append_value(filler, value, place, out);
            json_decref(value);
        } else {
            err = take(filler, piece.text.len) ? bytes_append(out, piece.text.data, piece.text.len)
                                               : too_big(filler, place);
        }
    }
    return err;
}

static int fill_string(struct filler *filler, const json_t *string, const struct place *place,
    size_t depth, json_t **ret_value)
{
    struct span rest = string_span(string);
    struct template_piece piece = {0};
    struct bytes text = {0};
    const char *wrong = NULL;

    /* One place and nothing else is the value itself. */
    if (template_next(&rest, &piece, &wrong) && !wrong && piece.is_place && rest.len == 0) {
        json_t *value = NULL;
        int err = find_value(filler, &piece, place, &value);
        if (!err && !value_fits(value, depth, &filler->left)) {
            json_decref(value);
            err = too_big(filler, place);
        }
        *ret_value = err ? NULL : value;
        return err;
    }
    if (!take(filler, 2)) {
        return too_big(filler, place);
    }
    int err = append_pieces(filler, string_span(string), place, &text);
    if (!err) {
        *ret_value = json_stringn(text.len ? (const char *)text.data : "", text.len);
        err = *ret_value ? 0 : -ENOMEM;
    }
    bytes_fini(&text);
    return err;
}

static int fill_value(struct filler *filler, const json_t *value, const struct place *place,
    size_t depth, json_t **ret_value);

static int fill_array(struct filler *filler, const json_t *value, const struct place *place,
    size_t depth, json_t *made)
{
    size_t index;
    json_t *part, *filled;

    json_array_foreach(value, index, part)
    {
        struct place inner = {.parent = place, .index = index};
        if (!take(filler, index > 0)) { /* A comma. */
            return too_big(filler, &inner);
        }
        int err = fill_value(filler, part, &inner, depth, &filled);
        err = err ? err : json_array_append_new(made, filled) ? -ENOMEM : 0;
        if (err) {
            return err;
        }
    }
    return 0;
}

static int fill_object(struct filler *filler, const json_t *value, const struct place *place,
    size_t depth, json_t *made)
{
    const char *key;
    size_t key_len;
    json_t *part, *filled;

    json_object_keylen_foreach((json_t *)value, key, key_len, part)
    {
        struct place inner = {.parent = place, .key = key, .key_len = key_len};
        /* The name, its quotes and a colon. */
        if (!take(filler, key_len + 3)) {
            return too_big(filler, &inner);
        }
        int err = fill_value(filler, part, &inner, depth, &filled);
        err = err ? err : json_object_setn_new(made, key, key_len, filled) ? -ENOMEM : 0;
        if (err) {
            return err;
        }
    }
    return 0;
}

static int fill_value(struct filler *filler, const json_t *value, const struct place *place,
    size_t depth, json_t **ret_value)
{
    bool array = json_is_array(value);

    *ret_value = NULL;
    if (json_is_string(value)) {
        return fill_string(filler, value, place, depth, ret_value);
    }
    if (!array && !json_is_object(value)) {
        if (!value_fits(value, depth, &filler->left)) {
            return too_big(filler, place);
        }
        *ret_value = json_incref((json_t *)value);
        return 0;
    }
    if (depth == 0 || !take(filler, 2)) {
        return too_big(filler, place);
    }
    json_t *made = array ? json_array() : json_object();
    int err = !made   ? -ENOMEM
              : array ? fill_array(filler, value, place, depth - 1, made)
                      : fill_object(filler, value, place, depth - 1, made);
    if (err) {
        json_decref(made);
        return err;
    }
    *ret_value = made;
    return 0;
}

int template_fill(const json_t *value, const json_t *document, size_t bytes_max, json_t **ret_value,
    char why[TEMPLATE_WHY_MAX])
{
    struct filler filler = {.document = document, .left = bytes_max, .why = why};
    json_t *made = NULL;
    int err = fill_value(&filler, value, &(struct place){0}, VALUE_DEPTH_MAX, &made);

    if (!err) {
        *ret_value = made;
    }
    return err;
}
