#!/usr/bin/env python3
"""Writes the gateway's page as C, so that the program carries it.

    embed_page.py OUT.c MODE PLAIN_DIR APP_DIR

PLAIN_DIR holds the plain page, which needs no build; APP_DIR what `npm run build` made of web/. MODE is
`app` (APP_DIR has to be there), `plain` (it is left out), or `auto` (it is taken when it is there). With the app, `/` is
the app; the plain page is at `/plain` in any case.

The table is `page_files` of role/page.h. The same files give the same text: no time, no path of this machine. A file's
tag is a digest of its content. A file that gzip makes smaller is there in both forms. OUT.c is written only when it
changes, so that nothing is compiled again for nothing.
"""

import gzip
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
# Below this a packet is a packet, and above it gzip has to earn its header.
GZIP_LEAST_BYTES = 512


def array(name, data):
    lines = [
        "    " + "".join(f"{byte}," for byte in data[at : at + BYTES_PER_LINE])
        for at in range(0, len(data), BYTES_PER_LINE)
    ]
    return f"static const uint8_t {name}[] = {{\n" + "\n".join(lines) + "\n};\n"


def packed(data):
    """data as gzip, or nothing when that is hardly smaller."""
    if len(data) < GZIP_LEAST_BYTES:
        return b""
    small = gzip.compress(data, compresslevel=9, mtime=0)
    return small if len(small) < len(data) * 9 // 10 else b""


def string(text):
    return f'"{text}"' if all(c.isalnum() or c in "/._-; =+" for c in text) else sys.exit(
        f"embed_page: {text}: a name of letters, digits and ._- is expected"
    )


def row(number, path, data, small):
    tag = hashlib.sha256(data).hexdigest()[:20]
    kind = TYPES[Path(path).suffix or ".html"]
    # The build puts a digest into these names: another content would have another name.
    immutable = "true" if path.startswith("/assets/") else "false"
    gz = f"file_{number}_gz, sizeof(file_{number}_gz)" if small else "NULL, 0"
    return (
        f'    {{{string(path)}, {string(kind)}, "\\"{tag}\\"", "\\"{tag}-gz\\"", {immutable},\n'
        f"        file_{number}, sizeof(file_{number}), {gz}}},\n"
    )


def embed(files, kind):
    """files: {path of the URL: bytes}; kind: "app" or "plain"."""
    text = '/* Written by tools/embed_page.py. */\n#include "role/page.h"\n\n'
    rows = ""
    for number, (path, data) in enumerate(sorted(files.items())):
        if not data:
            sys.exit(f"embed_page: {path} is empty; a file with content is expected")
        small = packed(data)
        text += array(f"file_{number}", data) + (array(f"file_{number}_gz", small) if small else "")
        rows += row(number, path, data, small)
    text += f'\nconst char page_kind[] = "{kind}";\n'
    return text + "\nconst struct page_file page_files[] = {\n" + rows + "    {0},\n};\n"


def plain_files(folder):
    files = {f"/{path.name}": path.read_bytes() for path in folder.iterdir() if path.is_file()}
    files["/plain"] = files.pop("/index.html")
    return files


def app_files(folder):
    files = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            files["/" + path.relative_to(folder).as_posix()] = path.read_bytes()
    files["/"] = files.pop("/index.html")
    return files


def collect(mode, plain, app):
    """(files, kind) of what goes into the program."""
    files = plain_files(plain)
    if mode != "plain" and (app / "index.html").exists():
        return {**files, **app_files(app)}, "app"
    if mode == "app":
        sys.exit(f"embed_page: {app}/index.html is not there; './dev page' builds it, or choose -Dpage=plain")
    return {**files, "/": files["/plain"]}, "plain"


def main(out, mode, plain, app):
    files, kind = collect(mode, Path(plain), Path(app))
    text = embed(files, kind)
    out = Path(out)
    if not out.exists() or out.read_text() != text:
        out.write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
