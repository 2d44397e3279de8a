"""No file over 1200 lines, no function over 120; files over 800 lines are mentioned.

C functions are found by their layout: the format check sees to it that a body ends with a brace in the first
column. Python functions are found with ast; a function's docstring does not count.
"""

from __future__ import annotations

import ast
import pathlib
import re
from collections.abc import Iterator

from . import tree

FILE_LIMIT, FILE_NOTE, FUNCTION_LIMIT = 1200, 800, 120
DATA = re.compile(r"^(struct|union|enum|typedef|extern)\b[^()]*\{$|=\s*\{$")


def c_functions(lines: list[str]) -> Iterator[tuple[str, int, int]]:
    """(name, first line, number of lines) of every function body."""
    head, first, inside = "", 0, False
    for number, line in enumerate(lines, 1):
        if inside:
            if line.startswith("}"):
                match = re.search(r"(\w+)\s*\(", head)
                if match and not DATA.search(head):
                    yield match.group(1), first, number - first + 1
                head, inside = "", False
            continue
        if not line.strip() or line.startswith(("#", "/*", " *", "//", "}")):
            continue
        if not head:
            first = number
        head += " " + line.strip() if head else line.strip()
        if line.endswith("{"):
            inside = True
        elif line.endswith((";", "}")):
            head = ""


def python_functions(text: str) -> Iterator[tuple[str, int, int]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            first = node.body[0]
            if ast.get_docstring(node, clean=False) is not None and first.end_lineno:
                length -= first.end_lineno - first.lineno + 1
            yield node.name, node.lineno, length


def _measure(root: pathlib.Path) -> Iterator[tuple[str, int, Iterator[tuple[str, int, int]]]]:
    for path in tree.files(root, ".c", ".h", ".py"):
        lines = tree.lines(path)
        functions = python_functions("\n".join(lines)) if path.suffix == ".py" else c_functions(lines)
        yield str(path.relative_to(root)), len(lines) - 1, functions


def notes(root: pathlib.Path) -> list[str]:
    """What is not wrong yet but should be looked at."""
    return [
        f"{name}: {length} lines; look whether it holds two concepts"
        for name, length, _ in _measure(root)
        if FILE_NOTE < length <= FILE_LIMIT
    ]


def check(root: pathlib.Path) -> list[str]:
    found = []
    for name, length, functions in _measure(root):
        if length > FILE_LIMIT:
            found.append(f"{name}: {length} lines, the limit is {FILE_LIMIT}: split it by concept")
        found += [
            f"{name}:{line}: {function}() has {count} lines, the limit is {FUNCTION_LIMIT}"
            for function, line, count in functions
            if count > FUNCTION_LIMIT
        ]
    return found
