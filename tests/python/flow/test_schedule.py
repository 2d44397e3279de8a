"""schedule and functional: what they look like, where calls run, and that order and identity hold."""

import os
import pickle
import sys
import time

import ergon
import numpy
import pytest
from ergon import _core, functional, schedule

ahead = pytest.mark.skipif(sys.version_info >= (3, 15), reason="calls run ahead on CPython 3.11 to 3.14")


@pytest.fixture(autouse=True, scope="module")
def workers():
    ergon.configure(workers=[{"type": "multicore", "cores": 3}])
    yield
    ergon.configure()


@functional
def slow_square(x):
    time.sleep(0.01)
    return x * x


@functional
def where(x):
    time.sleep(0.005)
    return os.getpid()


@functional
def fail(x):
    raise LookupError("no", x)


def test_looks_like_the_function():
    @schedule
    def example(a, *, b=2):
        "words"

    assert example.__name__ == "example"
    assert example.__doc__ == "words"
    assert example.__wrapped__.__kwdefaults__ == {"b": 2}
    assert slow_square.__module__ == __name__
    assert schedule(example) is example
    assert pickle.loads(pickle.dumps(slow_square)) is slow_square


def test_a_copy_has_the_functions_docstring_not_its_classes():
    def told():
        """Told."""

    for kind in (_core.Functional, _core.Schedule):
        assert "TypeError" in kind.__doc__
        assert kind(told).__doc__ == "Told." and kind(lambda: 0).__doc__ is None
        assert pickle.loads(ergon.dumps(kind(told))).__doc__ == "Told."
        with pytest.raises(TypeError):
            kind(1)


def test_outside_a_scheduled_function_it_is_a_plain_call():
    assert where(1) == os.getpid()


@ahead
def test_calls_run_elsewhere_and_ahead():
    @schedule
    def main(n):
        out = []
        for i in range(n):
            out.append(where(i))
        return out

    before = _core._flow_stats()
    pids = main(8)
    after = _core._flow_stats()
    assert os.getpid() not in pids
    assert after["foreseen"] - before["foreseen"] >= 6


def test_method_and_static_method():
    class Box:
        def __init__(self, n):
            self.n = n

        @schedule
        def total(self):
            return sum(slow_square(i) for i in range(self.n))

        @staticmethod
        @schedule
        def double(n):
            return [slow_square(i) for i in range(n)] * 2

    assert Box(4).total() == 14
    assert Box.double(2) == [0, 1, 0, 1]


def test_exception_is_the_functionals_own():
    @schedule
    def main():
        slow_square(1)
        try:
            fail(2)
        finally:
            slow_square(3)

    with pytest.raises(LookupError) as caught:
        main()
    assert caught.value.args == ("no", 2)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_effects_stop_where_sequential_execution_stops(capsys):
    seen = []

    @schedule
    def main(log):
        for i in range(6):
            print(i, slow_square(i))
            log.append(slow_square(i))
            if i == 2:
                fail(i)

    with pytest.raises(LookupError):
        main(seen)
    assert seen == [0, 1, 4]
    assert capsys.readouterr().out == "0 0\n1 1\n2 4\n"


def test_argument_that_cannot_travel_runs_here():
    import threading

    lock = threading.Lock()

    @functional
    def use(x, lock):
        with lock:
            return x + 1

    @schedule
    def main():
        return [use(i, lock) for i in range(3)]

    assert main() == [1, 2, 3]


def test_functions_of_others():
    svd = functional(numpy.linalg.svd)

    @schedule
    def main(a):
        return [svd(a * k)[1] for k in range(1, 4)]

    a = numpy.arange(9.0).reshape(3, 3)
    for got, k in zip(main(a), range(1, 4)):
        numpy.testing.assert_allclose(got, numpy.linalg.svd(a * k)[1])


def test_array_rows():
    @schedule
    def main(n):
        a = numpy.zeros((n, 3))
        for i in range(n):
            a[i, :] = slow_square(i)
        return a

    assert main(4).tolist() == [[i * i] * 3 for i in range(4)]


def test_generator_function():
    @schedule
    def main(n):
        for i in range(n):
            yield slow_square(i)

    it = main(4)
    assert next(it) == 0
    assert list(it) == [1, 4, 9]


def test_a_wrong_guess_costs_nothing_but_time():
    state = {"k": 0}

    class Tricky:
        def __getattribute__(self, name):
            state["k"] += 1
            return state["k"]

    @schedule
    def main():
        t = Tricky()
        return [slow_square(t.x) for _ in range(5)]

    assert main() == [1, 4, 9, 16, 25]
    assert state["k"] == 5


