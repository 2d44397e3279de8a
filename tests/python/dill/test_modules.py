"""source, detect, temp, pointers: the same code under ergon.pickle and in the alias."""

import pytest

HOMES = ["ergon.pickle", "dill"]


@pytest.mark.parametrize("home", HOMES)
def test_source(program, home):
    program(f"""
        import {home} as p, {home}.source as source
        import math, inspect

        k = 3
        def helper(x): return x * k
        def uses(x): return helper(x) + math.floor(2.5)
        def outer(a):
            def inner(b):
                return a + b
            return inner
        pair = [lambda x: x + 1, lambda x: x + 2]
        multi = (lambda x,
                        y: x * y)
        class Thing:
            def method(self): return 1
        class Outer:
            class Thing:
                def other(self): return 2

        names = {{}}
        exec(source.importable(uses, alias="again", source=True), names)
        assert names["again"](2) == 8
        names = {{}}
        exec(source.importable(outer(5), alias="again", source=True), names)
        assert names["again"](2) == 7
        assert source.getsource(Outer.Thing).lstrip().startswith("class Thing:\\n        def other")
        assert source.getsource(Thing) == "class Thing:\\n    def method(self): return 1\\n"
        assert source.getsource(Outer().Thing.other, lstrip=True) == "def other(self): return 2\\n"
        assert "y: x * y" in source.getsource(multi) and source.getname(multi) == "multi"
        assert source.getimport(math.sqrt, alias="root") == "from math import sqrt as root\\n"
        assert source.getimport(math) == "import math\\n"
        assert source._wrap(pair[1])(1) == 3 and source._wrap(uses)(1) == 5
        assert source.getimport(source.getimport) == "from {home}.source import getimport\\n"
        assert inspect.getsource(source.getimport).startswith("def getimport")
        thing = Thing()
        names = {{}}
        exec(source.importable(thing, alias="copy"), names)
        assert names["copy"].method() == 1
        exec(source.dumpsource(uses, alias="back"), names)
        assert names["back"](2) == 8
        for bad in (len, 5, type("Made", (), {{}})):
            try:
                source.getsource(bad)
            except (OSError, TypeError):
                pass
            else:
                raise AssertionError(bad)
    """)


def test_source_of_what_was_typed(program):
    program("""
        import readline, __main__
        from ergon.pickle import source
        session = ["def old(x):", "    return 1", "", "def old(x):", "    if x:", "        return 2", "", "twice = lambda x: 2 * x",
                   "class Typed:", "    def method(self): return 3", "", "old(1)"]
        readline.clear_history()
        for line in session: readline.add_history(line)
        exec(compile("\\n".join(session[3:]), "<stdin>", "exec"), globals())
        del __main__.__file__
        assert source.getsource(old) == "def old(x):\\n    if x:\\n        return 2\\n", source.getsource(old)
        assert source.getsource(twice) == "twice = lambda x: 2 * x\\n"
        assert source.getsource(Typed) == "class Typed:\\n    def method(self): return 3\\n"
        assert source.isdynamic(old) and source.importable(twice) == "twice = lambda x: 2 * x\\n"
    """)


@pytest.mark.parametrize("home", HOMES)
def test_detect(program, home):
    program(f"""
        import {home} as p, {home}.detect as detect, sys

        a, b, unused = 1, 2, 3
        def uses_b(): return b
        def uses_a():
            local = a
            def inner(): return local + uses_b()
            return inner

        assert set(detect.globalvars(uses_a)) == {{"a", "uses_b", "b"}}
        assert set(detect.globalvars(uses_a, recurse=False)) == {{"a"}}
        assert "len" in detect.globalvars(lambda x: len(x), builtin=True)
        assert "len" not in detect.globalvars(lambda x: len(x))
        assert detect.freevars(uses_a()) == {{"local": 1}}
        assert [code.co_name for code in detect.nestedcode(uses_a)] == ["inner"]
        assert detect.varnames(uses_a) == (("inner",), ("local",))
        assert detect.nestedglobals(uses_a) == ["a", "uses_b"]
        assert detect.outermost(uses_a()) is uses_a
        kept = uses_a()
        assert detect.referrednested(uses_a) == [kept]

        class Box: pass
        box = Box()
        box.good, box.bad = 1, sys._getframe()
        assert detect.badobjects(box) is box and detect.badtypes(box) is Box
        assert detect.badobjects(box, 1)["bad"] is box.bad and "good" not in detect.badobjects(box, 1)
        assert detect.baditems([1, box, "x"]) == [box]
        assert isinstance(detect.errors(box), Exception) and detect.errors(box.good) is None
    """)


