"""Words that do not belong in the repository: marks of unfinished work in the product, and paths of one machine."""

from __future__ import annotations

import pathlib
import re

from . import tree

# Put together from pieces so that this file does not find itself.
UNFINISHED = [
    (r"\bTO" r"DO\b", "finish it or describe it in an issue"),
    (r"\bFIX" r"ME\b", "fix it or describe it in an issue"),
    (r"\bXX" r"X\b", "finish it or describe it in an issue"),
    (r"\bHA" r"CK\b", "say why it is right, or make it right"),
    (r"\bfor " r"now\b", "the reader has no other time: say what it does"),
    (r"\bnot (yet )?implement" r"ed( yet)?\b", "implement it, or say what the user should do instead"),
    (r"\bplace" r"holder\b", "say what the thing is"),
]
BEGINS = r"(?<![\w.])"
PLACES = [
    (BEGINS + r"/ro" r"ot/", "a path of one machine"),
    (BEGINS + r"/ho" r"me/\w+/", "a path of one machine"),
    (BEGINS + r"/wo" r"rk/", "a path of one machine"),
    (r"\.\./sha" r"red\b", "a path outside the repository"),
    (r"\b(localhost|127\.0\.0\.1)[:\d]*/(simple|py" r"pi)\b", "a package registry of one machine"),
]
PRODUCT = ("src", "include", "python", "examples")
TEXT_SUFFIXES = {
    ".c",
    ".h",
    ".py",
    ".pyi",
    ".md",
    ".toml",
    ".build",
    ".options",
    ".sh",
    ".txt",
    ".html",
    ".js",
    ".css",
    ".1",
    ".json",
    ".yml",
    ".ini",
    "",
}


def _in_bytes(path: pathlib.Path, relative: pathlib.Path) -> list[str]:
    """Paths of one machine in a file that is not text: there any byte may stand before them, that of their length too."""
    data = path.read_bytes()
    found = []
    for pattern, advice in PLACES:
        for match in re.finditer(pattern.removeprefix(BEGINS).encode(), data):
            found.append(f"{relative}: byte {match.start()}: “{match.group().decode()}”: {advice}")
    return found


def check(root: pathlib.Path) -> list[str]:
    found = []
    for path in tree.files(root):
        relative = path.relative_to(root)
        if path.suffix not in TEXT_SUFFIXES or not tree.lines(path):
            found += _in_bytes(path, relative)
            continue
        rules = PLACES + (UNFINISHED if relative.parts[0] in PRODUCT else [])
        text = "\n".join(tree.lines(path))
        for pattern, advice in rules:
            for match in re.finditer(pattern, text):
                line = text.count("\n", 0, match.start()) + 1
                found.append(f"{relative}:{line}: “{match.group().strip()}”: {advice}")
    return found
