"""Methods of a local class calling functionals and updating self."""

import time

FUNCTIONAL = ["fetch"]
ARGS = (6,)
CALLS, IDEAL = 12, 2


def fetch(i):
    time.sleep(0.02)
    return i * i


def main(n):
    class Store:
        def __init__(self):
            self.items = []
            self.total = 0

        def add(self, i):
            v = fetch(i)
            self.items.append(v)
            self.total += v

        def refresh(self):
            self.items = [fetch(v) for v in self.items]
            return self

    s = Store()
    for i in range(n):
        s.add(i)
    s.refresh()
    return s.items, s.total
