"""C is formatted by clang-format (the version pinned in scripts/requirements.txt); Python passes ruff."""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess
import sys

from . import tree

FINDING = re.compile(r"^(.*?):(\d+):\d+: (?:error|warning): ")


def _tool(name: str) -> str:
    beside = pathlib.Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise FileNotFoundError(f"{name} is not installed: make setup")
    return found


def check_c(root: pathlib.Path) -> list[str]:
    sources = [str(p) for p in tree.files(root, ".c", ".h")]
    if not sources:
        return []
    run = subprocess.run(
        [_tool("clang-format"), "--dry-run", "-Werror", *sources], capture_output=True, text=True, cwd=root, check=False
    )
    first: dict[str, str] = {}
    for line in run.stderr.splitlines():
        match = FINDING.match(line)
        if match:
            first.setdefault(match.group(1), match.group(2))
    if run.returncode and not first:
        return [f"clang-format failed: {run.stderr.strip()[:500]}"]
    return [
        f"{pathlib.Path(name).relative_to(root)}:{line}: not formatted: make format" for name, line in first.items()
    ]


def _ruff(root: pathlib.Path, *arguments: str) -> list[str]:
    run = subprocess.run(
        [_tool("ruff"), *arguments, "--no-cache"], capture_output=True, text=True, cwd=root, check=False
    )
    if run.returncode == 0:
        return []
    return [line for line in (run.stdout + run.stderr).splitlines() if line.strip()]


def check_python(root: pathlib.Path) -> list[str]:
    sources = [str(p.relative_to(root)) for p in tree.files(root, ".py", ".pyi")]
    if not sources:
        return []
    found = [line for line in _ruff(root, "check", "--quiet", "--output-format=concise", *sources) if ": " in line]
    for line in _ruff(root, "format", "--check", "--output-format=concise", *sources):
        if ": unformatted: " in line:
            found.append(f"{line.split(': ')[0]}: not formatted: make format")
    return found


def check(root: pathlib.Path) -> list[str]:
    return check_c(root) + check_python(root)
