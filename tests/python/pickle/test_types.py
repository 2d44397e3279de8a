"""Objects of the interpreter and the standard library that pickle refuses."""

import abc
import array
import collections
import contextvars
import fractions
import functools
import io
import itertools
import pickle
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import types
import typing
import weakref

import ergon.pickle as ep
import numpy
import pytest


def both(value, **options):
    data = ep.dumps(value, **options)
    for loads in (ep.loads, pickle.loads):
        yield loads(data)


class Plain:
    def method(self):
        return 1


def test_views_stay_views_of_their_dict():
    for make in (dict, collections.OrderedDict):
        mapping = make(a=1, b=2)
        for back in both([mapping, mapping.keys(), mapping.values(), mapping.items()]):
            back[0]["c"] = 3
            assert list(back[1]) == ["a", "b", "c"] and list(back[2]) == [1, 2, 3] and ("c", 3) in back[3]
            assert [type(v) for v in back[1:]] == [type(mapping.keys()), type(mapping.values()), type(mapping.items())]


def test_buffers():
    for view in (memoryview(b"abc"), memoryview(bytearray(b"abcd")).cast("H"), memoryview(b"abcdef")[::2]):
        for back in both(view):
            assert back == view.tobytes() or back == view
    table = memoryview(bytearray(range(24))).cast("B", (2, 3, 4))
    for back in both(table):
        assert back.shape == (2, 3, 4) and back == table
    for code in "bBhHiIlLqQfdu":
        value = array.array(code, "xyz" if code == "u" else [1, 2, 3])
        for back in both(value):
            assert back == value and back.typecode == code
    buffers = []
    data = ep.dumps(array.array("d", range(10_000)), buffer_callback=buffers.append)
    assert len(data) < 200 and ep.loads(data, buffers=buffers)[77] == 77.0


def test_arrays_of_every_kind():
    for value in (numpy.zeros(0), numpy.arange(6).reshape(2, 3)[:, ::2], numpy.array(["a", None], object), numpy.float32(2.5),
                  numpy.zeros(3, [("x", "f8"), ("y", "i4")]), numpy.ma.array([1, 2], mask=[0, 1]), numpy.dtype("f8")):  # fmt: skip
        for back in both(value):
            assert numpy.array_equal(back, value) if isinstance(value, numpy.ndarray) else back == value


def test_descriptors_and_methods():
    class Local:
        def method(self):
            return 1

        @classmethod
        def made(cls):
            return cls

    instance = Local()
    instance.attached = types.MethodType(lambda self: self, instance)
    for value in (
        dict.__dict__["fromkeys"],
        float.real,
        dict.get,
        [].append,
        Plain.method,
        Plain().method,
        str.join,
        "a".join,
    ):
        for back in both(value):
            assert back == value or type(back) is type(value)
    method = ep.copy(instance.method)
    assert method() == 1 and type(method.__self__) is Local
    assert ep.copy(Local.made)() is Local
    back = ep.copy(instance)
    assert back.attached() is back


def test_references():
    target = Plain()
    back = ep.copy([target, weakref.ref(target), weakref.proxy(target), weakref.WeakSet([target])])
    assert back[1]() is back[0] and back[2].method() == 1 and list(back[3]) == [back[0]]
    dead = weakref.ref(Plain())
    assert ep.copy(dead)() is None
    keyed = weakref.WeakKeyDictionary({target: 1})
    back = ep.copy([target, keyed])
    assert back[1][back[0]] == 1


def test_files(tmp_path):
    place = tmp_path / "file"
    place.write_text("Hello world!")
    with place.open() as text, place.open("rb") as binary:
        text.read(6)
        for back in both(text):
            assert back.read() == "world!" and back.name == str(place)
        assert text.read() == "world!"
        assert ep.copy(binary).read() == b"Hello world!"
    for closed in (text, binary):
        with pytest.raises(ep.PicklingError, match="closed files"):
            ep.dumps(closed)
    with place.open("r+b", buffering=0) as same, open(same.fileno(), "wb", closefd=False) as writing:
        with pytest.raises(ep.PicklingError, match="not opened for reading"):
            ep.dumps([writing])
    assert ep.copy(io.StringIO("x")).read() == "x"
    code = "import sys, ergon.pickle as p; assert p.copy(sys.stderr) is sys.stderr; assert p.copy(sys.stdout) is sys.stdout"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_generators():
    def count(first, *rest, step=1, **more):
        yield from (first, *rest, step, sorted(more))

    base = 10

    def with_cell(n):
        yield base + n

    for back in both(count(1, 2, 3, step=4, a=5)):
        assert list(back) == [1, 2, 3, 4, ["a"]]
    for back in both(with_cell(1)):
        assert list(back) == [11]
    started = count(1, 2)
    next(started)
    with pytest.raises(ep.PicklingError, match=r"obj\['g'\]: a generator that has started"):
        ep.dumps({"g": started})


