"""Tasks that are C functions: a million of them that do nothing, through two worker processes."""

import os
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import contextlib
import statistics
import subprocess

from bench import harness


def contender(mode):
    program = os.path.join(harness.ROOT, os.environ.get("BUILD", "build"), "bench", "bench_native")

    @contextlib.contextmanager
    def enter():
        def run():
            if not os.path.exists(program):
                raise FileNotFoundError(f"{program} is not built: make dev")
            done = subprocess.run([program, mode], stdout=subprocess.PIPE, text=True, check=True)
            return statistics.median(float(line) for line in done.stdout.split())

        yield run

    return enter


def question(key, what, mode):
    return harness.Question(
        key=key,
        what=what,
        unit="µs",
        peer="",
        target=0.5e-6,
        aim="2 million/s",
        reps=5,
        fresh=True,
        contenders={"ergon": contender(mode)},
    )


QUESTIONS = [
    question("native_submit", "a million C functions that do nothing, submitted one by one", "submit"),
    question("native_map", "the same as a map", "map"),
]

if __name__ == "__main__":
    harness.main(__file__, QUESTIONS, __doc__)
