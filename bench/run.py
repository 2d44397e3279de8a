"""All benchmarks, one table: what, the peer's figure, ours, how many times faster, the target, and how far
we are from what the machine allows.

    python bench/run.py                     everything (half an hour on a quiet machine)
    python bench/run.py pipe map            these files only
    python bench/run.py --quick --json x    two repetitions each, no waiting; the figures go to x too
"""

import os
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import importlib
import platform

from bench import harness, limits

FILES = ["pipe", "submit", "map", "imap", "graph", "arrays", "serialize", "start"]


def row(answer: dict, floors: dict[str, float]) -> list[str]:
    unit, peer = answer["unit"], answer["peer"]
    ours = answer["median"].get(harness.OURS)
    theirs = answer["median"].get(peer)
    floor = floors.get(answer["floor"])
    verdict = {True: "met", False: "MISSED", None: "no figure"}[answer["met"]]
    return [
        answer["what"],
        f"{peer}: {harness.figure(theirs, unit)}",
        harness.figure(ours, unit),
        harness.times(answer["ratio"]),
        f"{answer['target']:g}",
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


def main() -> None:
    parser = harness.arguments(__doc__)
    parser.add_argument("files", nargs="*", metavar="FILE", help=f"of: {' '.join(FILES)}")
    options = parser.parse_args()
    unknown = set(options.files) - set(FILES)
    if unknown:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}; there are: {' '.join(FILES)}")
    gate = harness.gate_of(options)
    floors = limits.measure()
    answers = []
    for file in options.files or FILES:
        module = importlib.import_module("bench." + file)
        for question in module.QUESTIONS:
            print(f"{question.what} …", file=sys.stderr, flush=True)
            answers.append(harness.ask(module.__name__, harness.adjusted(question, options), gate, options.only))
    if options.json:
        harness.write_json(
            {"machine": machine(), "limits": floors, "answers": answers, "gate": gate.report()}, options.json
        )
    if options.json == "-":
        return
    print(f"{machine()}; two workers; medians.\n")
    harness.print_table(
        ["what", "peer", "ours", "times faster", "at least", "", "aim", "limit", "times the limit"],
        [row(answer, floors) for answer in answers],
    )
    print()
    limits.print_limits(floors)
    print(f"\n{gate.report()}")
    for answer in answers:
        for name, error in answer["errors"].items():
            print(f"{answer['key']}: {name}: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
