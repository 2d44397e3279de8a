"""Functions and classes that no other process can import."""

import os
import pathlib
import pickle
import subprocess
import sys
import types

import ergon.pickle as ep
import pytest

SCRIPT = pathlib.Path(__file__).with_name("main_script.py")


def run_script(folder, seed):
    folder.mkdir()
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return (folder / "first").read_bytes()


def test_main_there_and_back_and_the_same_bytes_in_every_process(tmp_path):
    assert run_script(tmp_path / "a", "1") == run_script(tmp_path / "b", "2")


def test_importable_things_travel_by_reference():
    for thing in (os.path.join, pathlib.Path, pickle, len, dict.get, str.join, types.FunctionType, type(None)):
        data = ep.dumps(thing)
        assert len(data) < 60
        assert ep.loads(data) is thing or ep.loads(data) == thing
        assert pickle.loads(data) == thing


def test_closures_share_cells_and_recursion_works():
    def make():
        items = []

        def push(x):
            items.append(x)
            return len(items)

        def get():
            return items

        def factorial(n):
            return 1 if n == 0 else n * factorial(n - 1)

        return push, get, factorial

    push, get, factorial = ep.copy(make())
    assert push(3) == 1 and push(4) == 2
    assert get() == [3, 4]
    assert factorial(5) == 120


def test_nested_class_and_its_instances():
    class Outer:
        class Inner:
            def me(self):
                return Outer

        def __init__(self):
            self.inner = Outer.Inner()

    made = ep.copy(Outer())
    assert type(made) is Outer  # class tracking: one class in a process, however often it is loaded
    assert made.inner.me() is Outer
    assert pickle.loads(ep.dumps(Outer)) is Outer


def test_only_globals_that_are_used_travel():
    space = {"used": 41, "unused": object(), "__name__": "__main__"}
    exec("def f(): return used + 1", space)
    data = ep.dumps(space["f"])
    assert b"unused" not in data
    assert ep.loads(data)() == 42


def test_globals_of_nested_code_and_class_bodies():
    space = {"a": 1, "b": 2, "__name__": "__main__"}
    exec(
        "def f():\n    class C:\n        x = a\n        def g(self): return [b for _ in range(2)]\n    return C.x, C().g()",
        space,
    )
    made = ep.loads(ep.dumps(space["f"]))
    assert made() == (1, [2, 2])
    assert made.__globals__ is not space


def test_submodules_are_imported_with_the_function():
    code = "import ergon.pickle as p, sys\nf = p.loads(bytes.fromhex(sys.argv[1]))\nprint(f())"

    space = {"__name__": "__main__"}
    exec("import xml.dom.minidom\ndef f(): return xml.dom.minidom.parseString('<a/>').toxml()", space)
    data = ep.dumps(space["f"])
    done = subprocess.run([sys.executable, "-c", code, data.hex()], capture_output=True, text=True, check=False)
    assert done.stdout.strip().endswith("<a/>"), done.stderr


def test_register_by_value():
    import colorsys

    short = ep.dumps(colorsys.rgb_to_hsv)
    ep.register_pickle_by_value(colorsys)
    try:
        long = ep.dumps(colorsys.rgb_to_hsv)
        assert "colorsys" in ep.by_value_modules()
    finally:
        ep.unregister_pickle_by_value(colorsys)
    assert len(long) > len(short) * 4
    assert ep.loads(long)(1, 1, 1) == colorsys.rgb_to_hsv(1, 1, 1)
    with pytest.raises(ValueError):
        ep.unregister_pickle_by_value(colorsys)


def test_byref_refuses_what_cannot_be_imported():
    with pytest.raises(ep.PicklingError, match="not found as"):
        ep.dumps(lambda: 0, byref=True)


def test_code_of_another_version_is_refused_with_words():
    data = ep.dumps(lambda: 0)
    version = (sys.hexversion >> 16).to_bytes(2, "little")
    assert data.count(b"M" + version) == 1
    with pytest.raises(ep.UnpicklingError, match=r"compiled by Python 3\.99"):
        ep.loads(data.replace(b"M" + version, b"M" + bytes((99, 3))))


def test_dynamic_module():
    module = types.ModuleType("made_here", "its doc")
    module.x = 3
    exec("def f(): return 7", module.__dict__)
    back = ep.copy(module)
    assert back.__name__ == "made_here" and back.__doc__ == "its doc" and back.x == 3 and back.f() == 7


def test_classes_of_a_program_in_a_pool():
    script = SCRIPT.with_name("pool_script.py")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout == "all there\n", done.stderr


def test_slices_in_code():
    """They are constants of the code on CPython 3.14."""

    def cut(x, rows):
        inner = lambda y: y[::-1]  # noqa: E731
        return x[1:3], inner(x[:2]), rows[1:, None:2] if rows is not None else None

    data = ep.dumps(cut)
    back = ep.loads(data)
    assert back("abcd", None) == ("bc", "ba", None) and back.__code__ == cut.__code__ and ep.dumps(back) == data
    code = "import sys, ergon.pickle as p; print(p.loads(sys.stdin.buffer.read())('abcd', None))"
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True)
    assert done.stdout == b"('bc', 'ba', None)\n"
