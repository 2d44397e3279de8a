"""``ergon explain SCRIPT``: runs a program and shows on its source what ran in parallel, and what did not and why.

    python -m ergon.explain [--html FILE] SCRIPT [arguments]

Lines with calls of functionals say how many of them ran ahead and how many had to be waited for; lines at which running
ahead ended say why.
"""

import html
import linecache
import runpy
import sys

from . import _core

__all__ = ["main", "page", "table"]


def _by_file(found):
    files = {}
    for (name, line, what), count in found.items():
        files.setdefault(name, {}).setdefault(line, []).append((what, count))
    return files


def _kind(what):
    return "ahead" if what == "ran ahead" else "call" if what.startswith(("waited for", "ran in")) else "stop"


def _note(entries):
    calls = [f"{count} {what}" for what, count in entries if _kind(what) != "stop"]
    stops = [f"running ahead ends here: {what}" for what, _ in entries if _kind(what) == "stop"]
    return "; ".join(calls + stops)


def _shown(lines):
    """The line numbers to show: those with something to say and a few around them."""
    return sorted({n for line in lines for n in range(max(line - 3, 1), line + 3)})


def table(found, width=60):
    """The text for a terminal."""
    out = []
    for name, lines in _by_file(found).items():
        out.append(name)
        last = 0
        for number in _shown(lines):
            source = linecache.getline(name, number).rstrip("\n")
            if not source and number not in lines:
                continue
            if last and number > last + 1:
                out.append("   ...")
            last = number
            note = _note(lines[number]) if number in lines else ""
            out.append(f"{number:5}  {source:{width}}  {'<- ' + note if note else ''}".rstrip())
    return "\n".join(out) if out else "no scheduled function called a functional"


_STYLE = """body{font:15px/1.5 system-ui;margin:2rem}pre{font:14px/1.5 monospace}.ahead{background:#d9f2df}
.call{background:#fdf1cc}.stop{background:#f9dcdc}i{color:#555;font-family:system-ui}"""


def page(found):
    """The same as HTML."""
    parts = []
    for name, lines in _by_file(found).items():
        rows = []
        for number in _shown(lines):
            source = html.escape(linecache.getline(name, number).rstrip("\n"))
            kinds = {_kind(what) for what, _ in lines.get(number, ())}
            mark = "ahead" if "ahead" in kinds else "stop" if "stop" in kinds else "call" if kinds else ""
            note = f"  <i>{html.escape(_note(lines[number]))}</i>" if number in lines else ""
            rows.append(f'<span class="{mark}">{number:5}  {source}</span>{note}')
        parts.append(f"<h2>{html.escape(name)}</h2><pre>{chr(10).join(rows)}</pre>")
    body = "".join(parts) or "<p>No scheduled function called a functional.</p>"
    return f"<!doctype html><meta charset=utf-8><title>ergon explain</title><style>{_STYLE}</style>{body}\n"


def main(arguments):
    """Runs the script that the arguments name and says what happened; returns the exit status."""
    to = None
    if arguments[:1] == ["--html"] and len(arguments) > 1:
        to, arguments = arguments[1], arguments[2:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if arguments else 2
    sys.argv = arguments
    sys.path[0] = str(__import__("pathlib").Path(arguments[0]).resolve().parent)
    _core._flow_explain(True)
    try:
        runpy.run_path(arguments[0], run_name="__main__")
    finally:
        found = _core._flow_explain(False) or {}
        if to:
            with open(to, "w", encoding="utf-8") as file:
                file.write(page(found))
        else:
            print(table(found), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
