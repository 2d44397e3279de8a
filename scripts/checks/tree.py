"""The files of the tree: tracked by git or about to be; everything when there is no git (an unpacked archive)."""

from __future__ import annotations

import pathlib
import subprocess

SKIPPED = {".git", ".venv", "__pycache__", ".pytest_cache", ".hypothesis"}


def files(root: pathlib.Path, *suffixes: str) -> list[pathlib.Path]:
    """Absolute paths, sorted; only names with one of the suffixes when some are given."""
    listed = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        found = [root / name for name in listed.stdout.decode().split("\0") if name]
    else:
        found = [p for p in root.rglob("*") if not SKIPPED & set(p.relative_to(root).parts)]
    return sorted(p for p in found if p.is_file() and (not suffixes or p.suffix in suffixes))


def lines(path: pathlib.Path) -> list[str]:
    """The text's lines; none for a file that is not text."""
    try:
        return path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError:
        return []
