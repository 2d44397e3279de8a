"""`schedule`: what dispatching a functional costs, how well 1 ms calls overlap, what code without functionals pays, and how
fast a pass is.

python bench/flow.py            prints the table: what, the figure, what it has to be, whether it is
python bench/flow.py --json F   the rows go to F too
"""

import json
import os
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import statistics
import time
import types
from concurrent.futures import ProcessPoolExecutor

import ergon

from bench import tasks

noop = ergon.functional(tasks.noop)
remote = ergon.functional(lambda x: x)
remote._remote_only = 1  # handed over although it would be quicker here


def busy(x):
    end = time.perf_counter() + 0.001
    while time.perf_counter() < end:
        pass
    return x


busy_ahead = ergon.functional(busy)


def nap(x):
    time.sleep(0.001)
    return x


nap_ahead = ergon.functional(nap)


@ergon.functional
def pause(seconds):
    time.sleep(seconds)


@ergon.functional
def when(x):
    return time.perf_counter()


when._remote_only = pause._remote_only = 1


def loop(f, n):
    out = []
    for i in range(n):
        out.append(f(i))
    return out


def cheap(n):
    total, out = 0, []
    for i in range(n):
        if i % 3 == 0:
            total += i * i % 7
        else:
            total -= 1
        out.append(total)
    return total


def strings(n):
    out = []
    for i in range(n):
        out.append(f"{i}:{i + 1}")
    return len(out)


def local_calls(n):
    def add(a, b):
        return a + b

    total = 0
    for i in range(n):
        total = add(total, i)
    return total


def ahead_of(code, n):
    """Seconds that running ahead takes over the function: a call behind it is entered when that is done."""
    start = time.perf_counter()
    pause(0.2)
    return when(code(n)) - start


scheduled_loop = ergon.schedule(loop)
scheduled_ahead = ergon.schedule(ahead_of)
scheduled_cheap = ergon.schedule(cheap)


def seconds(function, *args, reps=5):
    taken = []
    for _ in range(reps):
        start = time.perf_counter()
        function(*args)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def interpreted(function, n=60000):
    """How much longer the pass takes over the function than CPython."""
    local = types.FunctionType(function.__code__, globals())  # what is written at module level counts as unknown
    local.__code__ = local.__code__.replace(co_qualname="figures.<locals>." + function.__name__)
    ahead = min(scheduled_ahead(local, n) for _ in range(5))
    return ahead / min(seconds(function, n, reps=1) for _ in range(5))


def dask_calls(n):
    """Calls a second of dask.delayed on its own threads; None without Dask."""
    try:
        import dask
    except ImportError:
        return None
    start = time.perf_counter()
    dask.compute(*[dask.delayed(tasks.noop, pure=False)(i) for i in range(n)], scheduler="threads", num_workers=2)
    return n / (time.perf_counter() - start)


def futures(n):
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(tasks.noop, range(8)))
        start = time.perf_counter()
        for future in [pool.submit(tasks.noop, i) for i in range(n)]:
            future.result()
        return n / (time.perf_counter() - start)


HANDED = "calls handed to 2 workers, a second"
PASS = "a pass over {}, times CPython's own time"
TARGETS = {  # at least; negative: at most
    HANDED: 400_000,
    "the same, times concurrent.futures": 20,
    "the same, times dask.delayed": 100,
    "1 ms functionals on 2 workers, times faster than sequential": 1.9,
    "functionals that sleep 1 ms on 2 workers, likewise": 1.9,
    PASS.format("arithmetic and lists"): -3,
    PASS.format("local functions"): -3,
    PASS.format("strings"): -3,
    "function without functionals, times its plain time": -2,
}


def figures():
    ergon.configure(workers=[{"type": "multicore", "cores": 2}])
    seconds(scheduled_loop, remote, 200)
    found = {}
    found[HANDED] = 20000 / seconds(scheduled_loop, remote, 20000)
    peers = {"concurrent.futures": futures(5000), "dask.delayed": dask_calls(5000)}
    for peer, rate in peers.items():
        if rate is not None:
            found[f"the same, times {peer}"] = found[HANDED] / rate
    seconds(scheduled_loop, noop, 2000)
    found["calls of a functional that does nothing, a second"] = 200000 / seconds(scheduled_loop, noop, 200000)
    found["concurrent.futures, calls a second"] = peers["concurrent.futures"]
    if peers["dask.delayed"] is not None:
        found["dask.delayed on 2 threads, calls a second"] = peers["dask.delayed"]
    for what, plain, ahead in (
        ("1 ms functionals on 2 workers, times faster than sequential", busy, busy_ahead),
        ("functionals that sleep 1 ms on 2 workers, likewise", nap, nap_ahead),
    ):
        found[what] = seconds(loop, plain, 1000, reps=3) / seconds(scheduled_loop, ahead, 1000, reps=3)
    for name, function in ("arithmetic and lists", cheap), ("local functions", local_calls), ("strings", strings):
        found[PASS.format(name)] = interpreted(function)
    found["function without functionals, times its plain time"] = seconds(scheduled_cheap, 200000) / seconds(
        cheap, 200000
    )
    ergon.shutdown()
    return found


def judged(found):
    """Rows: what, the figure, what it has to be, whether it is. A peer that is not installed leaves its row without a figure."""
    rows = []
    for what in [*found, *(TARGETS.keys() - found.keys())]:
        figure, target = found.get(what), TARGETS.get(what)
        bound = "" if target is None else f"at least {target:,}" if target > 0 else f"at most {-target:,}"
        met = None if figure is None or target is None else figure >= target if target > 0 else figure <= -target
        rows.append({"what": what, "figure": figure, "target": bound, "met": met})
    return rows


def main(argv):
    rows = judged(figures())
    for row in rows:
        figure = "no figure" if row["figure"] is None else f"{row['figure']:,.2f}"
        verdict = {True: "met", False: "MISSED", None: ""}[row["met"]]
        print(f"{row['what']:62} {figure:>14}  {row['target']:18} {verdict}".rstrip())
    if "--json" in argv:
        with open(argv[argv.index("--json") + 1], "w") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main(sys.argv[1:])
