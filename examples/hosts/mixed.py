"""One map over processes here, threads here, and workers of other hosts: mixed.py HOST..."""

import collections
import os
import platform
import sys
import threading
import time

import ergon


def work(n):
    """Something that takes a while; who did it, and the result."""
    time.sleep(0.01)
    where = "thread" if threading.current_thread() is not threading.main_thread() else "process"
    return f"{platform.node()}, {where} of {os.getppid()}", n * n


def main(hosts):
    with ergon.Pool("local:1", "threads:1", *(f"ssh://{host}?slots=2" for host in hosts), require="all") as pool:
        print("workers", pool.nodes)
        results = pool.map(work, range(200), chunksize=1)
        for name, count in sorted(collections.Counter(name for name, _ in results).items()):
            print(f"{count:4} calls by {name}")
        print("sum", sum(value for _, value in results))
        if hosts:
            print("only there:", pool.map(lambda n: n + 1, range(3), resources={"host": hosts[0]}))


if __name__ == "__main__":
    main(sys.argv[1:])
