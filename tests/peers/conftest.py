"""The peers' own test suites, downloaded when the tests run and kept in a cache folder outside version control.

ERGON_TEST_CACHE names another folder. Without a network and without a cache the tests are skipped.
"""

import os
import pathlib
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


_left_out: dict[str, None] = {}


def pytest_runtest_logreport(report):
    if report.skipped and isinstance(report.longrepr, tuple):
        test = report.nodeid.split("[")[0].removeprefix("tests/")
        _left_out[f"{test}: {report.longrepr[2].removeprefix('Skipped: ')}"] = None


def pytest_terminal_summary(terminalreporter):
    """Lines that scripts/ci.py lists again at the end of a run."""
    terminalreporter.ensure_newline()
    for line in _left_out:
        terminalreporter.write_line("skipped: " + " ".join(line.split()))


@pytest.fixture(scope="session")
def peer_package():
    """peer_package(name, version) -> the folder its wheel was unpacked to."""
    cache = pathlib.Path(os.environ.get("ERGON_TEST_CACHE", ROOT / "build-peers"))

    def get(name, version):
        folder = cache / f"{name}-{version}"
        if folder.exists():
            return folder
        cache.mkdir(parents=True, exist_ok=True)
        download = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"]
        done = subprocess.run(
            [*download, "-d", str(cache), f"{name}=={version}"], capture_output=True, text=True, timeout=300
        )
        if done.returncode:
            pytest.skip(f"{name} {version} could not be downloaded: {done.stderr.strip().splitlines()[-1:]}")
        (wheel,) = cache.glob(f"{name}-{version}-*.whl")
        unpacked = cache / f".{name}-{version}.{os.getpid()}"
        zipfile.ZipFile(wheel).extractall(unpacked)
        unpacked.rename(folder)
        wheel.unlink()
        return folder

    return get
