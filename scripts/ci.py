"""Runs the stages of a tier, counts what passed and failed, ends with `N passed, N failed`: ci.py quick|default|full

A stage is a target of the Makefile or a command; its tests are counted from what meson, pytest and check.py print.
A stage that prints no count counts as one; one that fails with no failed test counts as one failure. What a stage leaves
out it says in lines that begin with `skipped: `; they are listed again at the end, and a stage that did nothing else
did not pass.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time

MAKE = ["make", "--no-print-directory"]
QUICK = [
    ("C tests", [*MAKE, "test-c"]),
    ("Python tests", [*MAKE, "test-python", "TIER=quick"]),
    ("house checks", [*MAKE, "check"]),
]
DEFAULT = [
    ("C tests", [*MAKE, "test-c"]),
    ("Python tests", [*MAKE, "test-python", "TIER=default"]),
    ("house checks", [*MAKE, "check"]),
    ("gcc and clang without a warning", [*MAKE, "check-compilers"]),
]
FULL = [
    ("C tests", [*MAKE, "test-c"]),
    ("Python tests", [*MAKE, "test-python", "TIER=full"]),
    ("house checks", [*MAKE, "check"]),
    ("gcc and clang without a warning", [*MAKE, "check-compilers"]),
    ("AddressSanitizer, UBSan", [*MAKE, "asan"]),
    ("ten minutes of hostile streams", [*MAKE, "fuzz-pickle"]),
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


def run(name: str, command: list[str]) -> tuple[int, int, list[str]]:
    """(passed, failed, what was skipped) of one stage; its output goes through as it comes."""
    print(f"--- {name}: {' '.join(command)}", flush=True)
    started = time.monotonic()
    totals = {"passed": 0, "failed": 0}
    skipped = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace") as p:
        for line in p.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            count(line.rstrip("\n"), totals)
            if line.startswith(SKIPPED):
                skipped.append(line.removeprefix(SKIPPED).strip())
    if p.returncode and not totals["failed"]:
        totals["failed"] = 1
    elif not p.returncode and not totals["passed"] and not skipped:
        totals["passed"] = 1
    verdict = "ok" if totals["passed"] else "skipped"
    if totals["failed"]:
        verdict = f"FAILED (exit status {p.returncode})"
    print(f"--- {name}: {verdict} after {time.monotonic() - started:.0f} s", flush=True)
    return totals["passed"], totals["failed"], skipped


def main(tier: str) -> int:
    if tier not in TIERS:
        sys.exit(f"no tier {tier!r}; there are: {', '.join(TIERS)}")
    print(f"tier {tier}", flush=True)
    passed = failed = 0
    bad, left_out = [], []
    for name, command in TIERS[tier]:
        good, wrong, skipped = run(name, command)
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
