"""Streams that other versions of Python wrote load as far as code allows; those written long ago load for ever.

The files in streams/ come from make_streams.py.
"""

import collections
import decimal
import functools
import os
import pathlib
import pickle
import shutil
import subprocess
import sys

import ergon.pickle as ep
import pytest

STREAMS = sorted(pathlib.Path(__file__).with_name("streams").glob("*.pickle"))
HERE = f"python{sys.version_info[0]}.{sys.version_info[1]}"


def other_pythons():
    """Those on the path, and those a version manager keeps."""
    kept = pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv")) / "versions"
    found = [
        *(shutil.which(f"python3.{minor}") for minor in range(8, 15)),
        *kept.glob("3.[89]*/bin/python3"),
        *kept.glob("3.1*/bin/python3"),
    ]
    return [str(path) for path in found if path and "shims" not in pathlib.Path(path).parts]


def check(name, value):
    if name == "plain":
        assert value[:8] == [None, True, 1, 2**70, 1.5, "é", b"b", bytearray(b"c")]
        assert value[10] == {"k": {3}} and value[11:] == [frozenset({4}), 1 + 2j, range(3), slice(1, 2)]
    elif name == "library":
        assert value[0] == collections.OrderedDict(a=1) and value[1].maxlen == 3 and value[2] == decimal.Decimal("1.5")
        assert (
            isinstance(value[3], functools.partial) and value[3]("11") == 3 and value[4] == pathlib.PurePosixPath("a/b")
        )
        assert value[5:] == [len, type(None), type({}.keys())]
    elif name == "recursive":
        assert value[0] == 1 and value[1] is value
    elif name == "class":
        bare, instance, red, variable = value
        assert bare.limit == 3 and type(instance) is bare and red.value == 1 and variable.__name__ == "T"
    elif name == "function":
        assert value["add"](1) == 4
    else:
        assert value[0].name == "r" and repr(value[0]) == "Record(name='r')"


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
@pytest.mark.parametrize("loads", [ep.loads, pickle.loads], ids=["ergon", "pickle"])
def test_stream(path, loads):
    writer, _, name = path.stem.partition("-")
    if name in ("function", "method") and writer != HERE:
        version = writer.removeprefix("python")
        with pytest.raises(
            ep.UnpicklingError, match=rf"compiled by Python {version}.*which Python {HERE[6:]} cannot run"
        ):
            loads(path.read_bytes())
    else:
        check(name, loads(path.read_bytes()))


def test_there_are_streams_of_several_versions():
    assert {path.stem.partition("-")[0] for path in STREAMS} >= {"python3.11", "python3.12", "python3.13"}


def test_plain_data_needs_neither_ergon_nor_this_version():
    """Whatever Python there is reads it, and what it writes is read here."""
    value = [None, True, 1, 2**70, 1.5, "é", b"b", (1,), [2], {"k": {3}}, frozenset({4}), collections.OrderedDict(a=1)]
    code = (
        "import pickle, sys; value = pickle.load(sys.stdin.buffer); assert 'ergon' not in sys.modules\n"
        "sys.stdout.buffer.write(pickle.dumps(value, 5))"
    )
    asked = 0
    for python in other_pythons():
        environment = {key: text for key, text in os.environ.items() if not key.startswith("PYTHON")}
        done = subprocess.run(
            [python, "-E", "-c", code], input=ep.dumps(value), capture_output=True, check=False, env=environment
        )
        assert done.returncode == 0, done.stderr
        assert ep.loads(done.stdout) == value
        asked += 1
    if not asked:
        pytest.skip("no other version of Python is installed here")
