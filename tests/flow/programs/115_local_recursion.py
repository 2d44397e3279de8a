"""Recursive nested function (closure over itself)."""

import time

FUNCTIONAL = ["f", "g"]
ARGS = ([1, [2, [3, 4], 5], [6]],)
CALLS, IDEAL = 9, 4


def f(x):
    time.sleep(0.02)
    return x * x + 1


def g(a, b):
    time.sleep(0.02)
    return a * 2 + b


def main(tree):
    def walk(t):
        acc = 0
        for node in t:
            if isinstance(node, list):
                acc = g(acc, walk(node))
            else:
                acc += f(node)
        return acc

    return walk(tree)
