"""What every benchmark here shares: contenders in processes of their own, quiet moments, and one way to print.

A *question* is one row of the table: what is measured, who answers it, and by how much Ergon should lead. A
*contender* is a context manager that yields a function without arguments; each call of it does the work once and
returns the seconds one unit of it took. Every contender lives in a process of its own, so that none is disturbed by the
others' pools, memory or fork handlers; they take turns, one repetition each, until all have had theirs, so that a
slow minute of the machine slows all of them. The ratio is that of the medians.

A figure taken while something else uses the processors means little: before each repetition the harness waits (as
long as its patience lasts) until the rest of the machine is quiet, and repeats what was disturbed.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TICKS = os.sysconf("SC_CLK_TCK")
OURS = "ergon"

Run = Callable[[], float]


@dataclasses.dataclass
class Question:
    key: str
    what: str
    unit: str  # of the figures: one of SCALES
    contenders: dict[str, Callable[[], contextlib.AbstractContextManager[Run]]]
    peer: str  # the contender the target speaks of; empty: there is none to compare with
    target: float  # how many times faster than the peer, at least; without a peer the seconds, at most
    margin: float = 0.0  # instead of that: by how many seconds ours may be slower than the peer
    aim: str = ""
    floor: str = ""  # the key of the physical limit (limits.py) it is compared with
    reps: int = 7
    slow: tuple[str, ...] = ()  # contenders that get only two repetitions
    fresh: bool = False  # starts its processes anew each time: --nice would reach only some of them


SCALES = {"ns": 1e9, "µs": 1e6, "ms": 1e3, "s": 1.0, "%": 1e2, "B": 1.0}


class NotMeasured(Exception):
    """This machine lacks what it takes: the words say what. No failure, but said in the table."""


# --- quiet moments ---------------------------------------------------------------------------------------------


class Gate:
    """Knows how much of the processors others used while we measured."""

    def __init__(self, limit: float = 0.12, patience: float = 20.0, budget: float = 300.0):
        self.limit = limit  # processors others may use
        self.patience = patience  # seconds to wait and repeat for one figure
        self.budget = budget  # seconds to wait in all
        self.taken = self.disturbed = 0
        self.worst = 0.0

    @staticmethod
    def _busy() -> tuple[float, float, float]:
        """Now, processor seconds used by everybody, processor seconds used by us and our descendants."""
        with open("/proc/stat") as f:
            ticks = [int(word) for word in f.readline().split()[1:9]]
        everybody = (sum(ticks) - ticks[3] - ticks[4]) / TICKS
        parents, used = {}, {}
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                with open(f"/proc/{name}/stat") as f:
                    text = f.read()
            except OSError:
                continue
            words = text[text.rindex(")") + 2 :].split()
            parents[int(name)] = int(words[1])
            used[int(name)] = sum(int(word) for word in words[11:15]) / TICKS
        me, ours = os.getpid(), 0.0
        for pid in used:
            ancestor = pid
            while ancestor > 1 and ancestor != me:
                ancestor = parents.get(ancestor, 0)
            if ancestor == me:
                ours += used[pid]
        return time.monotonic(), everybody, ours

    @staticmethod
    def _others(before: tuple[float, float, float], after: tuple[float, float, float]) -> float:
        elapsed = max(after[0] - before[0], 0.01)
        return max(0.0, (after[1] - before[1]) - (after[2] - before[2])) / elapsed

    def _wait_quiet(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            before = self._busy()
            time.sleep(0.2)
            if self._others(before, self._busy()) <= self.limit:
                return

    def measure(self, run: Run) -> float:
        """run() in a quiet moment if there is one soon; otherwise the least disturbed try."""
        self.taken += 1
        start = time.monotonic()
        deadline = start + min(self.patience, self.budget)
        best: tuple[float, float] | None = None
        while True:
            self._wait_quiet(deadline)
            before = self._busy()
            figure = run()
            after = self._busy()
            others = self._others(before, after)
            if best is None or others < best[0]:
                best = others, figure
            # Processor time is counted in ticks: a short run cannot be told to be quiet more exactly than that.
            if others <= self.limit + min(0.3, 0.03 / max(after[0] - before[0], 0.01)):
                break
            if time.monotonic() > deadline:
                self.disturbed += 1
                break
        self.budget = max(0.0, self.budget - (time.monotonic() - start))
        self.worst = max(self.worst, best[0])
        return best[1]

    def report(self) -> str:
        return (
            f"{self.taken} figures, {self.disturbed} of them taken while others used more than "
            f"{self.limit:.2f} processors (worst: {self.worst:.2f})"
        )


# --- contenders ------------------------------------------------------------------------------------------------


def descendants(pid: int) -> list[int]:
    """The process and all that descend from it."""
    parents = {}
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError):
            with open(f"/proc/{int(name)}/stat") as f:
                text = f.read()
            parents[int(name)] = int(text[text.rindex(")") + 2 :].split()[1])
    found = []
    for one in parents:
        ancestor = one
        while ancestor > 1 and ancestor != pid:
            ancestor = parents.get(ancestor, 0)
        if ancestor == pid:
            found.append(one)
    return found


def favour(pid: int, nice: int) -> None:
    """Niceness of a process and its descendants, and of their sessions: Linux weighs sessions against one another
    (autogroup), so that a process with workers in a session of their own would race against itself."""
    for one in descendants(pid):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, one, nice)
            with open(f"/proc/{one}/autogroup", "w") as f:
                f.write(str(nice))


class Contender:
    """A contender in its process: see serve()."""

    def __init__(self, module: str, key: str, name: str, nice: int | None = None):
        self.name = name
        env = dict(os.environ, PYTHONPATH=os.pathsep.join([ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.harness", module, key, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
            cwd=ROOT,
            start_new_session=True,
        )
        try:
            self._answer()
        except (RuntimeError, NotMeasured):
            self.close()
            raise
        if nice is not None:
            favour(self.process.pid, nice)

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with status {self.process.wait()}: see above")
        answer = json.loads(line)
        if "lacking" in answer:
            raise NotMeasured(answer["lacking"])
        if "error" in answer:
            raise RuntimeError(f"{self.name}: {answer['error']}")
        return answer

    def run(self) -> float:
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        return self._answer()["seconds"]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def serve(module: str, key: str, name: str) -> None:
    """A contender's process: one line in, one repetition, one line out. What it prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        question = next(q for q in importlib.import_module(module).QUESTIONS if q.key == key)
        with question.contenders[name]() as run:
            run()  # imports, caches, the first touch of memory: nobody asks for those
            answers.write(json.dumps({"ready": True}) + "\n")
            for _ in sys.stdin:
                answers.write(json.dumps({"seconds": run()}) + "\n")
    except NotMeasured as exc:
        answers.write(json.dumps({"lacking": str(exc)}) + "\n")
    except Exception as exc:
        answers.write(json.dumps({"error": f"{type(exc).__name__}: {exc}"}) + "\n")


