"""When the bytes of a function may be used for later calls."""

import functools
import math
import os.path

import pytest
from ergon._core import Callee

NUMBER = 5
LIST = [1]


def in_main(source, **names):
    space = {"__name__": "__main__", **names}
    exec(source, space)
    return space


def closure_over(value):
    def inner():
        return value

    return inner


@pytest.mark.parametrize(
    "source, stable",
    [
        ("f = lambda x: x", True),
        ("n = 5\ndef f(): return n", True),
        ("n = [5]\ndef f(): return n", False),
        ("n = (1, (2, [3]))\ndef f(): return n", False),
        ("def g(): return 1\ndef f(): return g()", True),
        ("def f(n): return f(n - 1)", True),
        ("class C:\n a = 1\n def m(self): return 1\ndef f(): return C()", True),
        ("class C:\n a = []\ndef f(): return C()", False),
        ("def f(x: int, y: 'list[int]' = 3, *, z=4) -> str: 'doc'", True),
        ("def f(x: list[int] = None): pass", True),
        ("def f(x=[]): pass", False),
        ("import math\ndef f(): return math.pi", True),
        ("def f(): pass\nf.tag = 1", True),
        ("def f(): pass\nf.tag = [1]", False),
        ("import functools\ndef g(x, y): return x\nf = functools.partial(g, 1, y=2)", True),
        ("import functools\ndef g(x, y): return x\nf = functools.partial(g, [])", False),
        ("import functools\ndef g(x, y): return x\nf = functools.partial(g, y=[])", False),
        (
            "import functools\ndef d(g):\n @functools.wraps(g)\n def w(*a): return g(*a)\n return w\n@d\ndef f(): return 1",
            True,
        ),
    ],
)
def test_stable(source, stable):
    callee = Callee(in_main(source)["f"])
    assert callee.stable is stable
    assert callee.valid() is stable


def test_importable_and_closures():
    for function in (math.sin, os.path.join, int, functools.partial):
        assert Callee(function).valid()
    assert Callee(closure_over(3)).stable
    assert Callee(closure_over(closure_over("x"))).stable
    assert not Callee(closure_over([])).stable
    assert not Callee([].append).stable


@pytest.mark.parametrize(
    "change",
    [
        "n = 6",
        "del n",
        "missing = 1",
        "g.__code__ = (lambda: 7).__code__",
        "def g(): return 2",
        "f.__defaults__ = (2,)",
        "f.__kwdefaults__['k'] = 3",
        "f.tag = 1",
        "C.a = 2",
        "B.b = 3",
    ],
)
def test_every_change_is_noticed(change):
    space = in_main(
        "n = 5\nclass B: b = 1\nclass C(B): a = 1\ndef g(): return 1\n"
        "def f(x=1, *, k=2):\n try: return n, g(), C, missing\n except NameError: pass"
    )
    before = Callee(space["f"])
    assert before.valid()
    assert Callee(space["f"]).bytes == before.bytes
    exec(change, space)
    assert not before.valid()


def test_partials_are_watched():
    space = in_main("import functools\ndef g(x, y): return x\nf = functools.partial(g, 1, y=2)")
    for change in ("f.keywords['y'] = 3", "f.keywords['z'] = 1", "f.tag = 1", "g.__defaults__ = (1,)"):
        callee = Callee(space["f"])
        if not callee.stable:
            continue
        assert callee.valid()
        exec(change, space)
        assert not callee.valid(), change


def test_cells_are_watched():
    inner = closure_over(1)
    callee = Callee(inner)
    assert callee.valid()
    inner.__closure__[0].cell_contents = 2
    assert not callee.valid()
    assert Callee(inner).digest != callee.digest
