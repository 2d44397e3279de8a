"""From opening a pool to the first result, in a fresh program: the first pool, and a second after it was closed."""

import os
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import compileall
import contextlib
import subprocess

from bench import harness

PROGRAM = """
import sys, time
{imports}
from bench import tasks
times = []
for _ in range(2):
    start = time.perf_counter()
    {opened}
    {call}
    times.append(time.perf_counter() - start)
    {closed}
print(*times)
"""

MULTIPROCESSING = {
    "imports": "import multiprocessing",
    "opened": "pool = multiprocessing.get_context('{method}').Pool(2)",
    "call": "assert pool.apply(tasks.noop, (1,)) == 1",
    "closed": "pool.close(); pool.join()",
}
PROGRAMS = {
    "ergon": {
        "imports": "import ergon",
        "opened": "pool = ergon.ProcessPool(2)",
        "call": "assert pool.pipe(tasks.noop, 1) == 1",
        "closed": "pool.close(); pool.join()",
    },
    "multiprocessing, fork": {k: v.format(method="fork") for k, v in MULTIPROCESSING.items()},
    "multiprocessing, forkserver": {k: v.format(method="forkserver") for k, v in MULTIPROCESSING.items()},
    "concurrent.futures": {
        "imports": "import concurrent.futures",
        "opened": "pool = concurrent.futures.ProcessPoolExecutor(2)",
        "call": "assert pool.submit(tasks.noop, 1).result() == 1",
        "closed": "pool.shutdown()",
    },
}


def contender(name, which):
    program = PROGRAM.format(**PROGRAMS[name])
    # As an installed package is: the peers' modules are compiled, too.
    compileall.compile_dir(os.path.join(harness.ROOT, "python", "ergon"), quiet=1)

    @contextlib.contextmanager
    def enter():
        def run():
            done = subprocess.run(
                [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True, cwd=harness.ROOT
            )
            return float(done.stdout.split()[which])

        yield run

    return enter


def question(key, what, which, peer, target, aim):
    return harness.Question(
        key=key,
        what=what,
        unit="ms",
        peer=peer,
        target=target,
        aim=aim,
        floor="python_start" if which == 0 else "fork",
        reps=11,
        fresh=True,
        contenders={name: contender(name, which) for name in PROGRAMS},
    )


QUESTIONS = [
    question(
        "start_first", "start to first result, first pool of a program", 0, "multiprocessing, forkserver", 1, "25 ms"
    ),
    question("start_second", "the same, second pool", 1, "multiprocessing, fork", 1, "4 ms"),
]

if __name__ == "__main__":
    harness.main(__file__, QUESTIONS, __doc__)
