"""cloudpickle's own tests, unmodified, on ergon.pickle. Its packages do not hold them: they come from its repository."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

HERE = pathlib.Path(__file__).parent
VERSION = "v3.1.2"
PLACE = "https://github.com/cloudpipe/cloudpickle"

# Of both protocols each. All look at functions inside cloudpickle that are nobody else's.
DIFFERENT = {
    "test_extract_class_dict": "calls _extract_class_dict",
    "test_cloudpickle_extract_nested_globals": "calls _extract_code_globals",
    "test_importing_multiprocessing_does_not_impact_whichmodule": "calls _whichmodule",
    "test_non_module_object_passing_whichmodule_test": "calls _whichmodule",
    "test_lookup_module_and_qualname_dynamic_typevar": "calls _lookup_module_and_qualname",
    "test_lookup_module_and_qualname_importable_typevar": "calls _lookup_module_and_qualname",
    "test_lookup_module_and_qualname_stdlib_typevar": "calls _lookup_module_and_qualname",
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A working tree whose package is the stand-in."""
    cache = pathlib.Path(os.environ.get("ERGON_TEST_CACHE", HERE.parent.parent / "build-peers"))
    kept = cache / f"cloudpickle-{VERSION}"
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        part = cache / f".cloudpickle.{os.getpid()}"
        command = ["git", "clone", "-q", "--depth", "1", "--branch", VERSION, PLACE, str(part)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=120, env={**os.environ, "GIT_TERMINAL_PROMPT": "0"}
        )
        if done.returncode:
            shutil.rmtree(part, ignore_errors=True)
            pytest.skip(f"cloudpickle's repository could not be fetched: {done.stderr.strip().splitlines()[-1:]}")
        part.rename(kept)
    tree = tmp_path_factory.mktemp("cloudpickle")
    shutil.copytree(kept / "tests", tree / "tests")
    shutil.copytree(HERE / "as_cloudpickle" / "cloudpickle", tree / "cloudpickle")
    return tree


def test_suite(repository):
    pytest.importorskip("psutil")
    path = [str(repository), str(repository / "tests" / "cloudpickle_testpkg")]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-s",
        "-rfE",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(repository),
    ]
    done = subprocess.run(
        [*command, "tests/cloudpickle_test.py", "tests/cloudpickle_file_test.py"],
        cwd=repository,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    failed = {name.split("[")[0] for name in re.findall(r"^(?:FAILED|ERROR) \S+::(\w+\S*)", done.stdout, re.M)}
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed[1]) >= 248, done.stdout[-3000:]
    assert failed == set(DIFFERENT), done.stdout[-6000:]
