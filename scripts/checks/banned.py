"""Calls the library must not make: it never prints, exits or aborts, and uses no function that cannot know a size.

Looks at src, without the command and the tests, and at python/core. `_exit` is allowed: it ends worker processes.
"""

from __future__ import annotations

import pathlib
import re

from . import tree

ADVICE = {
    **dict.fromkeys(
        ["printf", "vprintf", "puts", "putchar", "perror", "psignal", "err", "errx", "warn", "warnx"],
        "the library never prints: fill a struct erg_error",
    ),
    **dict.fromkeys(["exit", "abort", "quick_exit"], "the library never ends the process: return an erg_err"),
    **dict.fromkeys(
        ["strcpy", "strcat", "sprintf", "vsprintf", "gets", "stpcpy"], "use snprintf or memcpy with a size"
    ),
    **dict.fromkeys(["strtok", "asctime", "ctime", "localtime", "gmtime", "readdir_r"], "not thread-safe"),
    **dict.fromkeys(
        ["system", "popen", "mktemp", "tmpnam", "tempnam"], "start a process without a shell; use mkostemp"
    ),
    **dict.fromkeys(["atoi", "atol", "atoll"], "cannot tell an error: use strtol and look at the end"),
}
CALL = re.compile(r"(?<![\w.>])(" + "|".join(ADVICE) + r")\s*\(")
TO_STREAM = re.compile(r"\b(?:fprintf|fputs|fputc|vfprintf)\s*\([^;]*\b(?:stderr|stdout)\b")
NOISE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.S)


def _code(text: str) -> str:
    """The text with comments and strings blanked; lines stay where they were."""
    return NOISE.sub(lambda m: "\n" * m.group().count("\n"), text)


def _concerned(relative: pathlib.Path) -> bool:
    if relative.name.endswith("_test.c"):
        return False
    parts = relative.parts
    return (parts[0] == "src" and parts[1] != "cli") or parts[:2] == ("python", "core")


def check(root: pathlib.Path) -> list[str]:
    found = []
    for path in tree.files(root, ".c", ".h"):
        relative = path.relative_to(root)
        if not _concerned(relative):
            continue
        code = _code("\n".join(tree.lines(path)))
        for match in CALL.finditer(code):
            name = match.group(1)
            found.append(f"{relative}:{code.count(chr(10), 0, match.start()) + 1}: {name}(): {ADVICE[name]}")
        for match in TO_STREAM.finditer(code):
            line = code.count("\n", 0, match.start()) + 1
            found.append(f"{relative}:{line}: writes to a standard stream: the library never prints")
    return found
