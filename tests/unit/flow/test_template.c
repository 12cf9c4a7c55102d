/* Templates: what is put in, what is left alone, and how little comes out of a bad one. */
#include "flow/template.h"

#include <errno.h>

#include "base/mem.h"
#include "flow/value.h"
#include "tests/unit/flow/flow_text.h"

static const char document[] =
    "{'inputs':{'city':'NYC','n':2,'nested':{'a':[1,2.5]},'quote':'say \\\\','none':null,"
    "'trap':'{{/inputs/city}}'},'results':{'search':{'price':12.0}},'run':{'id':'r1'}}";

static json_t *filled(json_t *template, const char *from, size_t bytes_max, int expected_err)
{
    char why[TEMPLATE_WHY_MAX] = "";
    json_t *root = json_of(from), *made = NULL;
    int err = template_fill(template, root, bytes_max, &made, why);

    if (err != expected_err) {
        fail_msg("%d: %s", err, why);
    }
    assert_true((err == 0) == (made != NULL));
    assert_true(err == 0 || why[0]);
    json_decref(template);
    json_decref(root);
    return made;
}

static void assert_fills(const char *template, const char *expected)
{
    assert_json(filled(json_of(template), document, 4096, 0), expected);
}

static void assert_refused(json_t *template, const char *finding)
{
    char why[TEMPLATE_WHY_MAX] = "";

    assert_int_equal(template_check(template, NULL, NULL, why), -EINVAL);
    if (!strstr(why, finding)) {
        fail_msg("\"%s\" does not say \"%s\"", why, finding);
    }
    assert_null(filled(template, "{}", 4096, -EINVAL));
}

static void assert_misses(const char *template, const char *sentence)
{
    char why[TEMPLATE_WHY_MAX] = "";
    json_t *value = json_of(template), *root = json_of(document), *made = NULL;

    assert_int_equal(template_check(value, NULL, NULL, why), 0);
    assert_int_equal(template_fill(value, root, 4096, &made, why), -ENOENT);
    assert_string_equal(why, sentence);
    json_decref(value);
    json_decref(root);
}

static void a_place_alone_becomes_the_value_of_any_kind(void **state)
{
    (void)state;
    assert_fills("'{{/inputs/city}}'", "'NYC'");
    assert_fills(
        "{'x':['{{/inputs/nested}}',{'y':'{{ /inputs/n }}'}]}", "{'x':[{'a':[1,2.5]},{'y':2}]}");
    assert_fills("'{{/inputs/none}}'", "null");
    assert_fills("'{{/inputs/nested/a/1}}'", "2.5");
}

static void within_text_strings_go_as_they_are_and_the_rest_as_json(void **state)
{
    (void)state;
    assert_fills("'from {{/inputs/city}} for {{/results/search/price}}!'", "'from NYC for 12!'");
    assert_fills("'{{/inputs/city}}{{/inputs/n}}'", "'NYC2'");
    assert_fills("' {{/inputs/n}}'", "' 2'");
    assert_fills("'={{/inputs/nested}}{{/inputs/none}}'", "'={\\'a\\':[1,2.5]}null'");
}

static void what_needs_no_filling_stays(void **state)
{
    (void)state;
    assert_fills("{'a':1,'b':[true,null,'text','}}','{ {'],'{{/x}}':'k'}",
        "{'a':1,'b':[true,null,'text','}}','{ {'],'{{/x}}':'k'}");
    assert_fills("''", "''");
    assert_fills("[]", "[]");
}

static void four_braces_are_two(void **state)
{
    (void)state;
    assert_fills("'{{{{/inputs/city}}'", "'{{/inputs/city}}'");
    assert_fills("'{{{{{{/inputs/city}}'", "'{{NYC'");
}

/* Else whoever writes the inputs would write templates. */
static void what_is_put_in_is_not_looked_at_again(void **state)
{
    (void)state;
    assert_fills("'{{/inputs/trap}}'", "'{{/inputs/city}}'");
    assert_fills("'x{{/inputs/trap}}'", "'x{{/inputs/city}}'");
}

