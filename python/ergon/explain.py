"""``ergon explain SCRIPT``: runs a program and shows on its source what ran in parallel, and what did not and why.

    ergon explain [--html FILE] [--svg FILE] [--color auto|always|never] SCRIPT|-m MODULE [arguments]

Statements with calls of functionals say how many of them ran ahead and how many had to be waited for, and how long;
statements at which running ahead ended say why.
"""

import ast
import html
import importlib.util
import linecache
import os
import pkgutil
import runpy
import sys

from . import _core, _dataflow

__all__ = ["main", "page", "picture", "table"]

_WAITED = "microseconds waited"

# What can be done about the end of running ahead.
_ADVICE = {
    "a module-level function has effects": "decorate it with @schedule and it is followed, or with @functional if it has none",
    "a call of an unknown function": "if it only looks at its arguments, ergon.functional(it) says so",
    "a method of a built-in type that may have effects": "calls behind it start when the program gets there",
    "what comes next depends on a result": "calls behind it start when the result is there",
    "needs a value that is not there yet": "calls behind it start when the value is there",
    "an instruction that is not run ahead of": "calls behind it start when the program gets there",
}


class Statement:
    """What happened at one statement."""

    def __init__(self):
        self.names, self.ahead, self.waited, self.places, self.seconds, self.stops = {}, 0, 0, {}, 0.0, {}

    def add(self, what, much):
        if what == _WAITED:
            self.seconds += much / 1e6
        elif what.startswith("calls "):
            self.names[what[6:]] = self.names.get(what[6:], 0) + much
        elif what == "ran ahead":
            self.ahead += much
        elif what == "waited for":
            self.waited += much
        elif what.startswith("ran in place"):
            self.places[what] = self.places.get(what, 0) + much
        else:
            self.stops[what] = self.stops.get(what, 0) + much

    @property
    def here(self):
        return sum(self.places.values())

    @property
    def calls(self):
        return self.ahead + self.waited + self.here

    @property
    def kind(self):
        if self.calls:
            return "ahead" if self.ahead else "here" if self.here > self.waited else "wait"
        return "stop"

    def words(self):
        said = []
        if self.ahead:
            said.append(f"{self.ahead} ran ahead")
        if self.waited:
            said.append(f"{self.waited} waited for")
        said.extend(f"{much} {what}" for what, much in self.places.items())
        if self.seconds >= 0.0005:
            said.append(f"{_time(self.seconds)} of waiting")
        return f"{', '.join(self.names)}: {', '.join(said)}" if said else ""

    def reasons(self):
        for what in self.stops:
            advice = _ADVICE.get(what)
            yield f"running ahead ends here: {what}" + (f" ({advice})" if advice else "")


def _time(seconds):
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.1f} ms"


class Function:
    """A function with something to show: its lines, and statement by first line what happened."""

    def __init__(self, name, first, last, tree):
        self.name, self.first, self.last, self.tree = name, first, last, tree
        self.statements = {}  # by first line

    def total(self):
        every = self.statements.values()
        calls = sum(s.calls for s in every)
        if not calls:
            return "no calls of functionals"
        ahead, seconds = sum(s.ahead for s in every), sum(s.seconds for s in every)
        return f"{calls} calls of functionals, {ahead} of them ahead ({ahead / calls:.0%}), {_time(seconds)} of waiting"


def _functions(tree, last):
    """The outermost functions and methods of a module, then the module itself."""
    found, todo = [], [(tree, "")]
    while todo:
        node, prefix = todo.pop(0)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                first = min([child.lineno, *(d.lineno for d in child.decorator_list)])
                found.append(Function(prefix + child.name, first, child.end_lineno, child))
            elif isinstance(child, ast.ClassDef):
                todo.append((child, f"{prefix}{child.name}."))
            elif isinstance(child, ast.stmt):
                todo.append((child, prefix))
    return [*found, Function("<module>", 1, last, None)]


def _starts(tree):
    """Line -> first line of the statement it belongs to: for compound ones that is their head."""
    starts = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            end = body[0].lineno - 1 if isinstance(body, list) and body else node.end_lineno
            for line in range(node.lineno, max(end, node.lineno) + 1):
                starts[line] = max(starts.get(line, 0), node.lineno)
    return starts


def _read(found):
    """[(file, lines, [functions with something to show])]"""
    files = {}
    for (name, line, what), much in found.items():
        files.setdefault(name, []).append((line, what, much))
    read = []
    for name, events in files.items():
        source = linecache.getlines(name)
        try:
            tree = ast.parse("".join(source))
        except SyntaxError:
            tree = ast.Module(body=[], type_ignores=[])
        functions, starts = _functions(tree, len(source)), _starts(tree)
        for line, what, much in events:
            home = next((f for f in functions if f.first <= line <= f.last), functions[-1])
            home.statements.setdefault(starts.get(line, line), Statement()).add(what, much)
        read.append((name, [text.rstrip("\n") for text in source], [f for f in functions if f.statements]))
    return read


