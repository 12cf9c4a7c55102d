"""Proves that the check of error codes finds what drifted, and follows every way a code is given."""

import unittest

import check_errors

PAGE = """# Errors

## HTTP

| `busy` | 503 | later |

## fanout.v1

| `exists` | there |
"""
GOOD = 'http_reply_error(x, 503, "busy", "a, (sentence)"); answer_error(s, c, id, "exists", why);'


def check(text, page=PAGE):
    return check_errors.check({"a.c": text}, page)


class Codes(unittest.TestCase):
    def test_what_is_listed_is_fine(self):
        self.assertEqual(check(GOOD), [])

    def test_a_code_that_is_not_listed_is_found(self):
        self.assertEqual(check(GOOD + 'http_reply_error(x, 400, "odd", "m");'),
                         ["docs/errors.md: http: `odd` is answered and not listed"])

    def test_the_coordinators_answers_are_seen(self):
        found = check(GOOD + 'ask_error(flow, ask, 404, "gone", text); refuse(errand, code, word, text);')
        self.assertEqual(found, ["docs/errors.md: http: `gone` is answered and not listed"])

    def test_each_list_is_its_own(self):
        self.assertIn("fanout.v1: `busy` is answered", check(GOOD + 'answer_error(s, c, id, "busy", "m");')[0])

    def test_a_code_that_nobody_answers_is_found(self):
        self.assertIn("`exists` is listed and nobody", check('http_reply_error(x, 503, "busy", "m");')[0])

    def test_both_sides_of_a_choice_are_seen(self):
        found = check(GOOD + 'http_reply_error(x, 400, bad ? "one" : "two", "m");')
        self.assertEqual(len(found), 2, found)

    def test_json_that_is_spelled_out_is_seen(self):
        self.assertIn("`full`", check(GOOD + r'char t[] = "{\"error\":{\"code\":\"full\"}}";')[0])

    def test_a_code_from_elsewhere_must_be_known(self):
        self.assertIn("cannot be followed", check(GOOD + 'http_reply_error(x, 400, guess(), "m");')[0])

    def test_what_a_known_function_returns_is_seen(self):
        text = 'static const char *code_of(int s)\n{\n    return "late";\n}\n'
        self.assertIn("`late`", check(GOOD + text + "refuse(session, 400, code_of(s), why);")[0])

    def test_a_comment_is_no_call(self):
        self.assertEqual(check(GOOD + '/* http_reply_error(x, 1, "never", "m") */'), [])


class TheTree(unittest.TestCase):
    def test_the_sources_and_the_page_agree(self):
        self.assertEqual(check_errors.main(), 0)


if __name__ == "__main__":
    unittest.main()
