"""The workers of a new pool have what a child of the program would have: rights, limits, where and how urgently it runs."""

import os
import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
    import ergon, os, resource, sys, time

    def look(_=None):
        return {
            "processors": sorted(os.sched_getaffinity(0)), "nice": os.nice(0), "policy": os.sched_getscheduler(0),
            "files": resource.getrlimit(resource.RLIMIT_NOFILE), "core": resource.getrlimit(resource.RLIMIT_CORE),
            "users": os.getresuid(), "groups": (os.getresgid(), sorted(os.getgroups())), "zone": time.tzname,
            "parent": os.getppid(), "umask": os.umask(0o077),
        }

    def change():
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        os.nice(3)
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (333, 4096))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.environ["TZ"] = "Asia/Tokyo"
        time.tzset()
        os.umask(0o027)
"""


@pytest.fixture
def run(tmp_path):
    def started(text):
        file = tmp_path / "program.py"
        file.write_text(textwrap.dedent(PROGRAM) + textwrap.dedent(text))
        done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return started


def test_new_pools_have_what_the_program_has(run):
    lines = run(
        """
        with ergon.ProcessPool(1) as old:
            first = old.pipe(look)
            change()
            with ergon.ProcessPool(1) as new:
                second = new.pipe(look)
            again = ergon.ProcessPool(1)
            third = again.pipe(look)
            assert old.pipe(look)["nice"] == first["nice"]
        again.close(); again.join(); again.restart()
        fourth = again.pipe(look)
        here = look()
        for got in (second, third, fourth):
            for what in here.keys() - {"parent"}:
                assert got[what] == here[what], (what, here[what], got[what])
        assert second["parent"] == third["parent"] == fourth["parent"] != first["parent"]
        for _ in range(500):  # nobody needs the first one any more
            try:
                with open(f"/proc/{first['parent']}/stat") as file:
                    if file.read().rpartition(")")[2].split()[0] == "Z":
                        break
            except OSError:
                break
            time.sleep(0.02)
        else:
            raise AssertionError("it is still there")
        again.close(); again.join()
        print("good")
        """
    )
    assert lines == ["good"]


def test_a_pool_that_is_restarted_has_what_the_program_has_then(run):
    lines = run(
        """
        pool = ergon.ProcessPool(1)
        before = pool.pipe(look)
        pool.close(); pool.join()
        change()
        pool.restart()
        after, here = pool.pipe(look), look()
        assert all(after[what] == here[what] for what in here.keys() - {"parent"})
        pool.close(); pool.join()
        print(before["nice"] != after["nice"])
        """
    )
    assert lines == ["True"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up its rights")
@pytest.mark.skipif(
    "LD_PRELOAD" in os.environ, reason="the loader preloads nothing, no sanitizer either, for who has changed users"
)
def test_rights_that_were_given_up_are_gone(run):
    lines = run(
        """
        with ergon.ProcessPool(1) as pool:
            print(pool.pipe(os.getuid))
        os.setgroups([5]); os.setgid(65533); os.setresuid(65534, 0, 0)  # this one may still read the interpreter
        with ergon.ProcessPool(1) as pool:
            print(pool.pipe(os.getresuid), pool.pipe(os.getresgid), pool.pipe(os.getgroups))
        """
    )
    assert lines == ["0", "(65534, 0, 0) (65533, 65533, 65533) [5]"]
