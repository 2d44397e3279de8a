"""Iterations with a barrier of means: assign in parallel, update, repeat."""

import time

FUNCTIONAL = ["nearest", "mean"]
ARGS = ([1.0, 1.5, 2.0, 8.0, 9.0, 10.0], [0.0, 5.0])
CALLS, IDEAL = 24, 6


def nearest(p, centers):
    time.sleep(0.02)
    return min(range(len(centers)), key=lambda k: abs(p - centers[k]))


def mean(ps):
    time.sleep(0.02)
    return sum(ps) / len(ps) if ps else 0.0


def main(points, centers):
    for _ in range(3):
        clusters = [[] for _ in centers]
        for p in points:
            clusters[nearest(p, centers)].append(p)
        centers = [mean(c) for c in clusters]
    return centers
