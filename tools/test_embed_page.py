"""embed_page.py: which page goes into the program, and in which form."""

import gzip
import re
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import embed_page

LONG = b"<p>the same again</p>\n" * 100


class EmbedPage(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.plain, self.app = Path(folder.name, "plain"), Path(folder.name, "app")
        self.plain.mkdir()
        (self.plain / "index.html").write_bytes(LONG)
        (self.plain / "style.css").write_bytes(b"p{}")
        self.out = Path(folder.name, "out.c")

    def build_app(self):
        (self.app / "assets").mkdir(parents=True)
        (self.app / "index.html").write_bytes(b"<title>app</title>")
        (self.app / "assets" / "index-abc.js").write_bytes(LONG)

    def paths(self, mode):
        files, kind = embed_page.collect(mode, self.plain, self.app)
        return sorted(files), kind

    def test_without_the_app_the_plain_page_is_at_both_addresses(self):
        for mode in ("auto", "plain"):
            self.assertEqual(self.paths(mode), (["/", "/plain", "/style.css"], "plain"))

    def test_with_the_app_the_plain_page_stays(self):
        self.build_app()
        for mode in ("auto", "app"):
            self.assertEqual(self.paths(mode), (["/", "/assets/index-abc.js", "/plain", "/style.css"], "app"))
        self.assertEqual(self.paths("plain")[1], "plain")

    def test_an_app_that_was_asked_for_and_is_not_there_ends_the_build(self):
        with self.assertRaisesRegex(SystemExit, "index.html is not there"):
            self.paths("app")

    def test_an_empty_file_ends_the_build(self):
        (self.plain / "style.css").write_bytes(b"")
        with self.assertRaisesRegex(SystemExit, "style.css is empty"):
            embed_page.main(self.out, "auto", self.plain, self.app)

    def test_gzip_where_it_helps_and_for_ever_where_the_name_is_a_digest(self):
        self.build_app()
        embed_page.main(self.out, "auto", self.plain, self.app)
        text = self.out.read_text()
        rows = dict(re.findall(r'\{"(\S+)", .*?, (true|false),', text))
        self.assertEqual(rows, {"/": "false", "/assets/index-abc.js": "true", "/plain": "false", "/style.css": "false"})
        array = re.search(r"file_1_gz\[\] = \{\n(.*?)\};", text, re.S).group(1)
        data = bytes(int(byte) for byte in array.replace("\n", "").replace(" ", "").rstrip(",").split(","))
        self.assertEqual(gzip.decompress(data), LONG)
        self.assertNotIn("file_3_gz", text)  # Three bytes of style are sent as they are.

    def test_the_same_files_write_nothing(self):
        embed_page.main(self.out, "auto", self.plain, self.app)
        before = self.out.stat().st_mtime_ns
        embed_page.main(self.out, "auto", self.plain, self.app)
        self.assertEqual(self.out.stat().st_mtime_ns, before)


if __name__ == "__main__":
    unittest.main()
