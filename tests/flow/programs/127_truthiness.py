"""__bool__, __len__, __contains__, emptiness of list/dict/str/None results."""

import time

FUNCTIONAL = ["thing"]
ARGS = (8,)
CALLS, IDEAL = 8, 1


class Empty:
    def __len__(self):
        return 0

    def __contains__(self, x):
        return x == 1


def thing(k):
    time.sleep(0.02)
    return [[], [0], {}, "", "x", None, 0.0, Empty()][k]


def main(n):
    out = []
    last = None
    for k in range(n):
        t = thing(k)
        if t:
            out.append((k, True))
        elif not t and t is not None:
            out.append((k, False))
        else:
            out.append((k, None))
        last = t
    return out, 1 in last, 2 in last, bool(last)
