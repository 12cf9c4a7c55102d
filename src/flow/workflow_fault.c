#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/nearest.h"
#include "base/utf8.h"
#include "flow/workflow_own.h"

void workflow_faults_fini(struct workflow_faults *faults)
{
    for (uint32_t i = 0; i < faults->count; i++) {
        mem_free(faults->lines[i]);
    }
    *faults = (struct workflow_faults){0};
}

void workflow_faults_add(struct workflow_faults *faults, const char *format, ...)
{
    struct bytes line = {0};
    va_list args;

    va_start(args, format);
    int err = faults->count < WORKFLOW_FAULTS_MAX ? bytes_appendv(&line, format, args) : -ENOSPC;
    va_end(args);
    if (err) {
        faults->more_count++;
        return;
    }
    faults->lines[faults->count++] = (char *)line.data; /* vsnprintf() ended it. */
}

/* At most max bytes, and three points when that is not all. */
static struct quote cut_to(const char *text, size_t len, size_t max)
{
    struct quote quote;
    size_t at = 0;

    while (at < len && at < max) {
        size_t step = utf8_char_len((const uint8_t *)text + at, len - at);
        if (step == 0 || (uint8_t)text[at] < ' ' || text[at] == 0x7f) {
            quote.text[at++] = '?';
            continue;
        }
        if (at + step > max) {
            break;
        }
        memcpy(quote.text + at, text + at, step);
        at += step;
    }
    memcpy(quote.text + at, at < len ? "..." : "", at < len ? 4 : 1);
    return quote;
}

struct quote workflow_quote(const char *text, size_t len)
{
    return cut_to(text, len, QUOTE_MAX);
}

struct quote workflow_is(const json_t *value)
{
    struct quote quote = {.text = "is null"};

    switch (value ? (int)json_typeof(value) : -1) {
    case JSON_STRING: {
        struct quote inner =
            cut_to(json_string_value(value), json_string_length(value), QUOTE_MAX - 8);
        snprintf(quote.text, sizeof quote.text, "is \"%.*s\"", QUOTE_MAX, inner.text);
        break;
    }
    case JSON_INTEGER:
        snprintf(
            quote.text, sizeof quote.text, "is %" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    case JSON_REAL:
        snprintf(quote.text, sizeof quote.text, "is %.17g", json_real_value(value));
        break;
    case JSON_OBJECT:
        return (struct quote){.text = "is an object"};
    case JSON_ARRAY:
        return (struct quote){.text = "is an array"};
    case JSON_TRUE:
        return (struct quote){.text = "is true"};
    case JSON_FALSE:
        return (struct quote){.text = "is false"};
    case -1:
        return (struct quote){.text = "missing"};
    default:
        break;
    }
    return quote;
}

static bool is_among(const char *name, const char *const *names)
{
    while (*names && strcmp(*names, name) != 0) {
        names++;
    }
    return *names != NULL;
}

void workflow_check_members(
    struct draft *draft, const char *place, const json_t *object, const char *const *names)
{
    json_t *walked =
        (json_t *)object; /* jansson walks no const object, though it changes nothing. */

    for (void *i = json_object_iter(walked); i; i = json_object_iter_next(walked, i)) {
        const char *name = json_object_iter_key(i);
        struct nearest nearest = {0};
        if (is_among(name, names)) {
            continue;
        }
        for (size_t j = 0; names[j] && draft->suggestions < SUGGESTIONS_MAX; j++) {
            draft->suggestions++;
            nearest_try(&nearest, span_str(name), names[j]);
        }
        workflow_faults_add(draft->faults, "%s: nothing is known of \"%s\"%s%s%s", place,
            workflow_quote(name, strlen(name)).text, nearest.name[0] ? "; did you mean \"" : "",
            nearest.name, nearest.name[0] ? "\"?" : "");
    }
}

bool workflow_number(struct draft *draft, const char *place, const json_t *value, uint64_t min,
    uint64_t max, uint64_t *ret_number)
{
    double number = json_is_number(value) ? json_number_value(value) : -1;

    /* All bounds are far below 2^53, so the double is exact wherever it matters. */
    if (number >= (double)min && number <= (double)max && floor(number) == number) {
        *ret_number = (uint64_t)number;
        return true;
    }
    workflow_faults_add(draft->faults,
        "%s: %s; expected a whole number from %" PRIu64 " to %" PRIu64, place,
        workflow_is(value).text, min, max);
    return false;
}

bool workflow_word(struct draft *draft, const char *place, const json_t *value, const char *chars,
    size_t max, const char *classes)
{
    const char *text = json_string_value(value);
    size_t len = json_string_length(value);

    if (len >= 1 && len <= max && strspn(text, chars) == len) {
        return true;
    }
    workflow_faults_add(draft->faults, "%s: %s; expected 1 to %zu of %s", place,
        workflow_is(value).text, max, classes);
    return false;
}
