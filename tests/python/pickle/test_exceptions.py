"""Exceptions come back as they were raised, with what led to them."""

import pickle
import sys
import threading
import traceback

import ergon
import ergon.pickle as ep
import pytest


class KeywordOnly(Exception):
    def __init__(self, *, code, detail="d"):
        super().__init__(f"{code}: {detail}")
        self.code, self.detail = code, detail


class OtherArguments(ValueError):
    def __init__(self, path, line):
        super().__init__(f"{path}:{line}")
        self.path, self.line = path, line
        COUNT.append(1)


COUNT: list = []


class Slotted(Exception):
    __slots__ = ("a", "b")

    def __init__(self, a, b):
        self.a, self.b = a, b


class OwnNew(Exception):
    def __new__(cls, *, code):
        made = super().__new__(cls, "made")
        made.code = code
        return made

    def __init__(self, **kwargs):
        super().__init__("initialized")


class Group(ExceptionGroup):
    def __new__(cls, message, errors, code):
        made = super().__new__(cls, message, errors)
        made.code = code
        return made

    def derive(self, errors):
        return Group(self.message, errors, self.code)


class SaysItself(Exception):
    def __init__(self, a):
        self.a = a

    def __reduce__(self):
        return SaysItself, (self.a,)


class Both(KeyError, AttributeError):
    def __init__(self, a, b):
        super().__init__(a)
        self.b = b


class Errno(OSError):
    def __init__(self, code):
        super().__init__(code, "text", "file", None, "other")
        self.code = code


class Attributes(AttributeError):
    name = "of the class"


def syntax():
    try:
        compile("a = = b", "<f>", "exec")
    except SyntaxError as error:
        error.filename, error.text = "changed", None
        raise


def decoding():
    try:
        b"\xff".decode()
    except UnicodeDecodeError as error:
        error.reason, error.start = "changed", 0
        raise


def noted():
    error = ValueError("x")
    error.add_note("a note")
    error.shared = error.__notes__
    raise error


def group():
    first, shared = ValueError(1), KeyError("shared")
    first.add_note("inner")
    first.__cause__ = KeyError("c")
    second = OSError(2, "no", "one", None, "other")
    second.__context__ = shared
    raise ExceptionGroup("g", [first, ExceptionGroup("h", [second, shared])])


def changed_args():
    error = KeyError("before")
    error.args = ("after", [1])
    raise error


def chain():
    try:
        try:
            {}["k"]
        except KeyError as first:
            raise OtherArguments("p", 2) from first
    except ValueError:
        raise TypeError("t")  # noqa: B904


def caused():
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError as error:
        raise SaysItself(4) from error


def hidden():
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        raise ValueError("n") from None


def ring():
    first, second = ValueError(1), ValueError(2)
    first.__cause__, second.__cause__ = second, first
    raise first


def raising(error):
    def function():
        raise error

    return function


RAISE = {
    "attribute": lambda: (5).foo,
    "attribute of a module": lambda: threading.nothing_there,
    "attribute of a list": raising(AttributeError("msg", name="nm", obj=[1])),
    "attribute shadowed": raising(Attributes("msg", name="nm", obj=(1,))),
    "name": lambda: nowhere,  # noqa: F821
    "import": raising(ImportError("m", name="nm", path="/p")),
    "key": lambda: {}["k"],
    "args": changed_args,
    "notes": noted,
    "group": group,
    "own group": raising(Group("m", [ValueError(2)], 7)),
    "syntax": syntax,
    "decoding": decoding,
    "file": raising(OSError(2, "no", "one", None, "other")),
    "blocking": raising(BlockingIOError(11, "again", 5)),
    "keyword only": raising(KeywordOnly(code=3)),
    "other arguments": raising(OtherArguments("p", 1)),
    "slots": raising(Slotted(1, [2])),
    "own new": raising(OwnNew(code=1)),
    "says itself": raising(SaysItself(1)),
    "both": raising(Both(1, 2)),
    "errno": raising(Errno(2)),
    "stop": raising(StopIteration(5)),
    "chain": chain,
    "cause": caused,
    "hidden": hidden,
    "ring": ring,
}

FIELDS = """
    args name obj path name_from errno strerror filename filename2 characters_written msg lineno offset end_offset text encoding object
    start end reason value code detail a b line message __notes__ __suppress_context__
""".split()


