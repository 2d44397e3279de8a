"""print of progress with results inside the loop, string building."""

import time

FUNCTIONAL = ["f"]
ARGS = (8,)
CALLS, IDEAL = 8, 1


def f(i):
    time.sleep(0.02)
    return i / 3


def main(n):
    text = ""
    for i in range(n):
        v = f(i)
        print("step %d of %d: %.2f" % (i, n, v))
        text += f"{v:.1f};"
    print(text)
    return len(text), text.split(";")
