"""Runs the stages of a tier, counts what passed and failed, ends with `N passed, N failed`: ci.py quick|default|full

A stage is a target of the Makefile, a command, or several commands that run side by side, where there is more than one
core: much of the Python tests' time is waiting. What such a stage's first command prints is seen as it comes, what the
others print when the first is through. Tests are counted from what meson, pytest and check.py print.
A stage that prints no count counts as one; one that fails with no failed test counts as one failure. What a stage leaves
out it says in lines that begin with `skipped: `; they are listed again at the end, and a stage that did nothing else
did not pass.
"""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
MAKE = ["make", "--no-print-directory"]
WAITING = {"faults", "hosts", "peers", "process"}  # tests/…: programs and hosts that are started, killed, waited for


def python_tests(tier: str) -> list[list[str]]:
    """Two test runs that take about as long as each other; all folders of tests/ are in one of them."""
    folders = sorted({path.relative_to(ROOT / "tests").parts[0] for path in (ROOT / "tests").rglob("test_*.py")})
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tier", tier]
    parts = [[f"tests/{name}" for name in folders if (name in WAITING) == waits] for waits in (True, False)]
    return [[*pytest, *part] for part in parts]


QUICK = [
    ("C tests", [*MAKE, "test-c"]),
    ("Python tests", *python_tests("quick")),
    ("house checks", [*MAKE, "check"]),
]
DEFAULT = [
    ("C tests", [*MAKE, "test-c"]),
    ("Python tests", *python_tests("default")),
    ("house checks", [*MAKE, "check"]),
    ("gcc and clang without a warning", [*MAKE, "check-compilers"]),
]
FULL = [
    ("C tests", [*MAKE, "test-c"]),
    ("Python tests", *python_tests("full")),
    ("house checks", [*MAKE, "check"]),
    ("gcc and clang without a warning", [*MAKE, "check-compilers"]),
    ("AddressSanitizer, UBSan", [*MAKE, "asan"]),
    ("ten minutes of hostile streams", [*MAKE, "fuzz-pickle"]),
    ("agents and clients that lie", [*MAKE, "fuzz-agents"]),
    ("libFuzzer on the wire", [*MAKE, "fuzz", "SECONDS=300"]),
    ("ThreadSanitizer", [*MAKE, "tsan"]),
    ("debug CPython", [*MAKE, "debug-python"]),
    ("other CPython versions", [*MAKE, "check-pythons"]),
    ("a fresh clone", [*MAKE, "clean-clone"]),
]
TIERS = {"quick": QUICK, "default": DEFAULT, "full": FULL}

# (pattern, which counter). The whole line must fit, so that a test's own output is not counted.
COUNTS = [
    (re.compile(r"^Ok:\s+(\d+)\s*$"), "passed"),
    (re.compile(r"^(?:Fail|Timeout|Unexpected Pass):\s+(\d+)\s*$"), "failed"),
    (re.compile(r"^checks: (\d+) passed, \d+ failed$"), "passed"),
    (re.compile(r"^checks: \d+ passed, (\d+) failed$"), "failed"),
]
SKIPPED = "skipped: "
PYTEST = re.compile(r"^(?:=+ )?((?:\d+ \w+(?: \w+)?(?:, )?)+) in [\d.]+s(?: \([\d:]+\))?(?: =+)?$")


def count(line: str, totals: dict[str, int]) -> None:
    for pattern, which in COUNTS:
        match = pattern.match(line)
        if match:
            totals[which] += int(match.group(1))
    match = PYTEST.match(line)
    if match:
        for number, word in re.findall(r"(\d+) ([\w ]+)", match.group(1)):
            if word in ("passed", "xfailed"):
                totals["passed"] += int(number)
            elif word in ("failed", "error", "errors", "xpassed"):
                totals["failed"] += int(number)


def through(lines, totals: dict[str, int], skipped: list[str]) -> None:
    """Prints a command's output as it comes, and notes what it says."""
    for line in lines:
        sys.stdout.write(line)
        sys.stdout.flush()
        count(line.rstrip("\n"), totals)
        if line.startswith(SKIPPED):
            skipped.append(line.removeprefix(SKIPPED).strip())


def outputs(commands: list[list[str]]):
    """(the lines of its output, a function that waits for its exit status) of each command, in order."""
    cores = len(os.sched_getaffinity(0))
    aside = []
    if cores > 1:
        for command in commands[1:]:
            file = tempfile.TemporaryFile("w+", errors="replace")
            aside.append((file, subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)))
    try:
        for command in commands[: 1 if cores > 1 else None]:
            pipe = subprocess.PIPE
            with subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True, errors="replace") as p:
                yield p.stdout, p.wait
        for file, process in aside:
            process.wait()
            file.seek(0)
            yield file, process.wait
    finally:
        for file, process in aside:
            if process.poll() is None:
                process.terminate()
                process.wait()
            file.close()


def run(name: str, *commands: list[str]) -> tuple[int, int, list[str]]:
    """(passed, failed, what was skipped) of one stage."""
    for command in commands:
        print(f"--- {name}: {' '.join(command)}", flush=True)
    started = time.monotonic()
    all_passed, all_failed, skipped, statuses = 0, 0, [], []
    for lines, wait in outputs(list(commands)):
        totals = {"passed": 0, "failed": 0}
        through(lines, totals, skipped)
        status = wait()
        if status and not totals["failed"]:
            totals["failed"] = 1
        all_passed, all_failed = all_passed + totals["passed"], all_failed + totals["failed"]
        statuses.append(str(status))
    if not all_failed and not all_passed and not skipped:
        all_passed = 1
    verdict = "ok" if all_passed else "skipped"
    if all_failed:
        verdict = f"FAILED (exit status {', '.join(statuses)})"
    print(f"--- {name}: {verdict} after {time.monotonic() - started:.0f} s", flush=True)
    return all_passed, all_failed, skipped


def main(tier: str) -> int:
    if tier not in TIERS:
        sys.exit(f"no tier {tier!r}; there are: {', '.join(TIERS)}")
    print(f"tier {tier}", flush=True)
    passed = failed = 0
    bad, left_out = [], []
    for name, *commands in TIERS[tier]:
        good, wrong, skipped = run(name, *commands)
        passed, failed = passed + good, failed + wrong
        left_out += [f"skipped: {name}: {what}" for what in skipped]
        if wrong:
            bad.append(name)
    for line in left_out:
        print(line)
    if bad:
        print(f"failed stages: {', '.join(bad)}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "default"))
