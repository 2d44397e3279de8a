"""All benchmarks, one table: what, the peer's figure, ours, how many times faster, the target, and how far
we are from what the machine allows.

    python bench/run.py                     everything (a quarter of an hour on a quiet machine)
    python bench/run.py pipe map            these files only
    python bench/run.py --quick --json x    two repetitions each, no waiting; the figures go to x too
    python bench/run.py --into FILE         also puts the tables into FILE, between its two marks
"""

import os
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import contextlib
import importlib
import io
import json
import platform
import subprocess
import tempfile

from bench import harness, limits

FILES = [
    "pipe",
    "submit",
    "map",
    "imap",
    "graph",
    "nodes",
    "arrays",
    "serialize",
    "pickle",
    "start",
    "native",
    "trace",
    "hosts",
]
ALONE = ["flow"]  # not a race of contenders: a table of its own
VERDICTS = {True: "met", False: "MISSED", None: ""}


def row(answer: dict, floors: dict[str, float]) -> list[str]:
    unit, peer = answer["unit"], answer["peer"]
    ours = answer["median"].get(harness.OURS)
    theirs = answer["median"].get(peer)
    floor = floors.get(answer["floor"])
    verdict = {True: "met", False: "MISSED", None: "no figure"}[answer["met"]]
    if answer["lacking"]:
        verdict = f"not measured: {answer['lacking']}"
    target = f"{answer['target']:g}" if peer else harness.figure(answer["target"], unit)
    if answer["margin"]:
        target = f"peer + {harness.figure(answer['margin'], unit)}"
    return [
        answer["what"],
        f"{peer}: {harness.figure(theirs, unit)}" if peer else "",
        harness.figure(ours, unit),
        harness.times(answer["ratio"]),
        target,
        verdict,
        answer["aim"],
        harness.figure(floor, unit) if floor else "",
        harness.times(ours / floor) if floor and ours else "",
    ]


def machine() -> str:
    model = ""
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip() + ", "
                break
    return (
        f"{model}{len(os.sched_getaffinity(0))} processors, Linux {platform.release()}, "
        f"Python {platform.python_version()}"
    )


MARKS = "<!-- figures -->", "<!-- end of figures -->"


def put_into(path: str, text: str) -> None:
    """Replaces what is between the marks."""
    with open(path, encoding="utf-8") as f:
        page = f.read()
    before, mark, rest = page.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not mark or not end:
        raise SystemExit(f"{path} lacks the lines {MARKS[0]} and {MARKS[1]}, between which the figures go")
    with open(path, "w", encoding="utf-8") as f:
        f.write(f"{before}{mark}\n\n{text.strip()}\n\n{end}{after}")


def alone(file: str) -> list[dict]:
    """The rows of a benchmark that is a program of its own: what, figure, target, met."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "figures.json")
        program = os.path.join(harness.ROOT, "bench", f"{file}.py")
        subprocess.run([sys.executable, program, "--json", path], check=True, stdout=sys.stderr)
        with open(path, encoding="utf-8") as f:
            return json.load(f)


def report(answers: list[dict], floors: dict[str, float], others: dict, gate: harness.Gate, options) -> None:
    priority = f"; at niceness {options.nice}, beside other work" if options.nice else ""
    if options.realtime:
        priority = "; at real-time priority, beside other work"
    print(f"{machine()}; two workers; medians{priority}.\n")
    harness.print_table(
        ["what", "peer", "ours", "times faster", "at least", "", "aim", "limit", "times the limit"],
        [row(answer, floors) for answer in answers],
    )
    for file, rows in others.items():
        print()
        harness.print_table(
            [file, "figure", "target", ""],
            [
                [r["what"], "-" if r["figure"] is None else f"{r['figure']:,.2f}", r["target"], VERDICTS[r["met"]]]
                for r in rows
            ],
        )
    print()
    limits.print_limits(floors)
    print(f"\n{gate.report()}")


def main() -> None:
    parser = harness.arguments(__doc__)
    parser.add_argument("--into", metavar="FILE", help="put the tables into this page, between its marks")
    parser.add_argument("files", nargs="*", metavar="FILE", help=f"of: {' '.join(FILES + ALONE)}")
    options = parser.parse_args()
    unknown = set(options.files) - set(FILES + ALONE)
    if unknown:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}; there are: {' '.join(FILES + ALONE)}")
    floors = limits.measure()  # spins without ever yielding: at real-time priority it would wait for itself
    gate = harness.gate_of(options)
    answers = []
    chosen = options.files or FILES + ALONE
    for file in [file for file in chosen if file not in ALONE]:
        module = importlib.import_module("bench." + file)
        for question in module.QUESTIONS:
            print(f"{question.what} …", file=sys.stderr, flush=True)
            answers.append(
                harness.ask(module.__name__, harness.adjusted(question, options), gate, options.only, options.nice)
            )
    others = {}
    for file in [file for file in chosen if file in ALONE]:
        print(f"{file} …", file=sys.stderr, flush=True)
        others[file] = alone(file)
    if options.json:
        harness.write_json(
            {"machine": machine(), "limits": floors, "answers": answers, "others": others, "gate": gate.report()},
            options.json,
        )
    if options.json == "-":
        return
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        report(answers, floors, others, gate, options)
    print(text.getvalue(), end="")
    if options.into:
        put_into(options.into, text.getvalue())
    for answer in answers:
        for name, error in answer["errors"].items():
            print(f"{answer['key']}: {name}: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