static void a_default_stands_in_for_what_is_missing(void **state)
{
    (void)state;
    assert_fills("'{{/inputs/x | 5}}'", "5");
    assert_fills("'{{/inputs/x|null}}'", "null");
    assert_fills("'{{/inputs/x | \\'a}}b\\' }}'", "'a}}b'");
    assert_fills("'{{/inputs/x | {\\'a\\':{\\'b\\':[]}}}}'", "{'a':{'b':[]}}");
    assert_fills("'<{{/inputs/x | \\'or \\\\\\'this\\\\\\'\\'}}>'", "'<or \\'this\\'>'");
    assert_fills("'{{/inputs/n | 5}}'", "2");
    assert_fills("'{{/inputs/none | 5}}'", "null"); /* null is there. */
}

static void what_is_missing_is_told_with_its_place(void **state)
{
    (void)state;
    assert_misses("{'a':['x',{'b/c':'<{{/results/nobody}}>'}]}",
        "/a/1/b~1c: there is no \"/results/nobody\", and no default for it");
    assert_misses("'{{/inputs/x}}'", "there is no \"/inputs/x\", and no default for it");
}

static void bad_templates_are_refused_with_their_place(void **state)
{
    (void)state;
    assert_refused(json_of("{'a':'{{/x'}"), "/a: a {{ has no }}");
    assert_refused(json_of("'{{/x | [1}}'"), "a {{ has no }}");
    assert_refused(json_of("'{{/x | \\'}}'"), "a {{ has no }}");
    assert_refused(json_of("'{{'"), "a {{ has no }}");
    assert_refused(json_of("'{{/x y}}'"), "{{POINTER | VALUE}}");
    assert_refused(json_of("['','{{ab}}']"), "/1: \"ab\" is no JSON pointer");
    assert_refused(json_of("'{{/a~}}'"), "is no JSON pointer");
    assert_refused(json_of("'{{/x | ok}}'"), "the default \"ok\" is no JSON (text wants quotes)");
    assert_refused(json_of("'{{/x | }}'"), "is no JSON");
}

static const char *no_secrets(void *ctx, struct span pointer)
{
    *(int *)ctx += 1;
    return span_equal(pointer, span_str("/secret")) ? "is a secret" : NULL;
}

static void every_pointer_is_shown_to_who_asks(void **state)
{
    (void)state;
    char why[TEMPLATE_WHY_MAX] = "";
    int seen = 0;
    json_t *fine = json_of("{'a':'{{/x}} {{/y | \\'{{/z}}\\'}}','b':['{{}}','{{{{/no}}']}");
    json_t *bad = json_of("{'a':'{{/x}}','b':['{{/secret}}']}");

    assert_int_equal(template_check(fine, no_secrets, &seen, why), 0);
    assert_int_equal(seen, 3);
    assert_int_equal(template_check(bad, no_secrets, &seen, why), -EINVAL);
    assert_string_equal(why, "/b/0: \"/secret\" is a secret");
    json_decref(fine);
    json_decref(bad);
}

static void text_says_whether_it_has_places(void **state)
{
    (void)state;
    assert_true(template_has_places(span_str("a{{/x}}")));
    assert_true(template_has_places(span_str("{{")));
    assert_false(template_has_places(span_str("{{{{/x}}")));
    assert_false(template_has_places(span_str("a")));
    assert_false(template_has_places(span_of(NULL, 0)));
}

/* A value may be put in often; each time counts, whether it is copied or shared. */
static void nothing_larger_than_allowed_comes_out(void **state)
{
    (void)state;
    char large[1001];
    memset(large, 'x', 1000);
    large[1000] = 0;
    json_t *alone = json_array(), *text = json_array();
    for (int i = 0; i < 100; i++) {
        assert_int_equal(json_array_append_new(alone, json_string("{{/big}}")), 0);
        assert_int_equal(json_array_append_new(text, json_string("-{{/big}}{{/big/none | 1}}")), 0);
    }
    char from[1100] = "{'big':'";
    memcpy(from + strlen(from), large, sizeof(large));
    memcpy(from + strlen(from), "'}", 3);

    assert_null(filled(json_incref(alone), from, 100 * 1002 - 1, -E2BIG));
    assert_null(filled(json_incref(text), from, 100 * 1004, -E2BIG));
    json_decref(filled(alone, from, 101 * 1002, 0));
    json_decref(filled(text, from, 101 * 1004, 0));

    /* Within text, what is escaped counts as it is written: ["\u0001\u0001"] and two quotes. */
    assert_null(filled(json_of("'-{{/o}}'"), "{'o':['\\u0001\\u0001']}", 18, -E2BIG));
    json_decref(filled(json_of("'-{{/o}}'"), "{'o':['\\u0001\\u0001']}", 19, 0));

    assert_null(filled(json_of("'abcdef'"), "{}", 7, -E2BIG));
    json_decref(filled(json_of("'abcdef'"), "{}", 8, 0));
    assert_null(filled(json_of("{'abcdef':1}"), "{}", 11, -E2BIG));
    json_decref(filled(json_of("{'abcdef':1}"), "{}", 12, 0));
    assert_null(filled(json_of("[1,2,3]"), "{}", 6, -E2BIG));
    json_decref(filled(json_of("[1,2,3]"), "{}", 7, 0));
    assert_null(filled(json_of("[[[]]]"), "{}", 5, -E2BIG));
}

