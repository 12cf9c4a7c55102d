#!/usr/bin/env python3
"""Checks that the arrows between the folders of src/ point down only, as tools/layers.txt says.

Prints one line per breach, `file:line: finding; expectation`, and exits with 1 when there is any.
Files past 600 lines are named as a warning: a second concept may be hiding there.
"""

import fnmatch
import re
import sys
from pathlib import Path

LINES_MAX = 600

# Comments, strings and character constants: what they hold is not code.
TOKEN = re.compile(
    r"""//(?:\\\n|[^\n])*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.DOTALL
)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"\n]*)"|<([^>\n]*)>)', re.MULTILINE)


class Rules:
    """The table: layer -> layers it may use, headers kept to one layer, banned calls."""

    def __init__(self, text):
        self.uses = {}
        self.only = []  # (layer, [patterns])
        self.banned = []
        for number, line in enumerate(text.splitlines(), 1):
            line = line.split("#", 1)[0].strip()
            if not line:
                continue
            head, colon, tail = line.partition(":")
            if not colon:
                raise ValueError(f"layers.txt:{number}: '{line}' has no ':'")
            words = tail.split()
            if head == "banned":
                self.banned += words
            elif head.startswith("only "):
                self.only.append((head.split()[1], words))
            else:
                self.uses[head] = words
        for layer, words in self.uses.items():
            for word in words:
                if word != "*" and word.partition("/")[0] not in self.uses:
                    raise ValueError(f"layers.txt: {layer} uses '{word}', which is no layer")

    def allows(self, layer, target, header):
        words = self.uses[layer]
        return layer == target or "*" in words or target in words or header in words


def blank(match):
    """Keeps line numbers: everything but newlines becomes a space."""
    return re.sub(r"[^\n]", " ", match.group(0))


def without_comments(text):
    """Comments blanked; strings stay, so that include paths can still be read."""
    return TOKEN.sub(lambda m: blank(m) if m.group(0).startswith(("//", "/*")) else m.group(0), text)


def layer_of(path):
    """The layer of a path below src/: its first folder; a file in src/ itself is 'main'."""
    return path.parts[0] if len(path.parts) > 1 else "main"


def check_text(rules, path, text):
    """Yields (line, finding) for one file; path is relative to src/."""
    layer = layer_of(path)
    if layer not in rules.uses:
        yield 1, f"folder '{layer}' is no layer; add it to tools/layers.txt with what it may use"
        return
    code = without_comments(text)
    for match in INCLUDE.finditer(code):
        line = code.count("\n", 0, match.start()) + 1
        own, system = match.groups()
        if own is not None:
            if own.startswith("../") or "/../" in own:
                yield line, f'includes "{own}"; write the path from src/'
                continue
            target, slash, _ = own.partition("/")
            if not slash:
                continue
            if target not in rules.uses:
                yield line, f'includes "{own}"; "{target}" is no layer of src/'
            elif not rules.allows(layer, target, own):
                may = " ".join(rules.uses[layer]) or "libc only"
                yield line, f'{layer} includes "{own}"; {layer} may use: {may}'
            continue
        for owner, patterns in rules.only:
            if layer != owner and any(fnmatch.fnmatchcase(system, p) for p in patterns):
                yield line, f"includes <{system}>; only {owner} makes network system calls"
    if rules.banned:
        code = TOKEN.sub(blank, text)
        calls = re.compile(r"(?<![\w.>])(%s)\s*\(" % "|".join(map(re.escape, rules.banned)))
        for match in calls.finditer(code):
            line = code.count("\n", 0, match.start(1)) + 1
            yield line, f"calls {match.group(1)}(); it cannot be bounded"


def check_tree(rules, src):
    """Returns (breaches, warnings, files): lines to print, and how many files were read."""
    breaches, warnings, count = [], [], 0
    for path in sorted(p for p in src.rglob("*") if p.suffix in (".c", ".h")):
        text = path.read_text(encoding="utf-8", errors="replace")
        count += 1
        shown = f"{src.name}/{path.relative_to(src).as_posix()}"
        for line, finding in check_text(rules, path.relative_to(src), text):
            breaches.append(f"{shown}:{line}: {finding}")
        lines = text.count("\n")
        if lines > LINES_MAX:
            warnings.append(f"{shown}:{lines}: warning: more than {LINES_MAX} lines in one file")
    return breaches, warnings, count


def main():
    root = Path(__file__).resolve().parent.parent
    src = Path(sys.argv[1]) if len(sys.argv) > 1 else root / "src"
    rules = Rules((root / "tools" / "layers.txt").read_text())
    breaches, warnings, count = check_tree(rules, src)
    for line in warnings + breaches:
        print(line)
    if count == 0:
        print(f"{src}: no C files; nothing was checked")
        return 1
    print(f"layers: {count} files, {len(breaches)} breaches, {len(warnings)} long files")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
