"""Every global symbol of libergon starts with erg_: a program that links it keeps all other names for itself.

Looks at the archive (all rooms) and at what the shared library exports, which must be in the public headers.
"""

from __future__ import annotations

import pathlib
import re
import subprocess

from . import tree

# What the linker and the sanitizers add.
FOREIGN = re.compile(
    r"^(_init|_fini|_edata|_end|__bss_start|__(asan|ubsan|tsan|odr_asan|start|stop|sanitizer)_?.*|\.L.*)$"
)


def global_symbols(library: pathlib.Path, dynamic: bool = False) -> set[str]:
    options = ["-D"] if dynamic else ["-g"]
    run = subprocess.run(["nm", *options, "--defined-only", str(library)], capture_output=True, text=True, check=True)
    fields = (line.split() for line in run.stdout.splitlines())
    return {parts[2].split("@")[0] for parts in fields if len(parts) == 3 and not FOREIGN.match(parts[2])}


def declared(root: pathlib.Path) -> set[str]:
    """Names that stand before a bracket, or as data, in a declaration marked ERG_API."""
    found = set()
    for path in tree.files(root / "include", ".h"):
        text = re.sub(r"/\*.*?\*/", " ", path.read_text(), flags=re.S)
        for statement in re.findall(r"\bERG_API\b([^;{]*)", text):
            found.update(re.findall(r"\b(erg_\w+)\s*(?:\(|\[|$)", statement.strip()))
    return found


def check(root: pathlib.Path, build: pathlib.Path | None = None) -> list[str]:
    build = build or root / "build"
    archive, shared = build / "src" / "libergon.a", build / "src" / "libergon.so"
    if not archive.exists() or not shared.exists():
        return [f"{build}: no libergon to look at: make build"]
    found = [
        f"libergon.a: global symbol {name}: make it static or call it erg_…"
        for name in sorted(global_symbols(archive))
        if not name.startswith("erg_")
    ]
    public = declared(root)
    found += [
        f"libergon.so exports {name}, which no public header declares with ERG_API"
        for name in sorted(global_symbols(shared, dynamic=True) - public)
    ]
    found += [
        f"include/ergon declares {name}, which libergon.so does not export"
        for name in sorted(public - global_symbols(shared, dynamic=True))
    ]
    return found
