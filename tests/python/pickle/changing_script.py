"""Calls whose arguments another thread changes while they are written: `changing_script.py list` or `dict`."""

import sys
import threading

import ergon

LARGE = [bytes([i]) * 1_000_000 for i in range(20)]


def in_a_list(found, n):
    for i, each in enumerate(LARGE):
        found[i] = each, f"a{n}", f"b{n}"
        found[i - 10] = None


def in_a_dict(found, n):
    found.update((each, f"w{n}") for each in LARGE)


def main(kind):
    sys.setswitchinterval(1e-5)
    found, change, rounds = ([None] * 20, in_a_list, 100) if kind == "list" else (dict.fromkeys(LARGE), in_a_dict, 30)
    stop = threading.Event()

    def run():
        n = 0
        while not stop.is_set():
            n += 1
            change(found, n)

    with ergon.ProcessPool(1) as pool:
        thread = threading.Thread(target=run)
        thread.start()
        try:
            for _ in range(rounds):
                assert pool.submit(len, found).result(60) == 20
        finally:
            stop.set()
            thread.join()


if __name__ == "__main__":
    main(sys.argv[1])
