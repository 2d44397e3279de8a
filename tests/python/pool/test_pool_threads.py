"""Maps of pools of threads: chunks of references, which nothing is pickled for."""

import gc
import operator
import os
import sys
import threading
import time
import weakref

import ergon
import pytest
from ergon.errors import LaunchError

FAST = 20_000  # enough tiny items for chunks to have grown to hundreds and more


@pytest.fixture
def pool(request):
    with ergon.ThreadPool(2) as opened:
        yield opened
    request.node.funcargs.clear()  # else pytest keeps the pool beyond the leak check of the module


class Thing:
    def __init__(self, number=0):
        self.number = number

    def times(self, n):
        return self.number * n


def same(x):
    return x


@pytest.mark.parametrize("chunksize", [0, 1, 7, FAST])
@pytest.mark.parametrize("source", [list, tuple, iter])
def test_items_and_results_are_the_objects_themselves_in_order(pool, source, chunksize):
    things = [Thing(n) for n in range(FAST)]
    for results in (
        pool.map(same, source(things), chunksize=chunksize),
        list(pool.imap(same, source(things), chunksize=chunksize)),
        pool.amap(same, source(things), chunksize=chunksize).result(),
    ):
        assert len(results) == FAST and all(map(operator.is_, results, things))
    results = list(pool.uimap(same, source(things), chunksize=chunksize))
    assert len(results) == FAST and set(results) == set(things)


def test_every_kind_of_callable_and_any_number_of_iterables(pool):
    numbers = range(FAST)
    assert pool.map(Thing(3).times, numbers) == [3 * n for n in numbers]
    assert pool.map(divmod, numbers, [7] * FAST) == [divmod(n, 7) for n in numbers]
    assert pool.map(lambda *a: sum(a), *[numbers] * 11) == [11 * n for n in numbers]
    assert pool.starmap(divmod, ((n, 7) for n in numbers)) == [divmod(n, 7) for n in numbers]
    assert [t.number for t in pool.map(Thing, numbers)] == list(numbers)


def test_an_items_exception_is_its_own_and_the_others_are_not_touched(pool):
    def odd(n):
        if n % 5000 == 4999:
            raise LookupError(n)
        return n

    with pytest.raises(LookupError) as caught:
        pool.map(odd, range(FAST))
    assert caught.value.args == (4999,)
    for each, ordered in ((pool.imap, True), (pool.uimap, False)):
        results, iterator = [], iter(each(odd, range(FAST)))
        while True:
            try:
                results.append(next(iterator))
            except LookupError as error:
                results.append(-error.args[0])
            except StopIteration:
                break
        expected = [-n if n % 5000 == 4999 else n for n in range(FAST)]
        assert (results if ordered else sorted(results)) == (expected if ordered else sorted(expected))


def test_sys_exit_in_an_item_ends_the_item(pool):
    def leaving(n):
        if n == FAST - 2:
            sys.exit(3)

    with pytest.raises(ergon.errors.WorkerLost, match="sys.exit"):
        pool.map(leaving, range(FAST))
    assert pool.map(same, range(5)) == list(range(5))


def test_an_item_that_is_no_tuple_of_arguments_has_its_turn(pool):
    with pytest.raises(TypeError):
        pool.starmap(divmod, [(n, 7) for n in range(FAST)] + [5])


def test_an_iterable_that_raises_ends_the_items(pool):
    seen = []

    def items():
        yield from range(FAST)
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        pool.map(same, items())
    with pytest.raises(OSError, match="no more"):
        for value in pool.imap(same, items()):
            seen.append(value)
    assert seen == list(range(FAST))