def facts(error, depth=0):
    """All there is to an exception."""
    if error is None or isinstance(error, ergon.errors.RemoteTraceback):
        return None
    if depth == 5:
        return "..."
    found = {name: repr(getattr(error, name)) for name in FIELDS if hasattr(error, name)}
    found |= {"type": type(error), "str": str(error), "dict": repr(error.__dict__)}
    found |= {name: facts(getattr(error, name), depth + 1) for name in ("__cause__", "__context__")}
    found["exceptions"] = [facts(one, depth + 1) for one in getattr(error, "exceptions", ())]
    return found


def raised(function):
    with pytest.raises(BaseException) as info:
        function()
    return info.value.with_traceback(None)  # those that are kept in this module would keep the pool


def in_task(function):
    """What a task raises."""

    def run():
        with ergon.ProcessPool(1) as pool:
            pool.pipe(function)

    return raised(run)


def test_what_a_task_raises():
    with ergon.ProcessPool(1) as pool:
        for name, function in RAISE.items():
            here = facts(raised(function))
            assert (name, facts(raised(lambda: pool.pipe(function)))) == (name, here)  # noqa: B023
            assert (name, facts(raised(lambda: pool.map(lambda _: function(), [1])))) == (name, here)  # noqa: B023
            assert (name, facts(pool.apipe(function).exception())) == (name, here)


LED = ("__cause__", "__context__", "__suppress_context__", "exceptions")


@pytest.mark.parametrize("loads", [ep.loads, pickle.loads])
@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize("name", RAISE)
def test_pickles_have_all_but_what_led_to_it(name, protocol, loads):
    error = raised(RAISE[name])
    back, again = loads(ep.dumps([error, error], protocol))
    assert back is again and back is not error
    here, there = facts(error), facts(back)
    assert {name: there[name] for name in here if name not in LED} == {
        name: here[name] for name in here if name not in LED
    }


def test_init_is_not_called():
    error = OtherArguments("p", 1)
    before = len(COUNT)
    assert ep.copy(error).line == 1 and len(COUNT) == before


def test_the_workers_traceback_is_the_first_cause():
    error = in_task(caused)
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert isinstance(error.__cause__.__cause__, ergon.errors.RemoteTraceback)
    assert "1 / 0" in "".join(traceback.format_exception(error))
    error = in_task(RAISE["key"])
    assert isinstance(error.__cause__, ergon.errors.RemoteTraceback) and not error.__suppress_context__


def test_members_that_led_to_another_are_the_same_object():
    first, inner = in_task(group).exceptions
    assert inner.exceptions[0].__context__ is inner.exceptions[1]
    assert type(first.__cause__) is KeyError


class Unloadable(Exception):
    def __reduce__(self):
        return refuse, (1,)


def refuse(number):
    raise RuntimeError("not here")


def locked_cause():
    error = ValueError("v")
    error.frame = sys._getframe()
    raise KeyError("k") from error


def unloadable_cause():
    raise KeyError("k") from Unloadable("there")


@pytest.mark.parametrize("function", [locked_cause, unloadable_cause])
def test_what_led_to_it_may_be_what_cannot_travel(function):
    error = in_task(function)
    assert type(error) is KeyError and error.args == ("k",)
    assert isinstance(error.__cause__, ergon.errors.RemoteError)


def test_large_and_odd_objects_an_attribute_error_is_about_stay_there():
    for make in (lambda: bytes(1 << 20), lambda: sys._getframe()):
        error = in_task(lambda make=make: make().nothing)
        assert type(error) is AttributeError and error.name == "nothing" and error.obj is None


class Owner:
    def fail(self):
        try:
            self.nothing  # noqa: B018
        except AttributeError as error:
            self.error = error
            raise


def test_objects_that_hold_the_error_that_is_about_them():
    error = in_task(Owner().fail)
    assert error.obj.error is error and error.name == "nothing"


def test_long_chains_end_somewhere():
    def function():
        error = None
        for number in range(1000):
            last, error = error, ValueError(number)
            error.__context__ = last
        raise error

    error, length = in_task(function), 0
    while error is not None:
        assert error.args == (999 - length,)
        error, length = error.__context__, length + 1
    assert 50 < length < 1000


def nested(pool, depth):
    if depth == 0:
        raise KeyError("deep")
    return pool.pipe(nested, pool, depth - 1)


def test_tracebacks_of_tasks_in_tasks_stand_there_once():
    with ergon.ProcessPool(1) as pool:
        error = raised(lambda: pool.pipe(nested, pool, 8))
    cause = error.__cause__
    assert type(cause) is ergon.errors.RemoteTraceback and cause.__cause__ is None
    assert cause.text.count('raise KeyError("deep")') == 1
