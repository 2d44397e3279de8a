"""Native code that calls back, iterates over what it finds in containers, or resumes generators: never on what is the program's."""

import functools
import itertools
import operator
import time

import ergon
import numpy
import pytest
from ergon import functional, schedule


@pytest.fixture(autouse=True, scope="module")
def workers():
    ergon.configure(workers=[{"type": "multicore", "cores": 2}])
    yield
    ergon.configure()


@functional
def f(x):
    time.sleep(0.002)
    return x


programs = []


def p(main):
    programs.append(main)
    return main


@p
def bound_method_in_map(log):
    f(0)
    list(map(log.append, [1, 2]))
    return f(1)


@p
def print_in_map(log):
    f(0)
    list(map(print, ["b1"]))
    return f(1)


@p
def next_in_map(log):
    its = [iter([1, 2]), iter([3, 4])]
    x = f(0)
    log.append(list(map(next, its)))
    f(1)
    log.append(list(map(next, its)))
    return x


@p
def chain_from_iterable(log):
    its = [iter([1, 2]), iter([3, 4])]
    f(0)
    log.append(list(itertools.chain.from_iterable(its)))
    return f(1)


@p
def half_used_chain(log):
    c = itertools.chain(iter([1, 2]), iter([3, 4]))
    log.append(next(c))
    f(0)
    log.append(list(c))
    return f(3)


@p
def half_used_chain_of_generators(log):
    def gen(n):
        yield n
        yield n + 1

    c = itertools.chain(gen(1), gen(5))
    log.append(next(c))
    f(0)
    log.append(list(c))
    return f(3)


@p
def effect_as_sort_key(log):
    f(0)
    sorted([3, 1], key=log.append)
    return f(1)


@p
def pop_in_filter(log):
    d = dict.fromkeys("ab")
    f(0)
    log.append(list(filter(d.pop, ["a"])))
    f(1)
    return d


@p
def pairs_are_iterators(log):
    f(0)
    log.append(dict([iter((1, 2))]))
    it = iter((3, 4))
    f(1)
    log.append(dict([it]))
    return f(2)


@p
def update_from_pairs(log):
    it = iter((3, 4))
    f(0)
    d = {}
    d.update([it])
    log.append(d)
    f(1)
    return d


@p
def unpacked_iterator(log):
    it = iter((3, 4))
    f(0)
    x = [*it]
    log.append(x)
    f(1)
    y, z = iter((3, 4))
    return f(2)


@p
def map_in_leftlist(log):
    mm = map(lambda x: x + 1, iter([1, 2, 3]))
    c = [mm]
    f(0)
    log.append(list(c[0]))
    f(1)
    return f(2)


@p
def one_iterator_twice(log):
    z = zip(*[iter(range(6))] * 2)
    log.append(next(z))
    f(0)
    log.append(list(z))
    return f(2)


@p
def tee(log):
    t = itertools.tee(iter([1, 2, 3]))
    log.append(next(t[0]))
    f(0)
    log.append([list(x) for x in t])
    return f(2)


@p
def groupby(log):
    g2 = itertools.groupby([1, 1, 2, 2, 3])
    f(0)
    for key, v in g2:
        log.append((key, list(v), f(key)))
    return f(9)


@p
def cycle(log):
    cyc = itertools.cycle(iter([1, 2]))
    log.append(next(cyc))
    f(0)
    log.append([next(cyc) for _ in range(4)])
    return f(1)


@p
def reduce_with_effects(log):
    f(0)
    functools.reduce(lambda left, right: log.append(right), [1, 2, 3])
    return f(1)


@p
def reduce_in_place(log):
    f(0)
    functools.reduce(operator.iadd, [log, [1], [2]])
    return f(1)


@p
def starmap_inserts(log):
    f(0)
    list(itertools.starmap(log.insert, [(0, 1), (0, 2)]))
    return f(1)


@p
def any_of_appends(log):
    f(0)
    any(map(log.append, [1, 2]))
    log += map(f, [5, 6])
    return f(1)


@p
def setitem_in_map(log):
    f(0)
    d = {}
    list(map(d.__setitem__, "ab", [1, 2]))
    f(1)
    return d


@p
def zip_of_one_iterator(log):
    it = iter([4, 5, 6])
    f(0)
    log.append([left for left in zip(it, it)])
    f(1)
    return max(iter([f(3), f(4)]), default=0)


@p
def membership_uses_up(log):
    it = iter([4, 5, 6])
    f(0)
    4 in it
    f(1)
    log.append(list(it))
    return f(2)


class Loud:
    def __init__(self, log):
        self.log = log

    def __add__(self, other):
        self.log.append("add")
        return self

    __radd__ = __add__


@p
def arrays_of_objects(log):
    a = numpy.array([Loud(log), Loud(log)], dtype=object)
    f(0)
    numpy.sum(a)
    numpy.add(a, 1)
    f(1)
    a.sum()
    numpy.sum([Loud(log), Loud(log)])
    return f(2)


@p
def factory_with_effects(log):
    from collections import defaultdict

    log += [1, 2, 3]
    d = defaultdict(log.pop)
    f(0)
    list(map(d.__getitem__, "ab"))
    f(1)
    return dict(d), f(2)


@p
def functions_as_values(log):
    table = {}
    f(0)
    table.update(go=f)
    steps = [len]
    steps.append(f)
    f(1)
    return [step([1]) for step in steps], table["go"](5) + f(2)


def outcome(main, capsys):
    log = []
    try:
        result = main(log)
    except Exception as error:
        result = repr(error)
    return result, [v for v in log if not isinstance(v, Loud)], capsys.readouterr().out


@pytest.mark.parametrize("main", programs, ids=lambda main: main.__name__)
def test_as_plain(main, capsys):
    assert outcome(schedule(main), capsys) == outcome(main, capsys)
