#!/usr/bin/env python3
"""Writes the files of a web page as C, so that the program carries its page.

    embed_page.py OUT.c FILE...

The table is `page_files` of role/page.h. The same files give the same text: no time, no path of
this machine. A file's tag is a digest of its content, so a browser keeps it as long as it is true.
"""

import hashlib
import sys
from pathlib import Path

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
BYTES_PER_LINE = 24


def array(number, data):
    lines = [
        "    " + "".join(f"{byte}," for byte in data[at : at + BYTES_PER_LINE])
        for at in range(0, len(data), BYTES_PER_LINE)
    ]
    return f"static const uint8_t file_{number}[] = {{\n" + "\n".join(lines) + "\n};\n"


def row(number, name, data):
    path = "/" if name == "index.html" else f"/{name}"
    tag = hashlib.sha256(data).hexdigest()[:20]
    kind = TYPES[Path(name).suffix]
    return f'    {{"{path}", "{kind}", "\\"{tag}\\"", file_{number}, sizeof(file_{number})}},\n'


def embed(files):
    """files: (name, bytes) pairs, in any order."""
    files = sorted(files)
    text = '/* Written by tools/embed_page.py. */\n#include "role/page.h"\n\n'
    text += "\n".join(array(i, data) for i, (_, data) in enumerate(files))
    text += "\nconst struct page_file page_files[] = {\n"
    text += "".join(row(i, name, data) for i, (name, data) in enumerate(files))
    return text + "    {0},\n};\n"


def main(out, *paths):
    files = [(Path(path).name, Path(path).read_bytes()) for path in paths]
    empty = [name for name, data in files if not data]
    if empty:
        sys.exit(f"embed_page: {empty[0]} is empty; a page file with content is expected")
    Path(out).write_text(embed(files))


if __name__ == "__main__":
    main(*sys.argv[1:])
