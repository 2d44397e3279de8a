"""The package as such: import, version, errors."""

import pathlib
import pickle
import re
import subprocess
import sys

import ergon
import pytest
from ergon import errors


def test_version_is_the_projects():
    project = (pathlib.Path(__file__).resolve().parents[2] / "meson.build").read_text()
    assert re.search(r"^  version: '(.*)',$", project, re.M).group(1) == ergon.__version__


@pytest.mark.parametrize(
    ("name", "bases"),
    [
        ("WorkerLost", ()),
        ("TaskTimeout", (TimeoutError,)),
        ("TaskCancelled", ()),
        ("PoolClosed", ()),
        ("PicklingError", (pickle.PicklingError,)),
        ("UnpicklingError", (pickle.UnpicklingError,)),
        ("ConfigError", (ValueError,)),
        ("LaunchError", ()),
    ],
)
def test_error_is_also(name, bases):
    error = getattr(errors, name)
    assert issubclass(error, errors.ErgonError)
    assert error.__doc__
    assert error.__module__ == "ergon.errors"
    for base in bases:
        assert issubclass(error, base)


@pytest.mark.parametrize("name", [n for n in errors.__all__ if not n.startswith("Remote")])
def test_error_survives_pickle(name):
    error = getattr(errors, name)("why", 3)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert copy.args == ("why", 3)


def test_errors_made_from_a_remote_text_survive_pickle():
    cause = pickle.loads(pickle.dumps(errors.RemoteTraceback("Traceback ...")))
    assert type(cause) is errors.RemoteTraceback
    assert "Traceback ..." in str(cause)
    error = pickle.loads(pickle.dumps(errors.RemoteError("Traceback ...\nOops: why")))
    assert type(error) is errors.RemoteError
    assert str(error) == "Oops: why"


def test_import_brings_in_little():
    """Workers pay for every module that `import ergon` loads."""
    code = "import sys; before = set(sys.modules); import ergon; print(*sorted(set(sys.modules) - before))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in run.stdout.split()}
    heavy = {"asyncio", "concurrent", "numpy", "multiprocessing", "json", "logging", "subprocess", "inspect", "typing"}
    assert not loaded & heavy
