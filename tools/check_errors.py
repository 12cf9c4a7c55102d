#!/usr/bin/env python3
"""Checks that docs/errors.md lists the error codes that the sources answer with, and no others.

Looks at every call that takes a code and every reply that is spelled out as JSON. A code must be a
literal there, or come from a function or a member named in SOURCES. Exits with 1 and a line for
each finding.
"""

import re
import sys
from pathlib import Path

# Calls that take a code: name -> (which argument, where the code is seen).
CALLS = {
    "http_reply_error": (2, "http"),
    "refuse": (2, "http"),
    "reply_fault": (1, "http"),
    "answer_error": (3, "fanout.v1"),
    "ask_error": (3, "http"),
}

# The files that answer; below them other functions have such names.
FILES = ("http/*.c", "conn/*.c", "ctl/*.c", "role/*.c", "flow/flow*.c")

# What else may stand for a code: expression -> (pattern of its literals, where they are seen).
SOURCES = {
    "code": None,  # Parameters that are passed on.
    "word": None,
    "code_of": (r"static const char \*code_of\(.*?\n}", {"http"}),
    "error_code": (r"static const char \*error_code\(.*?\n}", {"http", "fanout.v1"}),
    "publish_error_code": (r"static const char \*error_code\(.*?\n}", {"http", "fanout.v1"}),
    "target.code": (r"target->code = [^;]*;", {"http"}),
}

LITERAL = re.compile(r'"([a-z0-9_]+)"')
COMMENT = re.compile(r'/\*.*?\*/|("(?:\\.|[^"\\])*")', re.DOTALL)


def arguments(text, start):
    """The arguments of the call whose '(' stands before start."""
    parts, depth, at, quoted = [""], 0, start, False
    while depth >= 0 and at < len(text):
        c = text[at]
        if quoted and c == "\\":
            parts[-1] += text[at : at + 2]
            at += 2
            continue
        if c == '"':
            quoted = not quoted
        elif not quoted:
            depth += (c in "([{") - (c in ")]}")
            if depth < 0:
                break
            if c == "," and depth == 0:
                parts.append("")
                at += 1
                continue
        parts[-1] += c
        at += 1
    return [part.strip() for part in parts]


def literals_of(expression):
    """The codes an argument may be, and what in it is no literal."""
    found = set(LITERAL.findall(expression))
    rest = re.sub(r"[^?:]*\?", "", LITERAL.sub("", expression))  # Conditions choose, they are no codes.
    names = {re.sub(r"\(.*", "", part).strip() for part in rest.split(":")} - {""}
    return found, names


def scan(sources):
    """sources: path -> text. Returns {'http': codes, 'fanout.v1': codes}, findings."""
    codes = {"http": set(), "fanout.v1": set()}
    findings = []
    used = set()
    texts = {p: COMMENT.sub(lambda m: m.group(1) or " ", t) for p, t in sources.items()}
    for path, text in texts.items():
        for name, (index, where) in CALLS.items():
            for call in re.finditer(rf"\b{name}\(", text):
                given = arguments(text, call.end())
                if any(re.match(r"(const |struct )", argument) for argument in given):
                    continue  # Its declaration.
                literal, names = literals_of(given[index]) if index < len(given) else (set(), {"?"})
                codes[where] |= literal
                for other in names - {"code", "word"}:
                    if other not in SOURCES:
                        line = text[: call.start()].count("\n") + 1
                        findings.append(f"{path}:{line}: the code '{other}' cannot be followed; "
                                        "a literal is expected, or a source known to tools/check_errors.py")
                    else:
                        used.add(other)
        codes["http"] |= set(re.findall(r'\\"code\\":\\"([a-z0-9_]+)\\"', text))
    for name in used:
        pattern, places = SOURCES[name]
        bodies = [body for text in texts.values() for body in re.findall(pattern, text, re.DOTALL)]
        if not bodies:
            findings.append(f"tools/check_errors.py: nothing in the sources looks like {name}")
        for where in places:
            codes[where] |= {code for body in bodies for code in LITERAL.findall(body)}
    return codes, findings


def listed(page):
    """The codes in the tables of docs/errors.md, by section."""
    found = {"http": set(), "fanout.v1": set()}
    for section in page.split("\n## ")[1:]:
        where = "fanout.v1" if section.startswith("fanout.v1") else "http" if section.startswith("HTTP") else None
        if where:
            found[where] |= set(re.findall(r"^\| `([a-z0-9_]+)` \|", section, re.MULTILINE))
    return found


def check(sources, page):
    codes, findings = scan(sources)
    known = listed(page)
    for where in codes:
        findings += [f"docs/errors.md: {where}: `{code}` is answered and not listed"
                     for code in sorted(codes[where] - known[where])]
        findings += [f"docs/errors.md: {where}: `{code}` is listed and nobody answers it"
                     for code in sorted(known[where] - codes[where])]
    return findings


def main():
    root = Path(__file__).resolve().parent.parent
    sources = {str(path.relative_to(root)): path.read_text()
               for files in FILES for path in sorted(root.glob(f"src/{files}"))}
    findings = check(sources, (root / "docs/errors.md").read_text())
    print("\n".join(findings) if findings else f"errors: {len(sources)} files, every code is listed")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
