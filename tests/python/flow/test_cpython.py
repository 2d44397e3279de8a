"""CPython's own tests of statements and expressions give the same verdicts when every function in them is scheduled."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "flow" / "cpython.py"
FILES = """test_grammar test_generators test_with test_unpack test_unpack_ex test_scope test_exceptions test_contextlib test_patma
test_listcomps test_setcomps test_dictcomps test_dict test_iter test_functools test_call test_keywordonlyarg
test_positional_only_arg test_raise test_named_expressions test_fstring test_bool test_augassign test_decorators
test_super test_property test_class test_generator_stop test_yield_from test_coroutines test_asyncgen
test_contextlib_async test_exception_group test_except_star test_exception_variations test_baseexception test_extcall
test_richcmp test_opcodes test_frame test_traceback test_unary test_tuple test_deque test_defaultdict test_copy
test_dataclasses test_operator""".split()
LONG = "test_itertools test_descr test_enumerate test_collections test_enum test_typing test_heapq test_sort".split()

# A scheduled function is no types.FunctionType: what asks for exactly that, or hands it to C code that does.
DIFFERENT = {
    "test_exceptions": {"test_unraisable"},
    "test_functools": {"test_pickle"},
    "test_call": {"test_method_descriptor_flag"},
    "test_copy": {"test_copy_function", "test_deepcopy_function"},
    "test_coroutines": {"test_func_8"},
    "test_frame": {"test_locals"},
    "test_collections": {"test_Awaitable", "test_Coroutine"},
    "test_typing": {
        "test_meta_no_type_check",
        "test_no_type_check_class",
        "test_no_type_check_class_and_static_methods",
        "test_respect_no_type_check",
        "test_function_repr_union",
    },
}


def verdicts(tmp_path, *arguments):
    line = [sys.executable, str(SCRIPT), *arguments]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def compare(name, tmp_path):
    try:
        found = importlib.util.find_spec(f"test.{name}")
    except ImportError:
        found = None
    if found is None:
        pytest.skip(f"this Python has no test.{name}")
    plain, scheduled = verdicts(tmp_path, "--plain", name), verdicts(tmp_path, name)
    different = {test.rsplit(".", 1)[-1] for test in plain if scheduled.get(test) != plain[test]}
    assert plain
    assert different <= DIFFERENT.get(name, set())


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_file(name, tmp_path):
    compare(name, tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("name", LONG)
def test_long_file(name, tmp_path):
    compare(name, tmp_path)
