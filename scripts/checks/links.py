"""Relative links in Markdown files lead to files that are there, and to headings that are there."""

from __future__ import annotations

import pathlib
import re

from . import tree

LINK = re.compile(r"(?<!!)\[[^\]\[]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.S | re.M)


def _anchors(text: str) -> set[str]:
    """Headings the way GitHub turns them into anchors."""
    found = set()
    for heading in re.findall(r"^#+\s+(.*?)\s*#*$", FENCE.sub("", text), re.M):
        plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return found


def _broken(source: pathlib.Path, target: str) -> str | None:
    name, _, anchor = target.partition("#")
    place = (source.parent / name).resolve() if name else source
    if not place.exists():
        return "no such file"
    if anchor and place.suffix == ".md" and anchor not in _anchors(place.read_text()):
        return "no such heading"
    return None


def check(root: pathlib.Path) -> list[str]:
    found = []
    for path in tree.files(root, ".md"):
        text = "\n".join(tree.lines(path))
        blanked = FENCE.sub(lambda m: "\n" * m.group().count("\n"), text)
        for match in LINK.finditer(blanked):
            target = match.group(1) or match.group(2)
            if re.match(r"[a-z]+:", target):
                continue
            problem = _broken(path, target)
            if problem:
                line = blanked.count("\n", 0, match.start()) + 1
                found.append(f"{path.relative_to(root)}:{line}: link to {target}: {problem}")
    return found