static json_t *nested(size_t levels, const char *inner)
{
    json_t *value = json_of(inner);
    for (size_t i = 0; i < levels; i++) {
        json_t *outer = json_array();
        assert_int_equal(json_array_append_new(outer, value), 0);
        value = outer;
    }
    return value;
}

/* What comes out is stored and read again, 64 levels at most. */
static void nothing_deeper_than_can_be_read_comes_out(void **state)
{
    (void)state;
    const char *from = "{'two':[[]]}";
    char why[TEMPLATE_WHY_MAX];

    json_decref(filled(nested(VALUE_DEPTH_MAX - 2, "'{{/two}}'"), from, 4096, 0));
    assert_null(filled(nested(VALUE_DEPTH_MAX - 1, "'{{/two}}'"), from, 4096, -E2BIG));
    assert_null(filled(nested(VALUE_DEPTH_MAX + 1, "1"), from, 4096, -E2BIG));
    json_t *deep = nested(5000, "1");
    assert_int_equal(template_check(deep, NULL, NULL, why), -EINVAL);
    assert_non_null(strstr(why, "64 levels"));
    json_decref(deep);
}

static void a_nul_in_text_is_text(void **state)
{
    (void)state;
    json_t *template = json_loads("\"a\\u0000{{/n}}\"", JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    json_t *made = filled(template, "{'n':1}", 100, 0);
    assert_int_equal(json_string_length(made), 3);
    assert_memory_equal(json_string_value(made), "a\0001", 3);
    json_decref(made);
}

static void without_memory_nothing_is_left_behind(void **state)
{
    (void)state;
    json_t *template = json_of("{'a':['{{/inputs/city}}, {{/inputs/nested}}','{{/x | [1]}}']}");
    json_t *root = json_of(document);
    char why[TEMPLATE_WHY_MAX];
    int err = -ENOMEM;

    for (int64_t n = 0; err == -ENOMEM; n++) {
        json_t *made = NULL;
        mem_fail_after(n);
        err = template_fill(template, root, 4096, &made, why);
        mem_fail_after(-1);
        assert_true(n < 100 && (err == 0) == (made != NULL));
        assert_true(n > 0 || err);
        json_decref(made);
    }
    assert_int_equal(err, 0);
    json_decref(template);
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_place_alone_becomes_the_value_of_any_kind),
        cmocka_unit_test(within_text_strings_go_as_they_are_and_the_rest_as_json),
        cmocka_unit_test(what_needs_no_filling_stays),
        cmocka_unit_test(four_braces_are_two),
        cmocka_unit_test(what_is_put_in_is_not_looked_at_again),
        cmocka_unit_test(a_default_stands_in_for_what_is_missing),
        cmocka_unit_test(what_is_missing_is_told_with_its_place),
        cmocka_unit_test(bad_templates_are_refused_with_their_place),
        cmocka_unit_test(every_pointer_is_shown_to_who_asks),
        cmocka_unit_test(text_says_whether_it_has_places),
        cmocka_unit_test(nothing_larger_than_allowed_comes_out),
        cmocka_unit_test(nothing_deeper_than_can_be_read_comes_out),
        cmocka_unit_test(a_nul_in_text_is_text),
        cmocka_unit_test(without_memory_nothing_is_left_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
