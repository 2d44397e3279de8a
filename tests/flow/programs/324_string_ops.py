"""join, format, split on results."""

import time

FUNCTIONAL = ["word"]
ARGS = ()
CALLS, IDEAL = 9, 1


def word(i):
    time.sleep(0.02)
    return "w%d" % i


def main():
    text = " ".join(word(i) for i in range(5))
    tail = "-".join([word(i) for i in range(5, 9)])
    return text.title(), tail.split("-"), "{}|{}".format(text, tail)
