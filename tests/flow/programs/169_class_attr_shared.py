"""Class attribute mutated through instances; instance list holds pending values."""

import time

FUNCTIONAL = ["f"]
ARGS = (4,)
CALLS, IDEAL = 4, 1


def f(x):
    time.sleep(0.02)
    return x * x + 1


def main(n):
    class Node:
        registry = []

        def __init__(self, v):
            self.v = v
            self.registry.append(self)

    for x in range(n):
        Node(f(x))
    return [nd.v for nd in Node.registry], len(Node.registry)
