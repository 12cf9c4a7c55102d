#!/usr/bin/env python3
"""Turns a file into a C array, so that the one binary carries its pages.

usage: embed.py NAME INPUT OUTPUT   writes `const char NAME[]` (NUL-terminated) and `NAME_len`.
"""

import sys
from pathlib import Path


def main():
    name, source, target = sys.argv[1:]
    data = Path(source).read_bytes()
    rows = [
        ",".join(str(byte) for byte in data[at : at + 32]) for at in range(0, len(data), 32)
    ]
    body = ",\n".join([*rows, "0"])
    Path(target).write_text(
        "#include <stddef.h>\n"
        f"extern const char {name}[];\nextern const size_t {name}_len;\n"
        f"const char {name}[] = {{\n{body}}};\nconst size_t {name}_len = {len(data)};\n"
    )


main()
