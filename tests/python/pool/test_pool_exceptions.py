"""What a task raises comes back as itself; what cannot travel gives an error that names it; others are unharmed."""

import threading
import traceback

import ergon
import pytest
from ergon.errors import PicklingError


def divide(a, b):
    return a / b


class Picky(Exception):
    """An exception whose constructor takes other arguments than it passes on."""

    def __init__(self, code, *, detail):
        super().__init__(f"code {code}")
        self.code = code
        self.detail = detail


class Demanding(Exception):
    def __init__(self, a, b, c):
        super().__init__(a)
        self.b, self.c = b, c


class WithLocal(Exception):
    def __init__(self):
        super().__init__("holds a local")
        self.lock = threading.local()


class FailsToLoad(Exception):
    def __reduce__(self):
        return _explode, ()


def _explode():
    raise RuntimeError("cannot be rebuilt")


def raising(error):
    raise error


def raise_picky():
    raise Picky(7, detail="odd")


def raise_demanding():
    raise Demanding(1, 2, 3)


def raise_with_local():
    raise WithLocal


def raise_fails_to_load():
    raise FailsToLoad


def make_local():
    return threading.local()


def test_type_and_arguments(pool):
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        pool.pipe(divide, 1, 0)
    with pytest.raises(KeyError) as caught:
        pool.pipe(raising, KeyError("key", 2))
    assert caught.value.args == ("key", 2)
    with pytest.raises(OSError) as caught:
        pool.pipe(raising, FileNotFoundError(2, "no such file", "name"))
    assert type(caught.value) is FileNotFoundError and caught.value.errno == 2 and caught.value.filename == "name"


@pytest.mark.parametrize(
    "error", [Exception(), StopIteration(3), LookupError(), UnicodeDecodeError("utf8", b"x", 0, 1, "r")]
)
def test_odd_builtin_exceptions(pool, error):
    future = pool.apipe(raising, error)
    got = future.exception(60)
    assert type(got) is type(error) and got.args == error.args


def test_exceptions_with_other_constructors(pool):
    with pytest.raises(Picky) as caught:
        pool.pipe(raise_picky)
    assert (caught.value.code, caught.value.detail, str(caught.value)) == (7, "odd", "code 7")
    with pytest.raises(Demanding) as caught:
        pool.pipe(raise_demanding)
    assert (caught.value.args, caught.value.b, caught.value.c) == ((1,), 2, 3)


def test_exception_of_a_local_class(pool):
    class Local(Exception):
        pass

    def fail():
        raise Local("mine")

    with pytest.raises(Local, match="mine"):
        pool.pipe(fail)


def test_remote_traceback_is_the_cause(process_pool):
    with pytest.raises(ZeroDivisionError) as caught:
        process_pool.pipe(divide, 1, 0)
    text = "".join(traceback.format_exception(caught.value))
    assert caught.value.__cause__ is not None
    assert "in divide" in str(caught.value.__cause__)
    assert "return a / b" in text and __file__ in text


def test_the_tasks_own_cause_is_told(process_pool):
    def chained():
        try:
            {}["missing"]
        except KeyError as error:
            raise ValueError("outer") from error

    with pytest.raises(ValueError, match="outer") as caught:
        process_pool.pipe(chained)
    assert "missing" in "".join(traceback.format_exception(caught.value))


def test_exception_group_and_notes(pool):
    def fail():
        error = ExceptionGroup("several", [ValueError(1), TypeError(2)])
        error.add_note("a note")
        raise error

    with pytest.raises(ExceptionGroup) as caught:
        pool.pipe(fail)
    assert [type(e) for e in caught.value.exceptions] == [ValueError, TypeError]
    assert "a note" in caught.value.__notes__


def test_map_raises_the_first_in_order(pool):
    """As the sequential map would."""
    with pytest.raises(KeyError) as caught:
        pool.map(lambda i: raising(KeyError(i)) if i % 3 == 2 else i, range(100), chunksize=1)
    assert caught.value.args == (2,)
    assert pool.map(abs, [-1]) == [1]


def test_amap_raises(pool):
    future = pool.amap(divide, [1, 2, 3], [1, 0, 3])
    with pytest.raises(ZeroDivisionError):
        future.result(60)


def test_imap_raises_at_its_place_and_goes_on(pool):
    results = pool.imap(divide, [4, 1, 9], [2, 0, 3])
    assert next(results) == 2
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert next(results) == 3
    with pytest.raises(StopIteration):
        next(results)


def test_uimap_raises_and_goes_on(pool):
    results = pool.uimap(divide, [4, 1, 9, 1], [2, 0, 3, 0])
    good, bad = [], 0
    while True:
        try:
            good.append(next(results))
        except StopIteration:
            break
        except ZeroDivisionError:
            bad += 1
    assert sorted(good) == [2, 3] and bad == 2


def test_stop_iteration_of_a_task_does_not_end_the_iteration_silently(pool):
    """A task that raises StopIteration must not look like the end of the results."""
    results = pool.imap(lambda i: raising(StopIteration("mine")) if i == 1 else i, range(3))
    assert next(results) == 0
    with pytest.raises((RuntimeError, StopIteration)) as caught:
        next(results)
    if caught.type is StopIteration:
        assert caught.value.args == ("mine",)


def test_unpicklable_result(process_pool):
    with pytest.raises(PicklingError, match="local") as caught:
        process_pool.pipe(make_local)
    assert "result" in str(caught.value)
    assert process_pool.pipe(abs, -1) == 1


