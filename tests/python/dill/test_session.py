"""The state of a module in a file, by ergon.pickle and by the alias."""

import pytest

STATE = """
    import enum, json, math as m
    from collections import OrderedDict as Ordered
    {imports}

    x, text = 17, "words"

    class Color(enum.Enum):
        RED = 1

    class Base:
        def name(self): return "base"

    class Person(Base):
        count = 0
        def __init__(self, age):
            self.age = age
        def name(self): return super().name() + str(x)

    def square(n): return n * n + x

    def outer():
        def inner(): return inner, x
        return inner

    closure = outer()
    person = Person(3)
    import __main__ as itself
    space = globals()
"""

CHECK = """
    assert x == 17 and text == "words"
    assert json.dumps([1]) == "[1]" and m.pi > 3 and Ordered is __import__("collections").OrderedDict
    assert isinstance(person, Person) and person.age == 3 and person.name() == "base17"
    assert square.__globals__ is globals() and person.name.__func__.__globals__ is globals()
    assert itself.__dict__ is globals() and space is globals()
    x = 1
    assert square(2) == 5 and closure() == (closure, 1) and person.name() == "base1"
"""


def both(program, run, kind, before, after):
    imports = {"ergon": "from ergon.pickle import dump_module, load_module, load_module_asdict"}
    imports["dill"] = "from dill import dump_module, load_module, load_module_asdict"
    program(STATE.format(imports=imports[kind]) + before)
    program("    " + imports[kind] + after)


@pytest.mark.parametrize("refimported", [False, True])
@pytest.mark.parametrize("kind", ["ergon", "dill"])
def test_a_program_goes_on_in_another_process(program, run, kind, refimported):
    after = """
    load_module("state.pkl")
    """
    if kind == "ergon":
        after += "assert Color.RED.value == 1 and Color(1) is Color.RED\n"
    both(program, run, kind, f'\n    dump_module("state.pkl", refimported={refimported})\n', after + CHECK)


@pytest.mark.parametrize("kind", ["ergon", "dill"])
def test_state_as_a_dict_changes_nothing(program, run, kind):
    after = """
    y = 5
    names = load_module_asdict("state.pkl")
    assert names["x"] == 17 and "x" not in globals() and "y" not in names and names["__name__"] == "__main__"
    assert names["square"].__globals__ is names and names["square"](1) == 18
    more = load_module_asdict("state.pkl", update=True)
    assert more["y"] == 5 and more["x"] == 17 and "x" not in globals()
    """
    both(program, run, kind, '\n    dump_module("state.pkl")\n', after)


@pytest.mark.parametrize("kind", ["ergon.pickle", "dill"])
def test_other_modules(program, tmp_path, kind):
    (tmp_path / "other.py").write_text("import math\nvalue = [1]\nclass C: pass\ndef f(): return value\none = C()\n")
    program(
        f"""
        import io, os, sys, types, {kind} as p
        sys.path.insert(0, os.getcwd())
        import other
        file = io.BytesIO()
        other.value.append(2)
        p.dump_module(file, "other")
        other.value = None
        del other.C, other.one
        file.seek(0)
        assert p.load_module(file) is None
        assert other.f() == [1, 2] and type(other.one) is other.C and other.f.__globals__ is vars(other)

        made = types.ModuleType("made")
        made.x = 42
        file = io.BytesIO()
        p.dump_module(file, made)
        file.seek(0)
        again = p.load_module(file)
        assert again is not made and again.x == 42 and again.__name__ == "made" and "made" not in sys.modules
        file.seek(0)
        try:
            p.load_module(file, other)
        except ValueError as error:
            assert "made" in str(error) and "other" in str(error)
        else:
            raise AssertionError("the state went into another module")
        """,
        tmp_path,
    )


@pytest.mark.parametrize("kind", ["ergon.pickle", "dill"])
def test_files_are_private_and_links_are_not_followed(program, kind):
    program(f"""
        import os, {kind} as p
        p.dump_module("state.pkl")
        assert os.stat("state.pkl").st_mode & 0o777 == 0o600
        os.symlink("state.pkl", "link.pkl")
        for call in (p.dump_module, p.load_module, p.load_module_asdict):
            try:
                call("link.pkl")
            except OSError as error:
                assert "link" in str(error)
            else:
                raise AssertionError(call)
    """)


@pytest.mark.parametrize("kind", ["ergon.pickle", "dill"])
def test_a_state_that_cannot_be_saved_leaves_the_last_one(program, kind):
    program(f"""
        import sys, {kind} as p
        x = 1
        p.dump_module("state.pkl")
        frame = sys._getframe()
        try:
            p.dump_module("state.pkl")
        except (TypeError, p.PicklingError) as error:
            assert "frame" in str(error)
        else:
            raise AssertionError("a frame was saved")
        x = 2
        p.load_module("state.pkl")
        assert x == 1
    """)


def test_what_is_no_state_says_so(program):
    program("""
        import io, ergon, ergon.pickle as p
        for junk in (b"", b"junk", ergon.dumps([1]), ergon.dumps(lambda: 1)):
            try:
                p.load_module(io.BytesIO(junk))
            except p.UnpicklingError as error:
                pass
            except EOFError:
                assert not junk
            else:
                raise AssertionError(junk)
    """)
