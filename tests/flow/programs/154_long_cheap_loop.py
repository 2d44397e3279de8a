"""2000 cheap iterations without any functional call: interpretive overhead only."""

FUNCTIONAL = []
ARGS = (2000,)
CALLS, IDEAL = 0, 0


def main(n):
    total, out = 0, []
    for i in range(n):
        if i % 3 == 0:
            total += i * i % 7
        else:
            total -= 1
        out.append(total)
    return total, len(out), out[-1]