def ask(module: str, question: Question, gate: Gate, names: Iterable[str] | None = None, nice: int = 0) -> dict:
    """Lets the contenders take turns. The result is plain data, ready for JSON."""
    chosen = [name for name in question.contenders if names is None or name in names]
    figures: dict[str, list[float]] = {}
    errors: dict[str, str] = {}
    lacking = ""
    priority = (0 if question.fresh else nice) if nice else None
    with contextlib.ExitStack() as stack:
        alive: dict[str, Contender] = {}
        for name in chosen:
            try:
                alive[name] = Contender(module, question.key, name, priority)
            except RuntimeError as exc:
                errors[name] = str(exc)
                continue
            except NotMeasured as exc:
                lacking = str(exc)
                break  # what one lacks the others lack
            stack.callback(alive[name].close)
            figures[name] = []
        for turn in range(0 if lacking else question.reps):
            for name in list(alive):
                if turn >= 2 and name in question.slow:
                    continue
                try:
                    figures[name].append(gate.measure(alive[name].run))
                except RuntimeError as exc:
                    errors[name] = str(exc)
                    del alive[name]
    return summary(question, {} if lacking else figures, errors, lacking)


def summary(question: Question, figures: dict[str, list[float]], errors: dict[str, str], lacking: str = "") -> dict:
    medians = {name: statistics.median(values) for name, values in figures.items() if values}
    bests = {name: min(values) for name, values in figures.items() if values}
    ratio = best_ratio = None
    if OURS in medians and question.peer in medians:
        ratio = medians[question.peer] / medians[OURS]
        best_ratio = bests[question.peer] / bests[OURS]
    met = None if ratio is None else ratio >= question.target
    if ratio is not None and question.margin:
        met = medians[OURS] <= medians[question.peer] + question.margin
    if not question.peer and OURS in medians:
        met = medians[OURS] <= question.target
    return {
        "key": question.key,
        "what": question.what,
        "unit": question.unit,
        "peer": question.peer,
        "target": question.target,
        "margin": question.margin,
        "aim": question.aim,
        "floor": question.floor,
        "median": medians,
        "best": bests,
        "ratio": ratio,
        "best_ratio": best_ratio,
        "met": met,
        "errors": errors,
        "lacking": lacking,
    }


