"""Work list: `while queue` with new work coming from results (spec: whole tree levels at once)."""

import time
from collections import deque

FUNCTIONAL = ["expand"]
ARGS = (1,)
CALLS, IDEAL, IDEAL_SPEC = 15, 15, 4


def expand(node):
    time.sleep(0.02)
    return [node * 2, node * 2 + 1] if node < 8 else []


def main(root):
    queue, seen = deque([root]), []
    while queue:
        node = queue.popleft()
        seen.append(node)
        queue.extend(expand(node))
    return seen
