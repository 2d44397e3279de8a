"""Runs the house checks: check.py [name …]; all of them without a name. Exit status 1 when one finds something."""

from __future__ import annotations

import importlib
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
CHECKS = ["layers", "sizes", "banned", "words", "links", "format", "names", "stubs"]


def main(names: list[str]) -> int:
    unknown = set(names) - set(CHECKS)
    if unknown:
        sys.exit(f"no check named {', '.join(sorted(unknown))}; there are: {', '.join(CHECKS)}")
    passed = failed = 0
    for name in names or CHECKS:
        module = importlib.import_module(f"checks.{name}")
        found = module.check(ROOT)
        for line in getattr(module, "notes", lambda root: [])(ROOT):
            print(f"  note  {line}")
        for line in found:
            print(f"  {name}: {line}")
        print(f"check {name}: {'ok' if not found else f'{len(found)} findings'}", flush=True)
        passed, failed = passed + (not found), failed + bool(found)
    print(f"checks: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "scripts"))
    sys.exit(main(sys.argv[1:]))