# --- printing --------------------------------------------------------------------------------------------------


def figure(seconds: float | None, unit: str) -> str:
    if seconds is None:
        return "-"
    value = seconds * SCALES[unit]
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f} {unit}"


def times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}" if ratio < 10 else f"{ratio:.1f}" if ratio < 100 else f"{ratio:.0f}"


def print_table(header: list[str], rows: list[list[str]], out=None) -> None:
    """A Markdown table whose columns also line up in a terminal."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, ["-" * width for width in widths], *rows]:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |", file=out)


def print_answer(answer: dict) -> None:
    """One question with everybody who answered it."""
    unit = answer["unit"]
    print(f"\n{answer['what']}")
    ours = answer["median"].get(OURS)
    rows = []
    for name, median in sorted(answer["median"].items(), key=lambda item: item[1]):
        ratio = times(median / ours) if ours else "-"
        rows.append([name, figure(median, unit), figure(answer["best"][name], unit), ratio])
    print_table(["", "median", "best", "times ours"], rows)
    for name, error in answer["errors"].items():
        print(f"{name}: no figure: {error}")
    if answer["lacking"]:
        print(f"not measured: {answer['lacking']}")
    verdict = "met" if answer["met"] else "MISSED"
    if not answer["peer"] and ours:
        print(f"target: {figure(answer['target'], unit)}: {verdict}")
    elif answer["margin"] and answer["ratio"] is not None:
        print(f"target: {answer['peer']} + {figure(answer['margin'], unit)}: {verdict}")
    elif answer["ratio"] is not None:
        print(f"target: {answer['peer']} / {answer['target']:g}: {verdict} with {times(answer['ratio'])}")
    if answer["aim"]:
        print(f"aim: {answer['aim']}")


def arguments(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE", help="write the figures there too ('-': standard output, instead)")
    parser.add_argument("--only", metavar="NAME", action="append", help="this contender only (may be repeated)")
    parser.add_argument("--quick", action="store_true", help="two repetitions, and no waiting for quiet moments")
    parser.add_argument("--patience", type=float, default=20.0, help="seconds to wait for quiet, for one figure")
    parser.add_argument("--budget", type=float, default=600.0, help="seconds to wait for quiet in all")
    parser.add_argument(
        "--nice", type=int, default=0, metavar="N", help="measure at this niceness; below 0 (as root) where others work"
    )
    parser.add_argument(
        "--realtime", action="store_true", help="measure at real-time priority (as root): as if nothing else ran"
    )
    return parser


def gate_of(options: argparse.Namespace) -> Gate:
    if options.nice:
        favour(os.getpid(), options.nice)
    if options.realtime:  # contenders and all they start inherit it
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    if options.quick:
        return Gate(patience=0.0, budget=0.0)
    return Gate(patience=options.patience, budget=options.budget)


def adjusted(question: Question, options: argparse.Namespace) -> Question:
    return dataclasses.replace(question, reps=2) if options.quick else question


def write_json(data: object, target: str) -> None:
    text = json.dumps(data, indent=1, ensure_ascii=False)
    if target == "-":
        print(text)
    else:
        with open(target, "w", encoding="utf-8") as f:
            f.write(text + "\n")


def main(file: str, questions: list[Question], description: str | None) -> None:
    """The command line of one benchmark file."""
    module = "bench." + os.path.splitext(os.path.basename(file))[0]
    options = arguments(description).parse_args()
    gate = gate_of(options)
    answers = []
    for question in questions:
        answers.append(ask(module, adjusted(question, options), gate, options.only, options.nice))
        if options.json != "-":
            print_answer(answers[-1])
    if options.json:
        write_json({"answers": answers, "gate": gate.report()}, options.json)
    if options.json != "-":
        print("\n" + gate.report())


if __name__ == "__main__":
    # As the module the questions know: its exceptions are theirs.
    importlib.import_module("bench.harness").serve(*sys.argv[1:])
