"""Proves that the layer check catches each kind of breach, and nothing that is allowed."""

import tempfile
import unittest
from pathlib import Path

import check_layers

RULES = check_layers.Rules(
    (Path(__file__).resolve().parent / "layers.txt").read_text()
)


def findings(path, text):
    return list(check_layers.check_text(RULES, Path(path), text))


class Arrows(unittest.TestCase):
    def test_an_arrow_down_is_fine(self):
        self.assertEqual(findings("conn/ws.c", '#include "core/channel.h"\n#include "conn/x.h"\n'), [])

    def test_every_arrow_not_in_the_table_is_caught(self):
        for layer, uses in RULES.uses.items():
            for target in RULES.uses:
                path = "main.c" if layer == "main" else f"{layer}/x.c"
                found = findings(path, f'#include "{target}/y.h"\n')
                allowed = "*" in uses or target in uses or target == layer
                self.assertEqual(bool(found), not allowed, f"{layer} -> {target}")

    def test_an_arrow_up_names_its_line_and_what_is_allowed(self):
        (breach,) = findings("core/channel.c", '/* a */\n\n  #  include "conn/ws.h"\n')
        self.assertEqual(breach[0], 3)
        self.assertIn("core may use: base", breach[1])

    def test_siblings_do_not_meet(self):
        self.assertTrue(findings("link/redis.c", '#include "conn/ws.h"\n'))
        self.assertTrue(findings("ctl/admin.c", '#include "link/redis.h"\n'))

    def test_a_port_that_is_named_may_be_met(self):
        self.assertFalse(findings("store/flow_db.c", '#include "flow/ports.h"\n'))
        self.assertTrue(findings("store/flow_db.c", '#include "flow/run.h"\n'))
        self.assertTrue(findings("conn/ws.c", '#include "flow/ports.h"\n'))

    def test_proto_and_core_know_no_runtime(self):
        self.assertTrue(findings("proto/ws.c", '#include "rt/loop.h"\n'))
        self.assertTrue(findings("core/outbox.c", '#include "rt/timer.h"\n'))

    def test_role_and_main_may_use_all(self):
        self.assertEqual(findings("role/serve.c", '#include "link/redis.h"\n'), [])
        self.assertEqual(findings("main.c", '#include "role/role.h"\n'), [])

    def test_a_deeper_folder_belongs_to_its_layer(self):
        self.assertTrue(findings("core/deep/er.c", '#include "rt/loop.h"\n'))

    def test_an_unknown_folder_is_caught(self):
        self.assertTrue(findings("misc/x.c", "int x;\n"))
        self.assertTrue(findings("core/x.c", '#include "tests/support/unit.h"\n'))

    def test_a_path_upwards_is_caught(self):
        self.assertTrue(findings("core/x.c", '#include "../base/log.h"\n'))
        self.assertTrue(findings("core/x.c", '#include "core/../rt/loop.h"\n'))

    def test_an_include_in_a_comment_is_not_code(self):
        self.assertEqual(findings("core/x.c", '// #include "rt/loop.h"\n/*\n#include "rt/a.h"\n*/\n'), [])


class NetworkHeaders(unittest.TestCase):
    HEADERS = (
        "sys/socket.h", "sys/epoll.h", "sys/eventfd.h", "sys/timerfd.h",
        "netinet/in.h", "netinet/tcp.h", "netdb.h",
    )

    def test_each_is_caught_outside_rt(self):
        for header in self.HEADERS:
            for path in ("core/x.c", "link/x.c", "role/x.c", "main.c"):
                self.assertTrue(findings(path, f"#include <{header}>\n"), f"{path} {header}")

    def test_each_is_fine_in_rt(self):
        for header in self.HEADERS:
            self.assertEqual(findings("rt/x.c", f"#include <{header}>\n"), [])

    def test_other_system_headers_are_fine(self):
        self.assertEqual(findings("core/x.c", "#include <errno.h>\n#include <sys/uio.h>\n"), [])


class BannedCalls(unittest.TestCase):
    def test_each_is_caught_with_its_line(self):
        for call in ("strcpy", "strcat", "sprintf", "gets", "strtok"):
            (breach,) = findings("base/x.c", f"int a;\nvoid f(void) {{ {call} (a, b); }}\n")
            self.assertEqual(breach[0], 2)
            self.assertIn(call, breach[1])

    def test_their_bounded_cousins_and_members_are_fine(self):
        text = "snprintf(a); strtok_r(a); fgets(a); box->gets(1); box.gets(1); my_strcpy(a);\n"
        self.assertEqual(findings("base/x.c", text), [])

    def test_comments_and_strings_are_not_code(self):
        text = 'const char *a = "strcpy(x) \\" strcat(y)"; // gets(z)\n/* sprintf(q) */ char c = \'"\';\n'
        self.assertEqual(findings("base/x.c", text), [])


class Tree(unittest.TestCase):
    def test_breaches_long_files_and_the_count_are_reported(self):
        with tempfile.TemporaryDirectory() as folder:
            src = Path(folder) / "src"
            (src / "core").mkdir(parents=True)
            (src / "core" / "a.c").write_text('#include "rt/loop.h"\n')
            (src / "core" / "b.h").write_text("int x;\n" * 601)
            (src / "core" / "c.txt").write_text('#include "rt/loop.h"\n')
            breaches, warnings, count = check_layers.check_tree(RULES, src)
        self.assertEqual(count, 2)
        self.assertEqual(len(breaches), 1)
        self.assertTrue(breaches[0].startswith("src/core/a.c:1: "))
        self.assertEqual(len(warnings), 1)

    def test_a_table_that_names_an_unknown_layer_is_refused(self):
        with self.assertRaises(ValueError):
            check_layers.Rules("core: bass\n")


if __name__ == "__main__":
    unittest.main()
