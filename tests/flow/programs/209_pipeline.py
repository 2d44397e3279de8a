"""Three-stage pipeline per item with local names."""

import time

FUNCTIONAL = ["load", "clean", "score"]
ARGS = (["a", "b", "c", "d", "e"],)
CALLS, IDEAL = 15, 3


def load(n):
    time.sleep(0.02)
    return {"name": n, "text": n * 3}


def clean(d):
    time.sleep(0.02)
    return {**d, "text": d["text"].upper()}


def score(d):
    time.sleep(0.02)
    return len(d["text"])


def main(names):
    results = {}
    for name in names:
        raw = load(name)
        good = clean(raw)
        results[name] = score(good)
    return results
