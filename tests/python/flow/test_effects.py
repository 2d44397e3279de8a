"""Code of the user's that could tell whether it ran twice: iterators, finalizers, operators, files."""

import gc
import time
import traceback

import ergon
import pytest
from ergon import functional, schedule


@pytest.fixture(autouse=True, scope="module")
def workers():
    ergon.configure(workers=[{"type": "multicore", "cores": 3}])
    yield
    ergon.configure()


@functional
def f(x):
    time.sleep(0.001)
    return x + 1


log = []


class It:
    def __init__(s, n):
        s.n = n
        s.k = 0

    def __iter__(s):
        return s

    def __next__(s):
        log.append(("next", s.k))
        if s.k >= s.n:
            raise StopIteration
        s.k += 1
        return s.k


class D:
    def __init__(s, v):
        s.v = v
        log.append(("init", v))

    def __del__(s):
        log.append(("del", s.v))


class Cmp:
    def __init__(s, v):
        s.v = v

    def __lt__(s, o):
        log.append("lt")
        return s.v < o.v

    def __eq__(s, o):
        log.append("eq")
        return s.v == o.v

    def __hash__(s):
        log.append("hash")
        return hash(s.v)

    def __len__(s):
        log.append("len")
        return s.v

    def __bool__(s):
        log.append("bool")
        return True

    def __getattr__(s, n):
        log.append("ga")
        raise AttributeError(n)

    def __iter__(s):
        log.append("iter")
        return iter([s.v])

    def __str__(s):
        log.append("str")
        return "c"

    def __contains__(s, x):
        log.append("cont")
        return True

    @property
    def p(s):
        log.append("p")
        return s.v


def body():
    out = []
    it = It(3)
    for x in it:
        out.append(f(x))
    it2 = It(3)
    for i, x in enumerate(it2):
        out.append(f(x))
    z = zip(It(3), range(3))
    for a, b in z:
        out.append(f(a))
    for i in range(3):
        d = D(i)
        out.append(f(i))
        del d
    cs = [Cmp(f(i)) for i in (3, 1, 2)]
    f(1)
    out.append([c.v for c in sorted(cs)])
    f(2)
    out.append(cs[0] in cs)
    f(3)
    out.append(len({c for c in cs}))
    f(4)
    out.append(len(cs[0]))
    f(5)
    if cs[0]:
        out.append(f(6))
    hasattr(cs[0], "zzz")
    f(7)
    out += list(cs[1])
    f(8)
    out.append(str(cs[0]) + f"{cs[1]}")
    f(9)
    out.append(3 in cs[0])
    f(10)
    out.append(cs[0].p)
    f(11)
    dd = {cs[0]: 1}
    f(12)
    dd[cs[1]] = f(13)
    out.append(max(cs).v)
    out.append(f(14))
    out.append(cs == cs[:])
    f(15)
    cs.index(cs[2])
    f(16)
    m = map(lambda q: (log.append(q), f(q))[1], range(3))
    out.append(next(m))
    out.append(f(1))
    out += list(m)
    fi = open(__file__)
    fi.readline()
    f(1)
    out.append(len(fi.readline()))
    f(2)
    out.append(fi.tell() > 0 and len(next(fi)))
    f(3)
    fi.close()
    return out


def test_nothing_of_it_runs_twice_or_early():
    log.clear()
    plain, plainly = body(), list(log)
    log.clear()
    ahead = schedule(body)()
    assert ahead == plain
    assert log == plainly


class Noisy:
    def __init__(self, log):
        self.log = log

    def __del__(self):
        self.log.append("gone")


@functional
def fails(x):
    time.sleep(0.002)
    raise ValueError(x)


def test_an_exception_from_a_worker_keeps_nothing_alive():
    """Not the variables of who caught it, for one: they go when the function ends, not when garbage is collected."""

    @schedule
    def main(log):
        mine = Noisy(log)
        try:
            fails(1)
            fails(2)
        except ValueError as error:
            log.append(error.args)
        return mine is not None

    gc.collect()
    gc.disable()
    try:
        log = []
        assert main(log)
        assert log == [(1,), "gone"]
    finally:
        gc.enable()


def test_lines_of_a_worker_are_not_underlined():
    """Which part of a line it was is not known here."""

    @schedule
    def main():
        return fails(1)

    with pytest.raises(ValueError) as caught:
        main()
    text = "".join(traceback.format_exception(caught.value))
    last = text.splitlines()[-2:]
    assert last == ["    raise ValueError(x)", "ValueError: 1"]