@pytest.mark.parametrize("home", HOMES)
def test_temp(program, home):
    program(f"""
        import {home} as p, {home}.temp as temp, os, sys

        def double(x): return 2 * x
        file = temp.dump(double)
        assert temp.load(file)(4) == 8 and temp.load(file.name)(4) == 8
        name = file.name
        del file
        assert not os.path.exists(name)
        assert temp.loadIO(temp.dumpIO([1])) == [1]
        code = temp.dump_source(double, alias="two")
        assert temp.load_source(code)(4) == 8 and temp.load_source(code.name, alias="two")(4) == 8
        assert temp.loadIO_source(temp.dumpIO_source(double))(1) == 2
        with temp.capture() as out:
            print("caught")
        assert out.getvalue() == "caught\\n" and sys.stdout is not out
    """)


@pytest.mark.parametrize("home", HOMES)
def test_pointers(program, home):
    program(f"""
        import {home}.pointers as pointers, weakref

        class Node: pass
        node = Node()
        holder = [[node]]
        assert pointers.parent(holder, list) is holder[0]
        chain = pointers.parents(holder, Node, depth=2)
        assert chain[0] is node and chain[-1] is holder and len(chain) == 3
        up = pointers.children(node, list)
        assert up == [holder[0], node]
        assert pointers.children(object(), Node)[1:] == [] and pointers.parent(1, list) is None
        assert pointers.reference(weakref.proxy(node)) == id(node) == pointers.reference(node)
        assert pointers.at(id(node)) is node
        try:
            pointers.at(12345)
        except ReferenceError as error:
            assert "0x3039" in str(error)
        else:
            raise AssertionError
    """)


def test_ergon_pickle_has_them_without_importing_them(program):
    program("""
        import sys, ergon, ergon.pickle
        late = ["session", "source", "detect", "temp", "pointers"]
        assert not [name for name in late if "ergon.pickle." + name in sys.modules]
        for name in ergon.pickle.__all__:
            assert getattr(ergon.pickle, name) is not None
        assert ergon.pickle.pickles(lambda: 1) and not ergon.pickle.pickles(sys._getframe())
        assert "trace" in dir(ergon.pickle) and callable(ergon.pickle.trace)
        try:
            ergon.pickle.nothing
        except AttributeError as error:
            assert "nothing" in str(error)
    """)


def test_trace_says_what_makes_a_pickle(program):
    program("""
        import io, ergon, ergon.pickle, json
        big = "x" * 5000
        class Thing: pass
        def function(): return big, Thing
        out = io.StringIO()
        size = ergon.pickle.trace({"f": function, "j": json.dumps}, out)
        lines = out.getvalue().splitlines()
        assert size == len(ergon.dumps({"f": function, "j": json.dumps}))
        assert any("function __main__.function:" in line and "by value" in line for line in lines), lines
        assert any("type __main__.Thing" in line for line in lines)
        assert "function json.dumps: by reference" in lines
    """)


def test_trace_of_the_alias(program):
    out = program("""
        import dill, io
        from dill.detect import trace
        dill.dumps({"f": lambda x: x})
        out = io.StringIO()
        with trace(out):
            dill.dumps([1, lambda x: x])
        print(out.getvalue())
        assert not dill.logger.logger.isEnabledFor(20)
    """)
    lines = out.strip().splitlines()
    assert lines[0].startswith("┬ F1: <function <lambda>") or "F1" in lines[0]
    assert lines[-1].startswith("└ # F1 [") and lines[-1].endswith("B]")
