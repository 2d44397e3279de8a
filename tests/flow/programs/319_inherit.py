"""Inheritance with super() and overridden methods that call functionals."""

import time

FUNCTIONAL = ["f", "g"]
ARGS = ()
CALLS, IDEAL = 9, 2


def f(x):
    time.sleep(0.02)
    return x * x + 1


def g(x):
    time.sleep(0.02)
    return x + 0.5


def main():
    class Base:
        def __init__(self, k):
            self.k = k

        def run(self):
            return f(self.k)

    class Sub(Base):
        def __init__(self, k):
            super().__init__(k + 1)

        def run(self):
            return g(super().run())

    objs = [Base(i) if i % 2 else Sub(i) for i in range(6)]
    return [o.run() for o in objs]
