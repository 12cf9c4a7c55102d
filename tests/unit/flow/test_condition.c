/* Conditions: both forms mean the same, each op holds when it should, and what is no condition is
 * refused with a sentence. */
#include "flow/condition.h"

#include <errno.h>
#include <stdio.h>

#include "base/mem.h"
#include "tests/unit/flow/flow_text.h"

static struct condition *compiled(json_t *when)
{
    char why[CONDITION_WHY_MAX] = "";
    struct condition *condition = NULL;

    if (condition_compile(when, &condition, why)) {
        fail_msg("%s", why);
    }
    json_decref(when);
    return condition;
}

static bool holds(json_t *when, const char *result)
{
    struct condition *condition = compiled(when);
    json_t *value = result ? json_of(result) : NULL;
    bool answer = condition_holds(condition, value);

    condition_free(condition);
    json_decref(value);
    return answer;
}

/* Written as text, and as an object. */
static bool test_holds(const char *pointer, const char *op, const char *value, const char *result)
{
    char text[500];
    snprintf(text, sizeof(text), "%s %s%s%s", pointer, op, value ? " " : "", value ? value : "");
    for (char *c = text; *c; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    bool answer = holds(json_string(text), result);

    json_t *object = json_object();
    assert_int_equal(json_object_set_new(object, "pointer", json_string(pointer)), 0);
    assert_int_equal(json_object_set_new(object, "op", json_string(op)), 0);
    if (value) {
        assert_int_equal(json_object_set_new(object, "value", json_of(value)), 0);
    }
    assert_int_equal(holds(object, result), answer);
    return answer;
}

static void assert_refused(json_t *when, const char *finding)
{
    char why[CONDITION_WHY_MAX] = "";
    struct condition *condition = NULL;

    assert_int_equal(condition_compile(when, &condition, why), -EINVAL);
    assert_null(condition);
    if (!strstr(why, finding)) {
        fail_msg("\"%s\" does not say \"%s\"", why, finding);
    }
    json_decref(when);
}

static void numbers_compare_by_value(void **state)
{
    (void)state;
    const char *result = "{'price':499.5,'seats':1,'big':9007199254740993}";
    assert_true(test_holds("/price", "<", "500", result));
    assert_true(test_holds("/price", "<=", "499.5", result));
    assert_false(test_holds("/price", "<", "499.5", result));
    assert_true(test_holds("/price", ">", "-1e300", result));
    assert_true(test_holds("/seats", ">=", "1.0", result));
    assert_true(test_holds("/seats", "==", "1.0", result));
    assert_false(test_holds("/seats", "!=", "1.0", result));
    /* Once stored, that number is 9007199254740992: the answer may not change by that. */
    assert_true(test_holds("/big", "==", "9007199254740992", result));
}

static void strings_compare_by_code_point(void **state)
{
    (void)state;
    /* UTF-16 would have the emoji (a surrogate pair) before U+FB01. */
    assert_true(test_holds("/s", ">", "'\xef\xac\x81'", "{'s':'\xf0\x9f\x98\x80'}"));
    assert_true(test_holds("/s", "<", "'ab'", "{'s':'a'}"));
    assert_true(test_holds("/s", ">", "''", "{'s':'a'}"));
    assert_true(test_holds("/s", "==", "'a b'", "{'s':'a b'}"));
}

static void two_kinds_are_unequal_and_not_in_order(void **state)
{
    (void)state;
    static const char *const ops[] = {"<", "<=", ">", ">=", "=="};
    static const char *const values[] = {"'1'", "true", "null", "[1]", "{'a':1}"};

    for (size_t v = 0; v < COUNT_OF(values); v++) {
        for (size_t o = 0; o < COUNT_OF(ops); o++) {
            assert_false(test_holds("/n", ops[o], values[v], "{'n':1}"));
        }
        assert_true(test_holds("/n", "!=", values[v], "{'n':1}"));
    }
    /* Of one kind, but without an order. */
    assert_false(test_holds("/b", "<=", "true", "{'b':true}"));
    assert_false(test_holds("/b", "==", "true", "{'b':false}"));
}

static void arrays_and_objects_are_equal_by_what_is_in_them(void **state)
{
    (void)state;
    assert_true(test_holds(
        "/a", "==", "{'x':[1,{'y':null}],'z':2}", "{'a':{'z':2.0,'x':[1.0,{'y':null}]}}"));
    assert_false(test_holds("/a", "==", "{'x':1}", "{'a':{'x':1,'y':1}}"));
    assert_false(test_holds("/a", "==", "{'x':1,'z':1}", "{'a':{'x':1,'y':1}}"));
    assert_false(test_holds("/a", "==", "[1,2]", "{'a':[2,1]}"));
    assert_true(test_holds("", "==", "[]", "[]"));
}

static void in_looks_through_its_values_and_contains_through_what_was_found(void **state)
{
    (void)state;
    assert_true(test_holds("/city", "in", "['NYC','LA']", "{'city':'LA'}"));
    assert_false(test_holds("/city", "in", "['NYC','LA']", "{'city':'SF'}"));
    assert_false(test_holds("/city", "in", "[]", "{'city':'SF'}"));
    assert_true(test_holds("/tags", "contains", "2", "{'tags':['x',2.0]}"));
    assert_false(test_holds("/tags", "contains", "'y'", "{'tags':['x',2]}"));
    assert_true(test_holds("/text", "contains", "'low'", "{'text':'slowly'}"));
    assert_true(test_holds("/text", "contains", "''", "{'text':''}"));
    assert_false(test_holds("/text", "contains", "'fast'", "{'text':'slowly'}"));
    assert_false(test_holds("/text", "contains", "1", "{'text':'1'}"));
    assert_false(test_holds("/text", "contains", "'a'", "{'text':{'a':1}}"));
}

static void a_missing_value_makes_all_false_but_missing_and_unequal(void **state)
{
    (void)state;
    static const char *const ops[] = {"==", "<", "<=", ">", ">=", "contains"};
    for (size_t i = 0; i < COUNT_OF(ops); i++) {
        assert_false(test_holds("/none", ops[i], "null", "{}"));
    }
    assert_false(test_holds("/none", "in", "[null]", "{}"));
    assert_false(test_holds("/none", "exists", NULL, "{}"));
    assert_true(test_holds("/none", "missing", NULL, "{}"));
    assert_true(test_holds("/none", "!=", "1", "{}"));
    assert_true(test_holds("/null", "exists", NULL, "{'null':null}"));
    assert_false(test_holds("/null", "missing", NULL, "{'null':null}"));
    assert_true(test_holds("", "missing", NULL, NULL));
    assert_false(test_holds("", "exists", NULL, NULL));
}

static void all_any_and_not_combine_and_nest(void **state)
{
    (void)state;
    const char *result = "{'a':1,'b':2}";
    assert_true(holds(json_of("{'all':['/a == 1',{'pointer':'/b','op':'==','value':2}]}"), result));
    assert_false(holds(json_of("{'all':['/a == 1','/b == 1']}"), result));
    assert_true(holds(json_of("{'any':['/a == 2','/b == 2']}"), result));
    assert_false(holds(json_of("{'any':['/a == 2','/b == 1']}"), result));
    assert_false(holds(json_of("{'not':'/a == 1'}"), result));
    assert_true(holds(json_of("{'not':{'any':['/a == 2',{'not':'/b == 2'}]}}"), result));
    assert_true(holds(json_of("{'all':[]}"), result));
    assert_false(holds(json_of("{'any':[]}"), result));
}

static void spaces_between_the_words_do_not_matter(void **state)
{
    (void)state;
    assert_true(holds(json_string("/a   ==    1  "), "{'a':1}"));
    assert_true(holds(json_string("/a exists   "), "{'a':1}"));
    assert_true(holds(json_string(" == [1]"), "[1]")); /* "" is the whole. */
}

static void what_is_no_condition_is_refused_with_a_sentence(void **state)
{
    (void)state;
    assert_refused(json_string(""), "is no condition");
    assert_refused(json_string("/a"), "expected POINTER OP VALUE");
    assert_refused(json_string("a == 1"), "\"a\" is no JSON pointer");
    assert_refused(json_string("/a~ == 1"), "is no JSON pointer");
    assert_refused(json_string("/a = 1"), "did you mean \"==\"?");
    assert_refused(json_string("/a contain 1"), "did you mean \"contains\"?");
    assert_refused(json_string("/a resembles 1"), "there are ==");
    assert_refused(json_string("/a =="), "wants a value");
    assert_refused(json_string("/a exists 1"), "compares with nothing");
    assert_refused(json_string("/a == ok"), "\"ok\" is no JSON (text wants quotes)");
    assert_refused(json_string("/a == 1 2"), "is no JSON");
    assert_refused(json_string("/a in 1"), "wants an array");
    assert_refused(json_of("1"), "text or an object");
    assert_refused(json_of("{}"), "a condition is");
    assert_refused(json_of("{'pointer':'/a','op':1,'value':1}"), "a condition is");
    assert_refused(json_of("{'pointer':'/a','op':'==','value':1,'valeu':2}"), "a condition is");
    assert_refused(json_of("{'all':['/a == 1'],'any':[]}"), "a condition is");
    assert_refused(json_of("{'all':'/a == 1'}"), "\"all\" wants an array");
    assert_refused(json_of("{'any':['/a exists','/b']}"), "\"/b\" is no condition");
}

static void a_sentence_stays_text_whatever_it_quotes(void **state)
{
    (void)state;
    char long_op[600] = "/a ";
    for (size_t i = 3; i < sizeof(long_op) - 3; i += 2) {
        memcpy(long_op + i, "\xc3\xa9", 3); /* é: a cut within it would show. */
    }
    assert_refused(json_string(long_op), "…\" is no comparison");
    assert_refused(json_string("/a \x01\n 1"), "\"??\" is no comparison");
    json_t *nul = json_loads("\"/a \\u0000 1\"", JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    assert_refused(nul, "\"?\" is no comparison");
}

static void depth_is_bounded(void **state)
{
    (void)state;
    json_t *when = json_string("/a exists");
    for (int i = 1; i < CONDITION_DEPTH_MAX; i++) {
        json_t *outer = json_object();
        assert_int_equal(json_object_set_new(outer, "not", when), 0);
        when = outer;
    }
    json_t *deeper = json_pack("{s:O}", "not", when);
    /* 15 times not. */
    assert_false(holds(when, "{'a':1}"));
    assert_refused(deeper, "more than 16 levels");
}

static void parts_are_counted(void **state)
{
    (void)state;
    struct condition *condition =
        compiled(json_of("{'all':['/a in [1,2,3]',{'not':'/b exists'},{'any':[]}]}"));
    assert_int_equal(condition_parts(condition), 1 + 4 + 2 + 1);
    condition_free(condition);
}

/* A filter asks for each of its items: that product must stay small. */
static void the_number_of_parts_is_bounded(void **state)
{
    (void)state;
    json_t *values = json_array(), *parts = json_array();
    for (int i = 0; i < CONDITION_PARTS_MAX - 1; i++) {
        assert_int_equal(json_array_append_new(values, json_integer(i)), 0);
        assert_int_equal(json_array_append_new(parts, json_string("/a exists")), 0);
    }
    json_t *in = json_pack("{s:s, s:s, s:o}", "pointer", "/a", "op", "in", "value", values);
    assert_true(holds(json_incref(in), "{'a':998}"));
    assert_true(holds(json_pack("{s:O}", "all", parts), "{'a':1}"));
    assert_int_equal(json_array_append_new(values, json_integer(1)), 0);
    assert_refused(in, "1000 parts");
    assert_int_equal(json_array_append_new(parts, json_string("/a in [1]")), 0);
    assert_refused(json_pack("{s:o}", "any", parts), "1000 parts");
}

static void without_memory_nothing_is_left_behind(void **state)
{
    (void)state;
    json_t *when = json_of("{'all':['/a == 1',{'any':['/b in [1,2]','/c exists']}]}");
    char why[CONDITION_WHY_MAX];
    int err = -ENOMEM;

    for (int64_t n = 0; err == -ENOMEM; n++) {
        struct condition *condition = NULL;
        mem_fail_after(n);
        err = condition_compile(when, &condition, why);
        mem_fail_after(-1);
        assert_true(n < 100 && (err == 0) == (condition != NULL));
        assert_true(n > 0 || err);
        condition_free(condition);
    }
    assert_int_equal(err, 0);
    json_decref(when);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_compare_by_value),
        cmocka_unit_test(strings_compare_by_code_point),
        cmocka_unit_test(two_kinds_are_unequal_and_not_in_order),
        cmocka_unit_test(arrays_and_objects_are_equal_by_what_is_in_them),
        cmocka_unit_test(in_looks_through_its_values_and_contains_through_what_was_found),
        cmocka_unit_test(a_missing_value_makes_all_false_but_missing_and_unequal),
        cmocka_unit_test(all_any_and_not_combine_and_nest),
        cmocka_unit_test(spaces_between_the_words_do_not_matter),
        cmocka_unit_test(what_is_no_condition_is_refused_with_a_sentence),
        cmocka_unit_test(a_sentence_stays_text_whatever_it_quotes),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(parts_are_counted),
        cmocka_unit_test(the_number_of_parts_is_bounded),
        cmocka_unit_test(without_memory_nothing_is_left_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