def test_futures_and_put_objects_among_many_items(pool):
    shared = Thing(5)
    handle = pool.put(shared)
    gate = threading.Event()
    late = pool.apipe(lambda: gate.wait(30) and 77)
    items = list(range(FAST))
    items[FAST // 2] = handle
    items[FAST - 3] = late
    items[FAST - 2] = [late, {"deep": handle}]
    threading.Timer(0.05, gate.set).start()
    results = pool.map(same, items)
    assert results[FAST // 2] is shared
    assert results[FAST - 3 : FAST - 1] == [77, [77, {"deep": shared}]]
    assert results[: FAST // 2] == items[: FAST // 2] and results[-1] == FAST - 1
    assert pool.starmap(operator.add, [(n, late) for n in range(100)]) == [n + 77 for n in range(100)]
    failed = pool.apipe(operator.truediv, 1, 0)
    with pytest.raises(ZeroDivisionError):
        pool.map(same, [*range(FAST), failed])


def test_neighbours_that_need_each_other_are_run_side_by_side(pool):
    """The second lies in the chunk of the first: a thread that idles gets it."""
    both = threading.Barrier(2, timeout=30)

    def meet(n):
        return n if n < FAST else (both.wait(), n)[1]

    for each in (pool.map, lambda f, items: list(pool.imap(f, items))):
        assert each(meet, range(FAST + 2)) == list(range(FAST + 2))
        both.reset()


def test_what_was_given_up_ends_with_the_item_it_is_at(pool):
    """Also where no bytecode runs between two items."""
    for wait in (time.sleep, lambda seconds: time.sleep(seconds)):
        future = pool.amap(wait, [0.01] * 4000, chunksize=2000)
        start = time.monotonic()
        time.sleep(0.05)
        assert future.cancel()
        assert pool.map(same, range(10)) == list(range(10))
        assert time.monotonic() - start < 10, "20 s of items went on"


def test_a_pool_that_is_terminated_leaves_its_chunks():
    opened = ergon.ThreadPool(2)
    future = opened.amap(time.sleep, [0.01] * 4000, chunksize=2000)
    time.sleep(0.05)
    start = time.monotonic()
    opened.terminate()
    opened.join()
    assert time.monotonic() - start < 10, "20 s of items went on"
    with pytest.raises(ergon.errors.ErgonError):
        future.result()


def test_other_threads_get_their_turns_while_functions_in_c_run(pool):
    """They never come to where the interpreter would let somebody in."""
    began = threading.Event()
    work = [range(50_000)] * 400

    def items():
        began.set()
        yield from work

    future = pool.amap(sum, items(), chunksize=200)
    turns = 0
    while not future.done():
        turns += 1
        time.sleep(0)
    assert turns > 3
    assert future.result() == [sum(work[0])] * 400


def test_a_closed_pool_finishes_its_chunks():
    opened = ergon.ThreadPool(2)
    future = opened.amap(same, range(FAST))
    iterator = opened.imap(same, range(FAST))
    opened.close()
    assert list(iterator) == list(range(FAST))
    opened.join()
    assert future.result() == list(range(FAST))


def test_maps_inside_of_maps(pool):
    def inner(n):
        return sum(pool.map(same, range(n)))

    assert pool.map(inner, [500] * 20) == [500 * 499 // 2] * 20


def test_nothing_is_kept(pool):
    def failing(thing):
        if thing.number == FAST // 2:
            raise ValueError
        return thing

    def once():
        things = [Thing(n) for n in range(FAST)]
        pool.map(same, things)
        pool.amap(same, things).result()
        try:
            pool.map(failing, things)
        except ValueError as error:
            error.__traceback__ = None
        next(iter(pool.imap(same, things)))
        iterator = pool.imap(failing, iter(things))
        for _ in range(10):
            next(iterator)
        return weakref.WeakSet(things[:: FAST // 10])

    def freed(things):
        deadline = time.monotonic() + 20
        while len(things) and time.monotonic() < deadline:  # a chunk may be at its last item still
            pool.map(same, [1, 2])
            gc.collect()
        return not len(things)

    assert freed(once())
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(3):
        assert freed(once())
    gc.collect()
    assert sys.getallocatedblocks() - before < 2000, f"of {3 * 5 * FAST} items"


class Licence:
    """An initializer that fails the first `times` times."""

    def __init__(self, times, error=None):
        self.left, self.error = times, error or RuntimeError("no such licence")

    def __call__(self):
        self.left -= 1
        if self.left >= 0:
            raise self.error


OPENERS = {
    "ThreadPool": lambda **k: ergon.ThreadPool(2, **k),
    "threads:1": lambda **k: ergon.Pool("threads:1", **k),
}


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize(
    "error", [RuntimeError("no such licence"), KeyboardInterrupt("no such licence"), SystemExit("no such licence")]
)
def test_threads_whose_initializer_fails_break_the_pool(opener, error):
    kind = type(error).__name__
    with OPENERS[opener](initializer=Licence(10**6, error)) as p:
        for call in (
            lambda: p.map(abs, [-1] * 5),
            lambda: p.pipe(abs, -1),
            lambda: p.submit(abs, -1).result(60),
            lambda: list(p.imap(abs, [-1])),
            lambda: p._wait_up(1, 60),
        ):
            with pytest.raises(LaunchError, match=f"{kind}: no such licence") as caught:
                call()
            assert "__call__" in str(caught.value.__cause__), "where it was raised"


@pytest.mark.parametrize("opener", OPENERS)
def test_a_pool_of_threads_that_cannot_be_set_up_ends(opener):
    failing = Licence(10**6)
    with OPENERS[opener](initializer=failing):
        pass
    p = OPENERS[opener](initializer=failing)
    with pytest.raises(LaunchError, match="no such licence"):
        p.amap(abs, [-1]).result(60)
    p.close()
    p.join(60)
    p.restart()
    with pytest.raises(LaunchError, match="no such licence"):
        p.map(abs, [-1])
    p.terminate()
    p.restart()
    with pytest.raises(LaunchError, match="no such licence"):
        p.map(abs, [-1])
    failing.left = 0
    p.restart()  # open, but broken: the same
    assert p.map(abs, [-1, -2]) == [1, 2]
    p.terminate()


def test_an_initializer_that_fails_a_few_times_is_called_again():
    with ergon.ThreadPool(1, initializer=Licence(3)) as p:
        assert p.map(abs, [-1, -2]) == [1, 2]
        assert p.nodes == 1


def test_a_mixed_pool_goes_on_with_processes_where_threads_cannot_be_set_up():
    here = os.getpid()

    def no_threads():
        if os.getpid() == here:
            raise RuntimeError("no such licence")

    with ergon.Pool("local:1", "threads:1", initializer=no_threads) as p:
        assert p.map(abs, [-1, -2]) == [1, 2]
        with pytest.raises(ergon.errors.ErgonError, match="no such licence"):
            p.map(abs, [-1], resources={"kind": "thread"})
    with pytest.raises(LaunchError, match="no such licence"):
        ergon.Pool("local:1", "threads:1", initializer=no_threads, require="all")


@pytest.mark.slow
def test_a_thread_that_never_gets_ready_does_not_hold_up_the_end():
    enough = threading.Event()
    for end in (lambda p: p.terminate(), lambda p: (p.close(), p.join(60))):
        p = ergon.ThreadPool(2, initializer=enough.wait, grace=0.1)
        end(p)
    enough.set()