@pytest.mark.parametrize(
    "make, words",
    [
        (threading.local, "thread"),
        (threading.current_thread, "thread"),
        (lambda: re.match("a", "a"), "groups"),
        (lambda: socket.socket(socket.AF_UNIX), "socket"),
        (lambda: sqlite3.connect(":memory:"), "database"),
        (lambda: contextvars.ContextVar("x"), "context variable"),
        (sys._getframe, "frame"),
    ],
)
def test_what_cannot_travel_says_why_and_where(make, words):
    value = make()
    try:
        with pytest.raises(ep.PicklingError) as caught:
            ep.dumps({"deep": [value]})
    finally:
        if hasattr(value, "close"):
            value.close()
    assert "obj['deep'][0]: " in str(caught.value) and words in str(caught.value)


def test_typing():
    local_type = typing.NewType("local_type", int)
    variable = typing.TypeVar("variable", bound=int)
    for value in (
        list[int],
        typing.List[int],
        typing.Optional[str],
        int | str,
        typing.Callable[[int], str],
        typing.Any,
    ):
        for back in both(value):
            assert back == value
    assert ep.copy(local_type)(3) == 3
    assert ep.copy([variable, list[variable]])[1].__args__[0].__name__ == "variable"


def test_functools():
    def local(x, y=2):
        return x + y

    partial = ep.copy(functools.partial(functools.partial(local, 1), y=5))
    assert partial() == 6
    cached = ep.copy(functools.lru_cache(maxsize=3)(local))
    assert cached(1) == 3 and cached.cache_info().maxsize == 3

    @functools.singledispatch
    def kind(x):
        return "any"

    kind.register(int)(lambda x: "int")
    back = ep.copy(kind)
    assert back(1) == "int" and back("") == "any"

    @functools.wraps(local)
    def wrapped(*args):
        return local(*args)

    assert ep.copy(wrapped).__wrapped__(1) == 3


def test_abstract_classes():
    class Base(abc.ABC):
        @abc.abstractmethod
        def method(self): ...

        @property
        @abc.abstractmethod
        def value(self): ...

    data = ep.dumps(Base)
    code = "import sys, ergon.pickle as p; B = p.loads(bytes.fromhex(sys.argv[1])); print(sorted(B.__abstractmethods__)); B()"
    done = subprocess.run([sys.executable, "-c", code, data.hex()], capture_output=True, text=True, check=False)
    assert done.stdout == "['method', 'value']\n" and "abstract" in done.stderr


def test_loaded_and_dumped_again_gives_the_same_bytes():
    class Names:
        "some names, and a value that equals one of them"

        arg = "join"

        def join(self, arg):
            return Names

    Names.join.arg = "join"
    Names.later = 1
    code = "import sys, ergon.pickle as p; sys.stdout.buffer.write(p.dumps(p.loads(sys.stdin.buffer.read())))"
    for value in (Names, [Names(), Names.join], lambda join: Names):
        data = ep.dumps(value)
        done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True)
        assert done.stdout == data


@pytest.mark.skipif(sys.version_info < (3, 14), reason="older ones say how far they got")
def test_itertools_that_keep_their_state_to_themselves():
    with pytest.raises(ep.PicklingError, match=r"obj\[0\].*does not tell how far"):
        ep.dumps([itertools.cycle("ab")])
    with pytest.raises(ep.PicklingError, match="only of numbers"):
        ep.dumps(itertools.count(fractions.Fraction(1, 3)))


def test_annotations_that_were_not_asked_for_yet():
    """CPython 3.14 evaluates them when somebody asks: they travel as they are for who asks here, and bytes do not tell."""

    class Local:
        x: int
        y: list[int] = [1]  # noqa: RUF012

        def method(self, other: int) -> str: ...

    def function(a: int, b: list[int] = ()) -> Local: ...

    data = ep.dumps([Local, function])
    assert function.__annotations__ == {"a": int, "b": list[int], "return": Local}
    assert Local.__annotations__ == {"x": int, "y": list[int]} and Local.method.__annotations__["other"] is int
    assert ep.dumps([Local, function]) == data
    code = (
        "import sys, ergon.pickle as p; L, f = p.loads(sys.stdin.buffer.read());"
        "print(L.__annotations__, L.method.__annotations__, f.__annotations__['return'] is L, f.__annotations__['b'])"
    )
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True)
    assert done.stdout.decode().split("\n")[0] == (
        "{'x': <class 'int'>, 'y': list[int]} {'other': <class 'int'>, 'return': <class 'str'>} True list[int]"
    )


@pytest.mark.skipif(sys.version_info < (3, 14), reason="evaluated where they stand")
def test_annotations_that_cannot_be_evaluated_yet():
    space = {"__name__": "__main__"}
    exec("def f(x: Later): ...\nclass C:\n    y: Later", space)
    back_f, back_c = ep.loads(ep.dumps([space["f"], space["C"]]))
    for one in (back_f, back_c):
        with pytest.raises(NameError, match="Later"):
            one.__annotations__  # noqa: B018
    back_f.__globals__["Later"] = int
    assert back_f.__annotations__ == {"x": int}
