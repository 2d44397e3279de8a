"""cloudpickle's own tests, unmodified, on ergon.pickle.

The tests of version 3 are in its repository alone, those of version 2 also in its packages: where the repository cannot be reached those
are run.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

HERE = pathlib.Path(__file__).parent
NEW, OLD = "3.1.2", "2.2.1"
PLACE = "https://github.com/cloudpipe/cloudpickle"

# Tests that look at functions inside cloudpickle that are nobody else's; some are run with two protocols.
INTERNAL = {
    "test_extract_class_dict": "calls _extract_class_dict",
    "test_cloudpickle_extract_nested_globals": "calls _extract_code_globals",
    "test_non_module_object_passing_whichmodule_test": "calls _whichmodule",
    "test_lookup_module_and_qualname_dynamic_typevar": "calls _lookup_module_and_qualname",
    "test_lookup_module_and_qualname_importable_typevar": "calls _lookup_module_and_qualname",
    "test_lookup_module_and_qualname_stdlib_typevar": "calls _lookup_module_and_qualname",
}
INTERNAL_OF_NEW = {"test_importing_multiprocessing_does_not_impact_whichmodule": "calls _whichmodule"}


def _repository():
    cache = pathlib.Path(os.environ.get("ERGON_TEST_CACHE", HERE.parent.parent / "build-peers"))
    kept = cache / f"cloudpickle-v{NEW}"
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        part = cache / f".cloudpickle.{os.getpid()}"
        command = ["git", "clone", "-q", "--depth", "1", "--branch", f"v{NEW}", PLACE, str(part)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=120, env={**os.environ, "GIT_TERMINAL_PROMPT": "0"}
        )
        if done.returncode:
            shutil.rmtree(part, ignore_errors=True)
            pytest.skip(f"cloudpickle's repository could not be fetched: {done.stderr.strip().splitlines()[-1:]}")
        part.rename(kept)
    return kept


def _run(tree, source, psutil):
    """(tests that failed, how many passed, what was printed), with the stand-in as the package."""
    shutil.copytree(source / "tests", tree / "tests")
    shutil.copytree(HERE / "as_cloudpickle" / "cloudpickle", tree / "cloudpickle")
    (tree / "psutil").symlink_to(psutil / "psutil")  # where the processes the tests start find it as well
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-rfE", "-p", "no:cacheprovider", "--rootdir", str(tree)]
    done = subprocess.run(
        [*command, "tests/cloudpickle_test.py", "tests/cloudpickle_file_test.py"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tree), str(tree / "tests" / "cloudpickle_testpkg")])},
        capture_output=True,
        text=True,
        timeout=600,
    )
    failed = {name.split("[")[0] for name in re.findall(r"^(?:FAILED|ERROR) \S+::(\w+\S*)", done.stdout, re.M)}
    passed = re.search(r"(\d+) passed", done.stdout)
    return failed, int(passed[1]) if passed else 0, done.stdout


def test_suite(tmp_path, peer_package):
    failed, passed, output = _run(tmp_path, _repository(), peer_package("psutil", "7.2.2"))
    assert failed == {*INTERNAL, *INTERNAL_OF_NEW}, output[-6000:]
    assert passed >= 250, output[-3000:]


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="cloudpickle 2 is of the time of CPython 3.11")
def test_suite_of_version_2(tmp_path, peer_package, peer_source):
    failed, passed, output = _run(tmp_path, peer_source("cloudpickle", OLD), peer_package("psutil", "7.2.2"))
    assert failed == set(INTERNAL), output[-6000:]
    assert passed >= 238, output[-3000:]
