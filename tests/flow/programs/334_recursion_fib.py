"""Recursive scheduled function with memo dict."""

import time

FUNCTIONAL = ["leaf"]
ARGS = ()
CALLS, IDEAL = 8, 1
SCHEDULED = ["main", "fib"]


def leaf(n):
    time.sleep(0.02)
    return n


def fib(n):
    if n < 2:
        return leaf(n)
    return fib(n - 1) + fib(n - 2)


def main():
    return fib(5)
