"""Includes point to earlier rooms only.

src:          base < os < table < wire < sched < launch < engine < cli; sched uses base alone; no Python.h
python/core:  its own headers, the public ones, and those of the rooms named in CORE_MAY_USE
include:      the public headers and the system's
"""

from __future__ import annotations

import pathlib
import re

from . import tree

ROOMS = ["base", "os", "table", "wire", "sched", "launch", "engine", "cli"]
CORE_MAY_USE = {"base", "os", "table", "wire", "sched", "launch", "engine"}
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')


def _allowed(room: str) -> set[str]:
    if room == "sched":
        return {"base", "sched"}
    return set(ROOMS[: ROOMS.index(room) + 1])


def _check_library(where: str, room: str, quoted: str | None, angled: str | None) -> str | None:
    name = quoted or angled or ""
    if name.endswith("Python.h"):
        return f"{where}: includes {name}: libergon knows nothing of Python, move this to python/core"
    if not quoted:
        return None
    if quoted.startswith(("..", "/")):
        return f'{where}: includes "{quoted}": write it as "room/file.h"'
    target = quoted.split("/")[0] if "/" in quoted else room
    if target not in ROOMS or target in _allowed(room):
        return None
    why = "sched is pure and uses base alone" if room == "sched" else f"{target} comes after {room}"
    return f'{where}: room {room} includes "{quoted}": {why}'


def _check_core(where: str, quoted: str | None) -> str | None:
    if quoted and quoted.startswith("/"):
        return f'{where}: includes "{quoted}": an absolute path'
    target = quoted.split("/")[0] if quoted and "/" in quoted else None
    if target in ROOMS and target not in CORE_MAY_USE:
        return f'{where}: python/core includes "{quoted}": it may use {", ".join(sorted(CORE_MAY_USE))} of src'
    return None


def _check_public(where: str, quoted: str | None, angled: str | None) -> str | None:
    if quoted:
        return f'{where}: includes "{quoted}": public headers include <ergon/…> and system headers only'
    if angled == "Python.h":
        return f"{where}: a public header includes Python.h"
    return None


def check(root: pathlib.Path) -> list[str]:
    found = []
    for path in tree.files(root, ".c", ".h"):
        relative = path.relative_to(root)
        parts = relative.parts
        for number, line in enumerate(tree.lines(path), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            quoted, angled = match.groups()
            where = f"{relative}:{number}"
            problem = None
            if parts[0] == "src" and len(parts) > 2 and parts[1] in ROOMS:
                problem = _check_library(where, parts[1], quoted, angled)
            elif parts[:2] == ("python", "core"):
                problem = _check_core(where, quoted)
            elif parts[0] == "include":
                problem = _check_public(where, quoted, angled)
            if problem:
                found.append(problem)
    return found
