"""The leak check and the reference check themselves: each finds what is left, and nothing when nothing is."""

import os
import pathlib
import subprocess
import sys
import tempfile
import threading

import leaks
import pytest
import refleaks


def sleeper(**options):
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], **options)


def test_finds_nothing_when_nothing_is_left(tmp_path):
    before = leaks.Snapshot(tmp_path)
    with open(tmp_path / "gone", "w"):
        pass
    os.unlink(tmp_path / "gone")
    child = sleeper()
    child.kill()
    child.wait()
    assert before.leaks(patience=1) == []


def test_finds_a_process():
    before = leaks.Snapshot()
    child = sleeper()
    try:
        found = before.leaks(patience=0)
    finally:
        child.kill()
        child.wait()
    assert any(f"pid {child.pid} " in line for line in found)


@pytest.mark.parametrize(
    ("environment", "ours"),
    [(None, True), ({}, True), ({"TMPDIR": "/tmp/ergt-another_1", "PATH": "/tmp/ergt-another_1/bin"}, False)],
    ids=["with this environment", "with none", "with another run's"],
)
def test_finds_an_orphan_that_uses_this_tree(environment, ours):
    before = leaks.Snapshot()
    code = "import ergon, time, os; os.fork() and os._exit(0); os.setsid(); print(os.getpid(), flush=True); time.sleep(600)"
    if environment is not None:  # some interpreters find ergon there, and sanitizers their library
        needed = {name: os.environ[name] for name in ("PYTHONPATH", "LD_PRELOAD", "ASAN_OPTIONS") if name in os.environ}
        environment = {**environment, **needed}
    read, write = os.pipe()
    middle = subprocess.Popen([sys.executable, "-c", code], stdout=write, env=environment)
    os.close(write)
    middle.wait()
    with os.fdopen(read) as pipe:
        orphan = int(pipe.readline())
    try:
        found = before.leaks(patience=0, threads=False)
    finally:
        os.kill(orphan, 9)
    assert any(f"pid {orphan} " in line for line in found) == ours
    assert leaks.wait_gone([orphan]) == []


def test_finds_a_descriptor_and_a_file(tmp_path):
    before = leaks.Snapshot(tmp_path)
    fd = os.open(tmp_path / "left", os.O_CREAT | os.O_RDWR)
    try:
        found = before.leaks(patience=0)
    finally:
        os.close(fd)
    assert any(line.startswith(f"descriptor left open: {fd} ") for line in found)
    assert f"file left: {tmp_path / 'left'}" in found


def test_finds_a_thread():
    before = leaks.Snapshot()
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        found = before.leaks(patience=0)
    finally:
        stop.set()
        thread.join()
    assert any(line.startswith("threads left") for line in found)


def test_finds_shared_memory():
    if not leaks.SHM.is_dir():
        pytest.skip("this machine has no /dev/shm")
    before = leaks.Snapshot()
    path = leaks.SHM / f"erg-leak-test-{os.getpid()}"
    path.touch()
    try:
        found = before.leaks(patience=0)
    finally:
        path.unlink()
    assert f"shared memory left: {path}" in found


def test_temporary_files_go_to_the_private_folder():
    assert pathlib.Path(tempfile.gettempdir()).name.startswith("ergt-")


def test_references_that_grow_are_found():
    kept = []
    with pytest.raises(AssertionError, match="leaks"):
        refleaks.check(lambda: kept.append(object()))


def test_references_that_do_not_grow_are_not():
    refleaks.check(lambda: [object() for _ in range(100)])
