"""Pools on other hosts: what a link costs, and how busy workers behind a long one are.

    bench/hosts.py [--place RESOURCE] [--many] [--json]

All agents run on this machine (--place ssh://HOST measures a real one), so that overhead and not hardware is measured.
What it is compared with is measured in the same run: `cat` at the other end of the same kind of link.
"""

import os
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import argparse
import json
import pathlib
import shlex
import socket
import subprocess
import time

import ergon

PACKAGE = pathlib.Path(ergon.__file__).resolve().parent.parent
RELAY = pathlib.Path(__file__).resolve().parent.parent / "tests" / "hosts" / "slow_link.py"
AGENT = f"env PYTHONPATH={shlex.quote(str(PACKAGE))} {shlex.quote(sys.executable)} -m ergon._agent"


def same(x):
    return x


def nap(x):
    time.sleep(0.001)
    return x


def best(run, times=5):
    return min(run() for _ in range(times))


def timed(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def opened(*places):
    pool = ergon.Pool(*places)
    if not pool._wait_up(len(places), 60):
        raise SystemExit("the places did not come up")
    pool.map(same, range(2000))
    return pool


def echo():
    """Seconds a byte takes to `cat` and back."""
    ours, theirs = socket.socketpair()
    with subprocess.Popen(["cat"], stdin=theirs, stdout=theirs), ours:
        theirs.close()

        def once():
            ours.send(b"x")
            ours.recv(1)

        once()
        result = best(lambda: timed(lambda: [once() for _ in range(500)]) / 500)
    return result


def drain(size):
    """Seconds `cat` takes to swallow so many bytes."""
    ours, theirs = socket.socketpair()
    block = bytes(1 << 20)
    with subprocess.Popen(["cat"], stdin=theirs, stdout=subprocess.DEVNULL) as cat:
        theirs.close()

        def run():
            for _ in range(size >> 20):
                ours.sendall(block)
            ours.close()
            cat.wait()

        return timed(run)


def one_link(place, rows):
    with opened(place) as pool:
        rows["map, calls a second"] = 400_000 / best(lambda: timed(lambda: pool.map(same, range(400_000))))

        def singly():
            futures = [pool.apipe(same, i) for i in range(20_000)]
            for future in futures:
                future.result()

        rows["single calls a second"] = 20_000 / best(lambda: timed(singly))
        rows["round trip, us"] = best(lambda: timed(lambda: [pool.pipe(same, 1) for _ in range(500)]) / 500) * 1e6
        rows["echo of cat, us"] = echo() * 1e6
        data = bytearray(200 << 20)
        try:
            import numpy

            array = numpy.frombuffer(data, "u1")
        except ImportError:
            array = data
        rows["200 MB there, GB/s"] = 0.21 / best(lambda: timed(lambda: pool.pipe(len, array)))
        rows["200 MB to cat, GB/s"] = 0.21 / best(lambda: drain(200 << 20), 3)


def long_link(rows):
    with opened(f"exec:{sys.executable} {RELAY} 10 {AGENT}?slots=8") as pool:
        pool.map(nap, range(4000))
        for name, run in (
            ("map", lambda: pool.map(nap, range(8000))),
            ("single calls", lambda: [f.result() for f in [pool.apipe(nap, i) for i in range(8000)]]),
        ):
            before = pool.stats["hosts"][0]["busy_s"]
            took = timed(run)
            rows[f"20 ms link, 8 workers, 1 ms: busy in {name}, %"] = (
                (pool.stats["hosts"][0]["busy_s"] - before) / took / 8 * 100
            )


def many_hosts(counts, rows):
    for n in counts:
        with opened(*[f"exec:{AGENT}?slots=1&tags=h{i}" for i in range(n)]) as pool:
            while sum(h["state"] == "up" for h in pool.stats["hosts"]) < n:
                time.sleep(0.05)
            before = time.process_time()
            pool.map(same, range(20_000), chunksize=1)
            rows[f"client's time a call with {n} agents, us"] = (time.process_time() - before) / 20_000 * 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--place", default=f"exec:{AGENT}?slots=2")
    parser.add_argument("--many", action="store_true", help="64 agents, too")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = {}
    one_link(options.place, rows)
    long_link(rows)
    many_hosts((1, 4, 16, 64) if options.many else (1, 4, 16), rows)
    if options.json:
        print(json.dumps(rows))
        return
    for name, value in rows.items():
        print(f"{name:<52}{value:>14,.2f}")


if __name__ == "__main__":
    main()