def test_unpicklable_result_in_a_map_harms_no_other(process_pool):
    results = process_pool.imap(lambda i: threading.local() if i == 3 else i, range(6))
    got = []
    while True:
        try:
            got.append(next(results))
        except StopIteration:
            break
        except PicklingError:
            got.append("error")
    assert got == [0, 1, 2, "error", 4, 5]


def test_unpicklable_argument(process_pool):
    with pytest.raises(PicklingError, match="local") as caught:
        process_pool.pipe(len, [1, {"key": threading.local()}])
    text = str(caught.value)
    assert "key" in text and "[1]" in text, text
    assert process_pool.pipe(abs, -1) == 1


def test_unpicklable_argument_of_a_map(process_pool):
    with pytest.raises(PicklingError, match="local"):
        process_pool.map(str, [1, 2, threading.local(), 4])
    assert process_pool.map(str, [1, 2]) == ["1", "2"]


def test_unpicklable_argument_of_an_iterator(process_pool):
    results = process_pool.imap(str, [1, 2, threading.local()])
    with pytest.raises(PicklingError, match="local"):
        list(results)
    assert process_pool.map(str, [1, 2]) == ["1", "2"]


def test_unpicklable_closure(process_pool):
    local = threading.local()

    def use():
        return local

    with pytest.raises(PicklingError, match="local"):
        process_pool.pipe(use)


def test_unpicklable_exception(process_pool):
    """The attribute that cannot travel does not hide what went wrong."""
    with pytest.raises(Exception, match="holds a local|local") as caught:
        process_pool.pipe(raise_with_local)
    assert "WithLocal" in "".join(traceback.format_exception(caught.value))
    assert process_pool.pipe(abs, -1) == 1


def test_exception_that_cannot_be_loaded(process_pool):
    with pytest.raises(Exception) as caught:
        process_pool.pipe(raise_fails_to_load)
    assert "FailsToLoad" in "".join(traceback.format_exception(caught.value))
    assert process_pool.pipe(abs, -1) == 1


class ResultFailsToLoad:
    def __reduce__(self):
        return _explode, ()


def test_result_that_cannot_be_loaded(process_pool):
    with pytest.raises(RuntimeError, match="cannot be rebuilt"):
        process_pool.pipe(ResultFailsToLoad)
    assert process_pool.pipe(abs, -1) == 1
    assert process_pool.map(abs, range(-100, 0)) == list(range(100, 0, -1))


class ArgumentFailsToLoad:
    def __reduce__(self):
        return _explode, ()


def test_argument_that_cannot_be_loaded(process_pool):
    with pytest.raises(RuntimeError, match="cannot be rebuilt"):
        process_pool.pipe(id, ArgumentFailsToLoad())
    assert process_pool.pipe(abs, -1) == 1


class FailsToDump:
    def __reduce__(self):
        raise ValueError("will not be dumped")


def test_argument_that_raises_while_it_is_dumped(process_pool):
    with pytest.raises(ValueError, match="will not be dumped"):
        process_pool.pipe(id, FailsToDump())
    with pytest.raises(ValueError, match="will not be dumped"):
        process_pool.map(id, [1, FailsToDump(), 3])
    assert process_pool.pipe(abs, -1) == 1


def test_result_that_raises_while_it_is_dumped(process_pool):
    with pytest.raises(ValueError, match="will not be dumped"):
        process_pool.pipe(FailsToDump)
    assert process_pool.pipe(abs, -1) == 1


def test_function_whose_module_is_not_there(process_pool, tmp_path, monkeypatch):
    """A module that vanished since: the worker says which one."""
    (tmp_path / "vanishing_module.py").write_text("def f(x): return x\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import vanishing_module

    (tmp_path / "vanishing_module.py").unlink()
    try:
        assert process_pool.pipe(vanishing_module.f, 3) == 3
    except Exception as error:
        assert "vanishing_module" in str(error)
    assert process_pool.pipe(abs, -1) == 1


def deep(n):
    return deep(n + 1)


def test_recursion_error(pool):
    with pytest.raises(RecursionError):
        pool.pipe(deep, 0)
    assert pool.pipe(abs, -1) == 1


def nested_list(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def test_deeply_nested_data(process_pool):
    value = process_pool.pipe(nested_list, 100_000)
    depth = 0
    while value:
        value, depth = value[0], depth + 1
    assert depth == 100_000


def test_keyboard_interrupt_of_a_task(process_pool):
    future = process_pool.apipe(raising, KeyboardInterrupt("by the task"))
    assert type(future.exception(60)) is KeyboardInterrupt
    assert process_pool.pipe(abs, -1) == 1


def test_memory_error(pool):
    with pytest.raises((MemoryError, OverflowError)):
        pool.pipe(bytes, 1 << 60)
    assert pool.pipe(abs, -1) == 1


def test_exceptions_do_not_keep_arguments_alive(process_pool):
    """Hundreds of failures with large arguments do not fill the memory."""
    block = bytes(1 << 20)
    for _ in range(300):
        with pytest.raises(TypeError):
            process_pool.pipe(divide, block, 1)
    assert process_pool.pipe(abs, -1) == 1


def test_error_text_of_the_base(pool):
    assert issubclass(PicklingError, ergon.errors.ErgonError)
    import pickle

    assert issubclass(PicklingError, pickle.PicklingError)
