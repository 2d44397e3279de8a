"""Grid search with folds: nested loops, best by comparison."""

import time

FUNCTIONAL = ["fit", "score"]
ARGS = ([0.1, 1.0, 10.0], 4)
CALLS, IDEAL = 24, 2


def fit(a, k):
    time.sleep(0.02)
    return (a, k)


def score(m, k):
    time.sleep(0.02)
    return m[0] * 2 - k


def main(alphas, folds):
    best, best_score = None, float("-inf")
    log = {}
    for a in alphas:
        scores = []
        for k in range(folds):
            model = fit(a, k)
            scores.append(score(model, k))
        avg = sum(scores) / len(scores)
        log[a] = avg
        if avg > best_score:
            best, best_score = a, avg
    return best, best_score, log
