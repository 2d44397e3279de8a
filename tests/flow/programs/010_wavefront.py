"""2-D dynamic programming through nested-list subscripts: anti-diagonals run in parallel."""

import time

FUNCTIONAL = ["cell"]
ARGS = (6,)
CALLS, IDEAL = 36, 11


def cell(up, left, k):
    time.sleep(0.02)
    return (up + left + k) % 1009


def main(n):
    grid = [[0] * (n + 1) for _ in range(n + 1)]
    for i in range(n + 1):
        grid[i][0] = grid[0][i] = 1
    for i in range(1, n + 1):
        for j in range(1, n + 1):
            grid[i][j] = cell(grid[i - 1][j], grid[i][j - 1], i * j)
    return grid
