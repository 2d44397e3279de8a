"""Task graphs: how small tasks may be before half the time is lost, METG(50 %).

The graph has `width` tasks in each of 200 steps; a task keeps a processor busy for the kernel's duration. In the
stencil pattern a task waits for its neighbours' tasks (and its own) of the step before, in the fft pattern for its own and that
of a partner whose distance doubles with each step. Efficiency is the kernels' time over the time the graph
took on all workers; printed is the smallest kernel duration at which it is a half. Smaller is better.

Ergon and dask are given the whole graph, futures standing for results; concurrent.futures knows no graphs, so a task
is submitted by the callback of the last of those it waits for, the quickest way there is.
"""

import os
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import contextlib
import functools
import threading
import time

from bench import harness, pools, tasks

STEPS = 200


def stencil(step, i, width):
    return [k for k in (i - 1, i, i + 1) if 0 <= k < width]


def fft(step, i, width):
    levels = max(1, width.bit_length() - 1)
    return sorted({i, i ^ (1 << (step % levels))})


def metg(run_graph, width, guess, rounds, runs):
    """run_graph(kernel seconds) takes that long; the kernel duration at which it is twice the kernels' time.

    What a task costs beyond its kernel hardly depends on the kernel, so that cost, measured with a kernel of about
    the same length, is the answer: a fixed point, found in a few rounds. The least disturbed of a round's runs counts.
    """
    kernel = guess
    for _ in range(rounds):
        took = min(run_graph(kernel) for _ in range(runs))
        kernel = max(took * pools.WORKERS / (STEPS * width) - kernel, 1e-7)
    return kernel


def submitted(pool, pattern, width, kernel, submit, wait):
    """The whole graph handed over, each task with its predecessors' futures among its arguments."""
    start = time.perf_counter()
    before = []
    for step in range(STEPS):
        before = [
            submit(pool, kernel, [before[k] for k in pattern(step, i, width)] if before else []) for i in range(width)
        ]
    for future in before:
        wait(future)
    return time.perf_counter() - start


def driven(pool, pattern, width, kernel):
    """For an executor without graphs: callbacks count predecessors down and submit what is ready."""
    successors = {}
    waiting = {}
    for step in range(1, STEPS):
        for i in range(width):
            needed = pattern(step, i, width)
            waiting[step, i] = len(needed)
            for k in needed:
                successors.setdefault((step - 1, k), []).append((step, i))
    left = STEPS * width
    lock = threading.Lock()
    done = threading.Event()

    def finished(node, future):
        nonlocal left
        ready = []
        with lock:
            left -= 1
            if left == 0:
                done.set()
            for successor in successors.get(node, ()):
                waiting[successor] -= 1
                if waiting[successor] == 0:
                    ready.append(successor)
        for successor in ready:
            enter(successor)

    def enter(node):
        pool.submit(tasks.spin, kernel).add_done_callback(functools.partial(finished, node))

    start = time.perf_counter()
    for i in range(width):
        enter((0, i))
    done.wait()
    return time.perf_counter() - start


def whole(open_pool, submit, wait, guess, rounds, runs):
    def make(pattern, width):
        @contextlib.contextmanager
        def enter():
            with open_pool() as pool:

                def graph(kernel):
                    return submitted(pool, pattern, width, kernel, submit, wait)

                yield lambda: metg(graph, width, guess, rounds, runs)

        return enter

    return make


def futures(pattern, width):
    @contextlib.contextmanager
    def enter():
        with pools.futures() as pool:
            yield lambda: metg(lambda kernel: driven(pool, pattern, width, kernel), width, 150e-6, 3, 2)

    return enter


def submit_ours(pool, kernel, before):
    return pool.submit(tasks.spin, kernel, *before)


def submit_dask(pool, kernel, before):
    return pool.submit(tasks.spin, kernel, *before, pure=False)


def result(future):
    return future.result()


ours = whole(pools.ergon, submit_ours, result, 10e-6, 5, 5)
dask = whole(pools.dask, submit_dask, result, 4e-3, 2, 1)


def question(pattern, width, peer, target, key):
    name = pattern.__name__
    return harness.Question(
        key=f"metg_{name}_{width}{key}",
        what=f"task graph, {name}, width {width}: METG(50 %)" + (" against dask" if key else ""),
        unit="µs",
        peer=peer,
        target=target,
        aim="6 µs",
        floor="python_task",
        reps=2 if key else 5,
        slow=(peer,),
        contenders={
            "ergon": ours(pattern, width),
            peer: dask(pattern, width) if key else futures(pattern, width),
        },
    )


QUESTIONS = [
    question(pattern, width, peer, target, key)
    for peer, target, key in (("concurrent.futures", 15, ""), ("dask", 300, "_dask"))
    for pattern in (stencil, fft)
    for width in (2, 8)
]

if __name__ == "__main__":
    harness.main(__file__, QUESTIONS, __doc__)
