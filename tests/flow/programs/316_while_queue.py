"""Work list that grows by known rules, results collected."""

import time

FUNCTIONAL = ["f"]
ARGS = ()
CALLS, IDEAL = 8, 1


def f(x):
    time.sleep(0.02)
    return x * x + 1


def main():
    todo, out = [1], {}
    while todo:
        k = todo.pop()
        out[k] = f(k)
        for n in (2 * k, 3 * k):
            if n < 13 and n not in out and n not in todo:
                todo.append(n)
    return sorted(out.items())
