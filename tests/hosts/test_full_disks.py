"""Disks that are full: what was to lie there is named, with the host, the folder and the bytes; the rest goes on."""

import errno
import os
import re
import subprocess
import sys

import ergon
import pytest
from test_places import AGENT, HERE, host

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bare_hosts(make_hosts):
    return make_hosts(2, with_ergon=False)


def small(machine, size):
    """A file system of that size on the host, which all its users may write to. (Sentences have an end: a short name.)"""
    machine.exec("mount", "-t", "tmpfs", "-o", f"size={size},mode=1777", "none", "/mnt")
    return "/mnt"


def where(_=None):
    return os.uname().nodename


def size_of(name):
    return where(), os.path.getsize(name)


def test_where_ergon_should_be_installed(bare_hosts):
    folder = small(bare_hosts["h1"], "200k")
    with ergon.Pool(f"ssh://h1?slots=1&tmp_dir={folder}", "ssh://h2?slots=1", "local:1") as pool:
        assert pool._wait_up(2, 60)
        assert set(pool.map(where, range(50), chunksize=1)) <= {"h2", os.uname().nodename}
        found = host(pool)
        assert found["state"] == "failed" and "ssh://h1" in found["name"]
        said = re.search(
            rf"{folder}/ergon-\d+: No space left on device \(([\d,]+) bytes are needed and ([\d,]+) are free\)",
            found["words"],
        )
        assert said, found["words"]
        needed, free = (int(word.replace(",", "")) for word in said.groups())
        assert needed > 1 << 20 and free <= 200 << 10
        assert "tmp_dir" in found["words"]  # what to do about it
    assert not bare_hosts["h1"].exec("find", folder, "-type", "f")  # what was begun is removed


def test_where_files_should_go(hosts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = small(hosts["h1"], "2m")
    (tmp_path / "large").write_bytes(os.urandom(6 << 20))
    (tmp_path / "little").write_bytes(b"x" * 1000)
    with ergon.Pool(f"ssh://h1?slots=1&tmp_dir={folder}", "ssh://h2?slots=1") as pool:
        assert pool._wait_up(2, 60)
        with pytest.raises(OSError, match=r"large.* on (ssh://)?h1.*No space left on device") as caught:
            pool.options(resources={"host": "h1"}, stage_in=["large"]).pipe(size_of, "large")
        assert caught.value.errno == errno.ENOSPC
        words = str(caught.value)
        assert f"{6 << 20:,} bytes" in words and folder in words, words
        assert int(re.search(r"room for ([\d,]+)", words).group(1).replace(",", "")) <= 2 << 20
        # the same host goes on, and the other one has room
        small_one = pool.options(resources={"host": "h1"}, stage_in=["little"])
        assert small_one.pipe(size_of, "little") == ("h1", 1000)
        assert pool.options(resources={"host": "h2"}, stage_in=["large"]).pipe(size_of, "large") == ("h2", 6 << 20)


FULL_HERE = """
import os, sys, ergon

def write(name, size):
    with open(name, "wb") as file:
        file.write(os.urandom(size))
    return size

with ergon.Pool(sys.argv[1]) as pool:
    staged = pool.options(stage_out=["result"])
    try:
        staged.pipe(write, "result", 3 << 20)
    except OSError as error:
        print(error.errno, error)
    print(os.listdir("."))
    print(staged.pipe(write, "result", 1000), os.path.getsize("result"))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system needs root")
def test_here(tmp_path):
    """A result that does not fit here leaves nothing; what does, comes."""
    folder = tmp_path / "small"
    folder.mkdir()
    inside = f'mount -t tmpfs -o size=1m none {folder} && cd {folder} && exec "$@"'
    done = subprocess.run(
        [
            "unshare",
            "-m",
            "sh",
            "-c",
            inside,
            "sh",
            sys.executable,
            "-c",
            FULL_HERE,
            f"exec:{AGENT}?slots=1&tmp_dir={tmp_path}",
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": HERE},
    )
    first, left, last = done.stdout.splitlines()
    assert first.startswith(f"{errno.ENOSPC} ") and "No space left on device" in first and "result" in first, done
    assert left == "[]" and last == "1000 1000"