def _lines(function, source):
    """The lines to show: all of a function of moderate length, else those around what happened."""
    if function.tree is not None and function.last - function.first < 120:
        return range(function.first, function.last + 1)
    near = {n for line in function.statements for n in range(max(line - 3, 1), line + 4) if n <= len(source)}
    return sorted(near | set(function.statements))


# --- for a terminal -----------------------------------------------------------------------------------------------

_MARK = {"ahead": "|| ", "wait": "-- ", "here": " . ", "stop": "## "}
_COLOUR = {"ahead": "32", "wait": "33", "here": "36", "stop": "31"}


def table(found, colour=False):
    """The text for a terminal."""

    def paint(text, code):
        return f"\x1b[{code}m{text}\x1b[0m" if colour and text else text

    out = []
    for name, source, functions in _read(found):
        for function in functions:
            out.append(paint(f"{name}: {function.name}", "1") + f"   {function.total()}")
            last = 0
            shown = _lines(function, source)
            width = min(max([len(source[n - 1]) for n in shown if n <= len(source)], default=0), 72)
            for number in shown:
                text = source[number - 1] if number <= len(source) else ""
                if last and number > last + 1:
                    out.append("        ...")
                last = number
                statement = function.statements.get(number)
                if statement is None:
                    out.append(f"{number:5}    {text}".rstrip())
                    continue
                code = _COLOUR[statement.kind]
                words = statement.words()
                line = f"{number:5} {_MARK[statement.kind]}{text:{width}}"
                out.append(paint(line.rstrip() if not words else line, code) + (f"   {words}" if words else ""))
                out += [f"{'':9}{paint('^ ' + reason, _COLOUR['stop'])}" for reason in statement.reasons()]
            out.append("")
    if not out:
        return "no scheduled function called a functional"
    legend = "|| ran ahead   -- waited for   .  in place   ## running ahead ends"
    return "\n".join([*out, legend])


# --- as a page ----------------------------------------------------------------------------------------------------


def _graphs(found):
    for name, source, functions in _read(found):
        for function in functions:
            if function.tree is not None:
                notes = {
                    line: (s.words() or next(s.reasons(), "").partition(" (")[0], s.kind)
                    for line, s in function.statements.items()
                }
                yield f"{os.path.basename(name)}: {function.name}", _dataflow.read(function.tree, notes, source)


def picture(found):
    """The dataflow graph as SVG."""
    return _dataflow.svg(list(_graphs(found)))


_STYLE = """
:root{color-scheme:light}
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem;color:#222}
h1{font-size:1.4rem}h2{font-size:1.05rem;margin:2rem 0 .3rem}h2 small{font-weight:400;color:#666;margin-left:.7rem}
table{border-collapse:collapse;width:100%;font:13px/1.45 ui-monospace,monospace}
td{padding:.05rem .6rem;vertical-align:top;white-space:pre-wrap}
td.n{text-align:right;color:#999;width:3rem;user-select:none}td.s{width:60%}
td.w{font:13px/1.45 system-ui,sans-serif;color:#444}
tr.ahead td.s{background:#d9f2df;box-shadow:inset 4px 0 #2c8a4b}tr.wait td.s{background:#fdf1cc;box-shadow:inset 4px 0 #b58900}
tr.here td.s{background:#e8e8f4;box-shadow:inset 4px 0 #77a}tr.stop td.s{background:#f9dcdc;box-shadow:inset 4px 0 #c0392b}
.why{color:#a5281b}.bar{display:inline-block;height:.6em;background:#2c8a4b;border-radius:2px;margin-right:.4em}
.bar.wait{background:#b58900}.legend span{padding:.1rem .6rem;margin-right:.5rem;border-radius:4px}
.graph{overflow-x:auto;border:1px solid #ddd;border-radius:8px;margin-top:1rem}
"""


def _row(number, text, statement):
    if statement is None:
        return f'<tr><td class="n">{number}</td><td class="s">{html.escape(text)}</td><td></td></tr>'
    share = 60 * statement.ahead / statement.calls if statement.calls else 0
    bars = f'<i class="bar" style="width:{share:.0f}px"></i>' if share else ""
    if statement.calls and share < 60:
        bars += f'<i class="bar wait" style="width:{60 - share:.0f}px"></i>'
    words = [bars + html.escape(statement.words())] if statement.words() else []
    words += [f'<span class="why">{html.escape(reason)}</span>' for reason in statement.reasons()]
    return (
        f'<tr class="{statement.kind}"><td class="n">{number}</td><td class="s">{html.escape(text)}</td>'
        f'<td class="w">{"<br>".join(words)}</td></tr>'
    )


