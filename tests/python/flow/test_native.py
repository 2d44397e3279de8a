"""Native code that calls back, iterates over what it finds in containers, or resumes generators: never on what is the program's."""

import bisect
import functools
import heapq
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


@p
def heaps_and_sorted_lists(log):
    heap, line = [5, 3], [1, 9]
    x = f(4)
    heapq.heapify(heap)
    heapq.heappush(heap, f(2))
    heapq.heappush(heap, x)
    bisect.insort(line, 4)
    bisect.insort_left(line, f(3))
    log.append((heapq.heappop(heap), bisect.bisect(line, 4), list(heap), line))
    f(6)
    return [heapq.heappop(heap) for _ in range(len(heap))], f(7)


@p
def heap_of_pending_pairs(log):
    heap = []
    for i in range(6):
        heapq.heappush(heap, (f(i) % 3, i))
    while heap:
        value, i = heapq.heappop(heap)
        log.append((value, f(i)))
    return f(1)


@p
def operators_by_name(log):
    d, xs = {"a": 1}, [1, 2, 3]
    f(0)
    operator.setitem(d, "b", f(2))
    operator.delitem(xs, 0)
    operator.iconcat(xs, [f(4)])
    operator.iadd(xs, [5])
    log.append((operator.getitem(d, "b"), operator.contains(xs, 4), xs))
    return functools.reduce(operator.mul, map(f, [2, 3, 4]), 1), operator.call(f, 9), d


@p
def getters(log):
    rows = [(3, "c"), (1, "a"), (2, "b")]
    x = f(0)
    pairs = [{"k": f(i), "o": complex(i, 2)} for i in range(3)]
    log.append(sorted(rows, key=operator.itemgetter(1)))
    log.append(list(map(operator.itemgetter("k"), pairs)))
    log.append([operator.attrgetter("imag", "real")(p["o"]) for p in pairs])
    log.append(operator.methodcaller("conjugate")(pairs[1]["o"]))
    return max(pairs, key=operator.itemgetter("k"))["k"] + f(1), x


@p
def compared_by_a_function(log):
    xs = [3, 1, 2]
    x = f(0)
    log.append(sorted(xs, key=functools.cmp_to_key(lambda a, b: f(b) - f(a))))
    xs.sort(key=functools.cmp_to_key(lambda a, b: log.append((a, b)) or a - b))
    return xs, f(1), x


@p
def tees_and_chains(log):
    its = (iter([1, 2]), iter([3]))
    x = f(0)
    a, b = itertools.tee(map(f, [4, 5]))
    log.append(next(a))
    log.append(list(itertools.chain.from_iterable(its)))
    f(1)
    log.append((list(a), list(b), list(its[0])))
    rows = [[f(i)] for i in range(3)]
    rows[1].append(f(7))
    return [f(v) for v in itertools.chain.from_iterable(rows)], x


@p
def tee_made_before(log):
    a, b = itertools.tee([1, 2, 3])
    x = f(0)
    log.append(next(a))
    f(1)
    log.append((list(a), list(b)))
    return list(itertools.filterfalse(lambda v: f(v) % 2, range(5))), x


@p
def calls_until(log):
    left = [3, 2, 1, 0, 5]
    x = f(0)
    for v in iter(lambda: left.pop(0), 0):
        log.append(f(v))
    return left, f(2), x


@p
def ufunc_methods(log):
    a = numpy.arange(4.0)
    x = f(0)
    log.append(float(numpy.add.reduce(a)))
    numpy.add.at(a, [0], 5)
    f(1)
    log.append(numpy.multiply.accumulate(a).tolist())
    return numpy.subtract.outer(a, a).tolist(), f(2), x


@p
def arrays_filled_by_functions(log):
    a, b, c = numpy.zeros(3), numpy.ones((2, 2)), numpy.arange(3.0)
    x = f(1)
    numpy.copyto(a, 4)
    numpy.fill_diagonal(b, x)
    numpy.put(c, [0], f(7))
    numpy.add(a, c, out=a)
    log.append((a.tolist(), f(int(b[0, 0])), c.tolist()))
    d = numpy.empty(2)
    d[:] = f(2)
    return d.tolist(), f(3), numpy.full(2, x).tolist()


@pytest.mark.parametrize("main", programs, ids=lambda main: main.__name__)
def test_as_plain(main, capsys):
    assert outcome(schedule(main), capsys) == outcome(main, capsys)
