"""print of results: same text, same order, but calls overlap."""

import time

FUNCTIONAL = ["f"]
ARGS = (10,)
CALLS, IDEAL = 10, 1


def f(x):
    time.sleep(0.02)
    return x * x + 1


def main(n):
    print("begin")
    for i in range(n):
        print("item", i, f(i), sep=":", end=";\n" if i % 2 else "\n")
    print("end", [i for i in range(3)])