def page(found):
    """The same as HTML, with the graph."""
    parts = [
        "<h1>What ran in parallel</h1>"
        '<p class="legend"><span style="background:#d9f2df">ran ahead</span><span style="background:#fdf1cc">waited for</span>'
        '<span style="background:#e8e8f4">in place</span><span style="background:#f9dcdc">running ahead ends</span></p>'
    ]
    for name, source, functions in _read(found):
        for function in functions:
            parts.append(f"<h2>{html.escape(name)}: {html.escape(function.name)}<small>{function.total()}</small></h2>")
            rows, last = [], 0
            for number in _lines(function, source):
                if last and number > last + 1:
                    rows.append('<tr><td class="n"></td><td class="s">…</td><td></td></tr>')
                last = number
                text = source[number - 1] if number <= len(source) else ""
                rows.append(_row(number, text, function.statements.get(number)))
            parts.append(f"<table>{''.join(rows)}</table>")
    graphs = list(_graphs(found))
    if graphs:
        parts.append(
            "<h2>How results flow<small>solid: used by; dashed: decides; brown: in the next round</small></h2>"
        )
        parts.append(f'<div class="graph">{_dataflow.svg(graphs)}</div>')
    if len(parts) == 1:
        parts.append("<p>No scheduled function called a functional.</p>")
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>ergon explain</title>"
        f"<style>{_STYLE}</style>{''.join(parts)}</html>\n"
    )


# --- the command --------------------------------------------------------------------------------------------------


def _options(arguments):
    chosen = {"html": None, "svg": None, "color": "auto"}
    rest = list(arguments)
    while rest and rest[0].startswith("--"):
        name, equals, value = rest.pop(0)[2:].partition("=")
        if name not in chosen or not (equals or rest):
            sys.exit(f"ergon explain: --{name}: unknown or without its value")
        chosen[name] = value if equals else rest.pop(0)
    if chosen["color"] not in ("auto", "always", "never"):
        print("ergon explain: --color is one of auto, always, never", file=sys.stderr)
        sys.exit(2)
    return chosen, rest


def _write(path, text):
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        sys.exit(f"ergon explain: cannot write {path}: {error.strerror}")


def _say(found, chosen):
    if chosen["html"]:
        _write(chosen["html"], page(found))
    if chosen["svg"]:
        _write(chosen["svg"], picture(found))
    if not chosen["html"] and not chosen["svg"]:
        tty = sys.stderr.isatty() and "NO_COLOR" not in os.environ
        colour = chosen["color"] == "always" or (chosen["color"] == "auto" and tty)
        print(table(found, colour), file=sys.stderr)


def main(arguments):
    """Runs the program that the arguments name and says what happened; returns the exit status."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if arguments else 2
    chosen, rest = _options(arguments)
    for name in ("html", "svg"):  # the program may change its folder
        chosen[name] = chosen[name] and os.path.abspath(chosen[name])
    module = rest[:1] == ["-m"]
    if len(rest) < 1 + module:
        sys.exit("ergon explain: which program? Name a script or -m MODULE")
    sys.argv = rest[module:]
    sys.path[0] = os.getcwd() if module else os.path.dirname(os.path.realpath(rest[0]))
    missing = _missing(rest[1:] if module else rest, module)
    if missing:
        print(f"ergon explain: {missing[1]}", file=sys.stderr)
        return missing[0]
    _core._flow_explain(True)
    try:
        if module:
            runpy.run_module(rest[1], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(rest[0], run_name="__main__")
    except Exception as error:
        error.__traceback__ = _of_program(error.__traceback__)
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    finally:
        _say(_core._flow_explain(False) or {}, chosen)
    return 0


def _missing(rest, module):
    """(exit status, words) as python's if the program cannot be read; else None."""
    name = rest[0]
    if module:
        try:
            if importlib.util.find_spec(name) is None:
                return 1, f"No module named {name}"
        except (ImportError, AttributeError, ValueError) as error:
            return 1, f"Error while finding module specification for {name!r} ({type(error).__name__}: {error})"
        return None
    try:
        if not os.path.isdir(name):
            open(name, "rb").close()
        importer = pkgutil.get_importer(name)  # of a folder or an archive
        if importer is not None and importer.find_spec("__main__") is None:
            return 1, f"can't find '__main__' module in {name!r}"
    except OSError as error:
        return 2, f"can't open file {name!r}: [Errno {error.errno}] {error.strerror}"
    return None


def _of_program(traceback):
    """Without the steps that lead into it."""
    inside = traceback
    while inside and inside.tb_frame.f_code.co_filename in (__file__, runpy.__file__, "<frozen runpy>"):
        inside = inside.tb_next
    return inside


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
