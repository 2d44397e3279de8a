"""A small survey written as a sequential program: the decorators make the calls of `simulate` and `fit` run in parallel.

python examples/schedule/survey.py
python -m ergon.explain examples/schedule/survey.py     what ran ahead, line by line
"""

import random

from ergon import functional, schedule


@functional
def simulate(field, seed):
    """Noisy points of a line whose slope belongs to the field."""
    rng = random.Random(f"{field} {seed}")
    slope = 1 + len(field) / 10
    return [(x / 100, slope * x / 100 + rng.gauss(0, 0.1)) for x in range(20000)]


@functional
def fit(points):
    """Slope by least squares."""
    n = len(points)
    mean_x = sum(x for x, _ in points) / n
    mean_y = sum(y for _, y in points) / n
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)


@schedule
def survey(fields, rounds):
    table = {}
    for field in fields:
        slopes = []
        for seed in range(rounds):
            slope = fit(simulate(field, seed))
            if slope > 1.45:
                print(f"{field}: steep in round {seed}")
            slopes.append(slope)
        table[field] = sum(slopes) / len(slopes)
    return table


if __name__ == "__main__":
    for name, mean in survey(["north", "east", "southern"], 4).items():
        print(f"{name:10} {mean:.3f}")
