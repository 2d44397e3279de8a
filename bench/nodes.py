"""What a node of a task graph takes in the program's memory, in bytes, while it waits and once it is done.

A hundred thousand nodes that wait for a first one; each run is a program of its own, since memory that was used once stays warm. Memory is
what the kernel says the program has resident, its own and shared with the workers.
"""

import os
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import contextlib
import subprocess
import time

from bench import harness

NODES = 100_000


def resident():
    with open("/proc/self/status") as lines:
        return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(("RssAnon", "RssShmem")))


def grown(predecessors, ended):
    """Bytes a node of a graph whose nodes each take the results of so many others; its future is kept."""
    from bench import pools, tasks

    with pools.ergon() as pool:
        pool.submit(tasks.first, 0, 0).result()
        gate = pool.submit(time.sleep, 60 if not ended else 0.5)
        futures = [gate] * (predecessors + NODES)
        before = resident()
        for i in range(predecessors, len(futures)):
            futures[i] = pool.submit(tasks.first, *futures[i - predecessors : i])
        if ended:
            futures[-1].result()
        else:
            assert not futures[-1].done(), "the graph ran before it was measured"
        took = (resident() - before) / NODES
        pool.terminate()
    return took


def contender(*args):
    @contextlib.contextmanager
    def enter():
        code = f"import sys; sys.path.insert(0, {harness.ROOT!r}); from bench import nodes; print(nodes.grown{args!r})"

        def run():
            return float(subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout)

        yield run

    return enter


def question(predecessors, ended, target):
    words = (
        f"with {predecessors} predecessor{'s' * (predecessors != 1)}, its future kept, {'done' if ended else 'waiting'}"
    )
    return harness.Question(
        key=f"node_{predecessors}" + "_done" * ended,
        what="memory of a node " + words,
        unit="B",
        peer="",
        target=target,
        reps=3,
        contenders={"ergon": contender(predecessors, ended)},
    )


QUESTIONS = [question(n, ended, most) for n, most in ((1, 600), (2, 600), (4, 1200)) for ended in (False, True)]

if __name__ == "__main__":
    harness.main(__file__, QUESTIONS, __doc__)
