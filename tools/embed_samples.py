#!/usr/bin/env python3
"""Turns workflow definitions into a table of C, so that the one binary carries its samples.

usage: embed_samples.py OUTPUT FILE.json...   writes `const struct sample samples[]`, sorted by name.
"""

import json
import sys
from pathlib import Path


def main():
    target, *sources = map(Path, sys.argv[1:])
    arrays, rows = [], []
    for at, source in enumerate(sorted(sources, key=lambda path: path.stem)):
        data = source.read_bytes()
        json.loads(data)  # A sample that is no JSON should not get as far as a start.
        numbers = ",\n".join(
            ",".join(str(byte) for byte in data[i : i + 32]) for i in range(0, len(data), 32)
        )
        arrays.append(f"static const char sample_{at}[] = {{\n{numbers}}};\n")
        rows.append(f'    {{"{source.stem}", sample_{at}, sizeof(sample_{at})}},\n')
    target.write_text(
        '#include "role/samples.h"\n\n'
        + "\n".join(arrays)
        + f"\nconst struct sample samples[] = {{\n{''.join(rows)}    {{0}},\n}};\n"
    )


main()