def test_worker_killed_is_run_again():
    import signal

    @functional
    def die_once(path, x):
        try:
            os.mkdir(path)
        except FileExistsError:
            return x
        os.kill(os.getpid(), signal.SIGKILL)

    import tempfile

    @schedule
    def main(folder):
        return [die_once(os.path.join(folder, str(i)), i) for i in range(3)]

    with tempfile.TemporaryDirectory() as folder:
        assert main(folder) == [0, 1, 2]


def test_constant_memory_in_a_long_loop():
    @functional
    def nothing(x):
        return x

    @schedule
    def main(n):
        total = 0
        for i in range(n):
            total += nothing(i)
        return total

    assert main(20000) == sum(range(20000))


def test_options_in_brackets():
    @functional()
    def f(x):
        return x

    @schedule()
    def main():
        return f(3)

    assert main() == 3


def test_arguments_that_come_back_are_themselves():
    @functional
    def parts(a, b):
        return a, [b, a[0]], {"b": b}, [1]

    @schedule
    def main():
        a, b = [[1], 2], {"k": 1}
        first, second, third, fresh = parts(a, b)
        return first is a, second[0] is b, second[1] is a[0], third["b"] is b, fresh

    assert main() == (True, True, True, True, [1])


def test_cause_context_and_lines_of_an_exception():
    @functional
    def convert(x):
        try:
            return 1 / x
        except ZeroDivisionError as error:
            raise ValueError("bad") from error

    @schedule
    def main():
        try:
            raise KeyError("outer")
        except KeyError:
            convert(0)

    def seen(function):
        import traceback

        with pytest.raises(ValueError) as caught:
            function()
        error = caught.value
        lines = [(f.name, f.lineno) for f in traceback.extract_tb(error.__traceback__)][-2:]
        return (
            repr(error),
            repr(error.__cause__),
            error.__cause__ is error.__context__,
            repr(error.__cause__.__context__),
            lines,
        )

    assert seen(main) == seen(main.__wrapped__)


def test_a_global_that_changes_between_calls():
    space = {"k": 1}
    exec("def scaled(x):\n    return x * k\n", space)
    scaled = space["scaled"] = functional(space["scaled"])

    @schedule
    def main():
        out = []
        for i in range(4):
            space["k"] = i
            out.append(scaled(10))
        return out

    assert main() == [0, 10, 20, 30]


def test_exit_and_interrupt_raised_by_a_functional():
    @functional
    def leave(x):
        raise SystemExit(x)

    @schedule
    def main():
        return leave(3)

    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 3


@ahead
def test_a_scheduled_generator_fetches_ahead():
    @schedule
    def main(n):
        for i in range(n):
            yield where(i)

    before = _core._flow_stats()["foreseen"]
    it = main(6)
    first = next(it)
    assert first != os.getpid()
    assert os.getpid() not in list(it)
    assert _core._flow_stats()["foreseen"] - before >= 4
    other = main(3)
    next(other)
    other.close()


def test_coroutine_functions_are_left_alone():
    import asyncio

    @functional
    async def ask(x):
        await asyncio.sleep(0.001)
        return x + 1

    @schedule
    async def main():
        return [await ask(i) for i in range(3)]

    assert asyncio.run(main()) == [1, 2, 3]


def test_arrays_are_never_written_ahead():
    @schedule
    def main(a):
        b = numpy.ones(3)
        out = []
        for i in range(3):
            numpy.add(a, b, a)
            a[:, None][0] += slow_square(i)
            numpy.clip(a, 0, 9, a)
            a.cumsum(0, None, b)
            numpy.nan_to_num(a, copy=False)
            out.append((slow_square(i), a.tolist(), b.tolist()))
        return out

    a, b = numpy.zeros(3), numpy.zeros(3)
    assert main(a) == main.__wrapped__(b)
    assert a.tolist() == b.tolist()


def test_appending_an_array_keeps_the_array():
    @schedule
    def main():
        rows, a = [], numpy.zeros(2)
        for i in range(3):
            rows.append(a)
            a[0] += slow_square(i)
        return rows, a

    rows, a = main()
    assert all(row is a for row in rows)
    assert a.tolist() == [5, 0]


class Homebound:
    """Does not travel, for reasons of its own."""

    def __init__(self, when):
        self.when = when

    def __reduce__(self):
        if self.when == "leaving":
            raise RuntimeError("stays here")
        return arrive, (self.when,)


def arrive(when):
    raise LookupError("turned back")


@pytest.mark.parametrize("when", ["leaving", "arriving"])
def test_what_fails_on_its_way_is_called_here(when):
    make = functional(lambda when: Homebound(when))
    take = functional(lambda one: one.when * 2)
    make._remote_only = take._remote_only = 1

    @schedule
    def main():
        return [make(when).when for _ in range(3)], [take(Homebound(when)) for _ in range(3)]

    assert main() == ([when] * 3, [when * 2] * 3)
