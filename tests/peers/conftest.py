"""The peers' own test suites, downloaded when the tests run and kept in a cache folder outside version control.

ERGON_TEST_CACHE names another folder. Without a network and without a cache the tests are skipped.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


_left_out: dict[str, None] = {}


def pytest_runtest_logreport(report):
    if report.skipped and isinstance(report.longrepr, tuple):
        test = report.nodeid.split("[")[0].removeprefix("tests/")
        _left_out[f"{test}: {report.longrepr[2].removeprefix('Skipped: ')}"] = None


def pytest_collectreport(report):
    pytest_runtest_logreport(report)  # a whole file


def pytest_terminal_summary(terminalreporter):
    """Lines that scripts/ci.py lists again at the end of a run."""
    terminalreporter.ensure_newline()
    for line in _left_out:
        terminalreporter.write_line("skipped: " + " ".join(line.split()))


def _download(cache, name, version, *options):
    """The path of what the package index has of it."""
    cache.mkdir(parents=True, exist_ok=True)
    into = cache / f".{name}-{version}.{os.getpid()}.download"
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-deps",
        *options,
        "-d",
        str(into),
        f"{name}=={version}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        shutil.rmtree(into, ignore_errors=True)
        pytest.skip(f"{name} {version} could not be downloaded: {done.stderr.strip().splitlines()[-1:]}")
    (file,) = into.iterdir()
    return file


def _unpacked(folder, file, unpack):
    part = file.parent / "unpacked"
    unpack(file, part)
    part.rename(folder)
    shutil.rmtree(file.parent)
    return folder


@pytest.fixture(scope="session")
def peer_package():
    """peer_package(name, version) -> the folder its wheel was unpacked to."""
    cache = pathlib.Path(os.environ.get("ERGON_TEST_CACHE", ROOT / "build-peers"))

    def get(name, version):
        folder = cache / f"{name}-{version}"
        if folder.exists():
            return folder
        wheel = _download(cache, name, version, "--only-binary", ":all:")
        return _unpacked(folder, wheel, lambda file, to: zipfile.ZipFile(file).extractall(to))

    return get


@pytest.fixture(scope="session")
def peer_source():
    """peer_source(name, version) -> the folder its source distribution was unpacked to."""
    cache = pathlib.Path(os.environ.get("ERGON_TEST_CACHE", ROOT / "build-peers"))

    def get(name, version):
        folder = cache / f"{name}-{version}-source"
        if not folder.exists():
            archive = _download(cache, name, version, "--no-binary", name)
            _unpacked(folder, archive, lambda file, to: tarfile.open(file).extractall(to, filter="data"))
        return folder / f"{name}-{version}"

    return get
