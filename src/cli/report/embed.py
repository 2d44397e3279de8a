"""embed.py OUT.c FILE…: the files of the page as C strings, named erg_report_<stem>_<suffix>."""

import pathlib
import sys


def literal(line: str) -> str:
    escaped = "".join(
        c if " " <= c <= "~" and c not in '"\\?' else "".join(f"\\{byte:03o}" for byte in c.encode()) for c in line
    )
    return f'    "{escaped}"'


def main() -> None:
    target, *sources = map(pathlib.Path, sys.argv[1:])
    text = '#include "cli/report/assets.h"\n'
    for source in sources:
        lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
        name = f"erg_report_{source.stem}_{source.suffix[1:]}"
        text += f"\nconst char {name}[] =\n" + "\n".join(map(literal, lines)) + ";\n"
    target.write_text(text)


main()
