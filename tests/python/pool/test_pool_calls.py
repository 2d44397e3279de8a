"""pipe, apipe and submit: one call each; whose the keywords are."""

import os
import time

import ergon
import pytest


def report(*args, **kwds):
    return args, kwds


RESERVED = {"timeout": 1, "retries": 2, "resources": 3, "after": 4, "chunksize": 5, "progress": 6, "readonly": 7}


def test_pipe(pool):
    assert pool.pipe(pow, 2, 10) == 1024
    assert pool.pipe(report) == ((), {})
    assert pool.pipe(report, 1, "two", three=3) == ((1, "two"), {"three": 3})


def test_every_keyword_of_pipe_goes_to_the_function(pool):
    assert pool.pipe(report, **RESERVED) == ((), RESERVED)
    assert pool.apipe(report, **RESERVED).result(60) == ((), RESERVED)


def test_keywords_named_like_parameters(pool):
    odd = {"f": 1, "func": 2, "self": 3, "args": 4, "kwds": 5}
    assert pool.pipe(report, 0, **odd) == ((0,), odd)
    assert pool.submit(report, 0, **odd).result(60) == ((0,), odd)


def test_apipe_gives_a_future(pool):
    future = pool.apipe(pow, 3, 2)
    assert future.result(60) == 9 and future.done() and future.successful()


def test_submit_takes_only_its_own_keywords(pool):
    future = pool.submit(report, 1, after=(), retries=0, timeout=60, chunksize=5, readonly=7)
    assert future.result(60) == ((1,), {"chunksize": 5, "readonly": 7})


def test_many_calls(parallel_pool):
    futures = [parallel_pool.apipe(pow, i, 2) for i in range(5000)]
    assert [f.result(60) for f in futures] == [i * i for i in range(5000)]


def test_results_in_any_order(parallel_pool):
    futures = [parallel_pool.apipe(str, i) for i in range(500)]
    assert [f.result(60) for f in reversed(futures)] == [str(i) for i in reversed(range(500))]


def test_without_a_function(pool):
    for method in (pool.pipe, pool.apipe, pool.submit):
        with pytest.raises(TypeError):
            method()


def test_not_callable(pool):
    for method in (pool.pipe, lambda f: pool.apipe(f).result(60), lambda f: pool.submit(f).result(60)):
        with pytest.raises(TypeError):
            method(42)


def test_wrong_arguments_raise_what_the_call_raises(pool):
    with pytest.raises(TypeError, match="square_of"):
        pool.pipe(square_of, 1, 2, 3)


def square_of(x):
    return x * x


def test_workers_are_other_processes(process_pool):
    pids = set(process_pool.map(lambda i: (time.sleep(0.02), os.getpid())[1], range(40), chunksize=1))
    assert os.getpid() not in pids
    assert len(pids) == 2


def test_serial_and_threads_stay_here():
    with ergon.SerialPool() as serial, ergon.ThreadPool(2) as threads:
        assert serial.pipe(os.getpid) == threads.pipe(os.getpid) == os.getpid()


def test_functions_see_their_globals_as_they_are_now(process_pool):
    """A cached function does not hide what changed since it travelled."""
    box = {"value": 1}

    def look():
        return box["value"]

    assert process_pool.pipe(look) == 1
    box["value"] = 2
    assert process_pool.pipe(look) == 2
    namespace = {}
    exec("level = 1\ndef look(): return level", namespace)
    assert process_pool.pipe(namespace["look"]) == 1
    namespace["level"] = 2
    assert process_pool.pipe(namespace["look"]) == 2


def test_defaults_and_cells_as_they_are_now(process_pool):
    def counter(step, start=[0]):  # noqa: B006  the point of the test
        return start[0] + step

    assert process_pool.pipe(counter, 1) == 1
    counter.__defaults__[0][0] = 10
    assert process_pool.pipe(counter, 1) == 11

    level = 1

    def cell():
        return level

    assert process_pool.pipe(cell) == 1
    level = 2
    assert process_pool.pipe(cell) == 2


def test_a_task_cannot_change_the_callers_globals(process_pool):
    values = [1, 2, 3]

    def spoil():
        values.append(4)
        return len(values)

    assert [process_pool.pipe(spoil) for _ in range(5)] == [4] * 5
    assert values == [1, 2, 3]


class Account:
    def __init__(self, balance):
        self.balance = balance

    def add(self, amount):
        return self.balance + amount

    @classmethod
    def named(cls):
        return cls.__name__

    @staticmethod
    def double(x):
        return 2 * x

    def __call__(self, x):
        return self.balance * x


def test_methods_and_callable_objects(pool):
    account = Account(100)
    assert pool.pipe(account.add, 5) == 105
    assert pool.map(account.add, [1, 2]) == [101, 102]
    assert pool.pipe(Account.named) == "Account"
    assert pool.pipe(Account.double, 4) == 8
    assert pool.map(account, [1, 2]) == [100, 200]
    account.balance = 7
    assert pool.pipe(account.add, 5) == 12


def test_class_of_results_is_the_callers_class(pool):
    made = pool.pipe(Account, 3)
    assert type(made) is Account and made.balance == 3

    class Local:
        pass

    assert type(pool.pipe(Local)) is Local
    assert pool.pipe(lambda: Local) is Local


def test_recursive_closure(pool):
    def factorial(n):
        return 1 if n == 0 else n * factorial(n - 1)

    assert pool.map(factorial, range(6)) == [1, 1, 2, 6, 24, 120]


def test_names_of_the_pool(pool):
    for (
        name
    ) in "map imap uimap amap pipe apipe submit options starmap map_reduce executor put close join terminate".split():
        assert callable(getattr(pool, name)), name
    assert pool.nodes >= 1
    assert callable(pool.restart) and callable(pool.clear)


def test_pool_of_a_string():
    with ergon.Pool("serial") as pool:
        assert pool.map(abs, [-1]) == [1]
    with ergon.Pool("threads:3") as pool:
        assert pool.nodes == 3
    with ergon.Pool("local:2") as pool:
        assert pool.nodes == 2 and pool.pipe(os.getpid) != os.getpid()
    with ergon.Pool("local:1", "threads:2") as pool:
        assert pool.nodes == 3


@pytest.mark.parametrize("wrong", ["", "warp:9", "local:", "local:x", "local:-1", "local:0", "threads:1.5", ":4"])
def test_pool_of_a_wrong_string(wrong):
    with pytest.raises(ValueError) as caught:
        ergon.Pool(wrong)
    assert isinstance(caught.value, ergon.errors.ConfigError)


@pytest.mark.parametrize("wrong", [0, -1, "two", 1.5])
def test_wrong_sizes(wrong):
    for kind in (ergon.ProcessPool, ergon.ThreadPool):
        with pytest.raises((ValueError, TypeError)):
            kind(wrong)
