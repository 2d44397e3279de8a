"""Prints the files of the Python package that are installed, one a line, relative to the given folder."""

import pathlib
import sys

SUFFIXES = {".py", ".pyi", ".typed", ".json", ".html", ".css", ".js", ".txt"}


def main() -> None:
    root = pathlib.Path(sys.argv[1])
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.suffix in SUFFIXES and "__pycache__" not in path.parts:
            print(path.relative_to(root).as_posix())


main()
