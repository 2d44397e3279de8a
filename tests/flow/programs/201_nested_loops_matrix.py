"""Matrix of results by nested loops and list-of-lists stores."""

import time

FUNCTIONAL = ["cell"]
ARGS = (4, 5)
CALLS, IDEAL = 20, 2


def cell(i, j):
    time.sleep(0.02)
    return i * 10 + j


def main(n, m):
    grid = [[0] * m for _ in range(n)]
    for i in range(n):
        for j in range(m):
            grid[i][j] = cell(i, j)
    rows = [sum(r) for r in grid]
    return grid, rows, max(rows)
