/* JSON in tests, written with ' for ". */
#ifndef TESTS_UNIT_FLOW_TEXT_H
#define TESTS_UNIT_FLOW_TEXT_H

#include "tests/support/unit.h"

#include <jansson.h>
#include <string.h>

#include "base/bytes.h"
#include "flow/canon.h"
#include "flow/workflow.h"

/* Gives the value; a test with bad JSON fails. */
static inline json_t *json_of(const char *text)
{
    char copy[4096], why[200] = "";
    size_t len = strlen(text);

    assert_true(len < sizeof(copy));
    for (size_t i = 0; i < len; i++) {
        copy[i] = text[i] == '\'' ? '"' : text[i];
    }
    json_t *value = json_read(span_of(copy, len), why, sizeof(why));
    if (!value) {
        fail_msg("%s: %s", text, why);
    }
    return value;
}

/* Gives a node by itself; free its config. */
static inline struct workflow_node node_of(const char *type, const char *config)
{
    return (struct workflow_node){
        .id = (char *)"n", .type = (char *)type, .config = json_of(config)};
}

/* Is value, canonically written, this? Takes value. */
static inline void assert_json(json_t *value, const char *expected)
{
    struct bytes text = {0};
    char plain[4096];

    assert_non_null(value);
    assert_int_equal(canon_append(&text, value), 0);
    assert_true(text.len < sizeof(plain));
    for (size_t i = 0; i < text.len; i++) {
        plain[i] = text.data[i] == '"' ? '\'' : (char)text.data[i];
    }
    plain[text.len] = 0;
    assert_string_equal(plain, expected);
    bytes_fini(&text);
    json_decref(value);
}

#endif
