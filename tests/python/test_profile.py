"""ergon.profile: profiles of functions in threads and processes."""

from __future__ import annotations

import os
import pathlib
import pstats
import subprocess
import sys
import threading

import ergon
import pytest
from ergon import profile as pr


def busy(n: int) -> int:
    return sum(inner(i) for i in range(n))


def inner(i: int) -> int:
    return i * i


def fails() -> None:
    inner(1)
    raise KeyError("x")


@pytest.fixture(autouse=True)
def _off():
    yield
    pr.disable_profiling()


def functions(path: pathlib.Path) -> set[str]:
    return {name for _, _, name in pstats.Stats(str(path)).stats}


def called() -> set[str]:
    return {getattr(entry.code, "co_name", entry.code) for entry in pr.get_stats()}


def test_off_by_default(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert pr.profiled()(busy)(10) == 285
    assert os.listdir(tmp_path) == [] and pr.get_stats() is None and pr.profiler is None
    for nothing in (pr.clear_stats, pr.print_stats, pr.dump_stats, pr.stop_profiling, pr.disable_profiling):
        nothing()


def test_a_file_a_process(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    pr.enable_profiling()
    work = pr.profiled(gen=pr.process_id)(busy)
    assert list(map(work, [5, 5])) == [30, 30]
    assert os.listdir(tmp_path) == [f"id-{os.getpid()}.prof"]
    assert {"busy", "inner"} <= functions(tmp_path / f"id-{os.getpid()}.prof")
    assert "busy" in called()
    pr.clear_stats()
    assert called() == set()
    pr.dump_stats(gen=pr.thread_id, prefix="t-", suffix=".x")
    assert f"t-{threading.get_ident()}.x" in os.listdir(tmp_path)


def test_in_workers(tmp_path) -> None:
    work = pr.profiled(prefix=f"{tmp_path}/id-")(busy)
    with ergon.ProcessPool(1) as pool:
        pool.pipe(pr.enable_profiling)
        pid = pool.pipe(os.getpid)
        assert pool.map(work, [3, 4]) == [5, 14]
        pool.pipe(pr.disable_profiling)
        assert pool.pipe(pr.get_stats) is None
    assert pid != os.getpid() and os.listdir(tmp_path) == [f"id-{pid}.prof"]
    assert "inner" in functions(tmp_path / f"id-{pid}.prof")


def test_threads_are_apart(tmp_path) -> None:
    pr.enable_profiling()
    work = pr.profiled(gen=pr.thread_id, prefix=f"{tmp_path}/")(busy)
    work(3)
    thread = threading.Thread(target=work, args=(4,))
    thread.start()
    thread.join()
    assert len(os.listdir(tmp_path)) == 2


def test_printed(capsys) -> None:
    pr.enable_profiling()
    pr.profiled("cumulative")(busy)(5)
    assert "Ordered by: cumulative time" in capsys.readouterr().out
    pr.profiled(True)(busy)(5)
    assert "(busy)" in capsys.readouterr().out
    pr.print_stats(sort="calls")
    assert "Ordered by: call count" in capsys.readouterr().out


def test_exceptions_pass_and_stop_the_profiler(tmp_path) -> None:
    pr.enable_profiling()
    with pytest.raises(KeyError):
        pr.profiled(prefix=f"{tmp_path}/")(fails)()
    assert "inner" in called()
    pr.clear_stats()
    busy(3)
    assert called() == set()


def test_profiled_in_profiled_measures_all_of_the_outer(tmp_path) -> None:
    step = pr.profiled(prefix=f"{tmp_path}/in-")(inner)

    def outer() -> int:
        step(1)
        return len(str(busy(3)))

    pr.enable_profiling()
    pr.profiled(prefix=f"{tmp_path}/out-")(outer)()
    assert [name[:4] for name in os.listdir(tmp_path)] == ["out-"]
    assert {"outer", "busy"} <= called()


def test_start_and_stop() -> None:
    pr.start_profiling()
    busy(3)
    pr.stop_profiling()
    assert "busy" in called() and "fails" not in called()
    with pytest.raises(KeyError):
        fails()
    assert "fails" not in called()
    pr.disable_profiling()
    assert pr.get_stats() is None


def test_not_profiled_and_methods(tmp_path) -> None:
    class Thing:
        @pr.profiled(prefix=f"{tmp_path}/")
        def double(self, x: int) -> int:
            "twice"
            return 2 * x

    pr.enable_profiling()
    assert Thing.double.__doc__ == "twice"
    assert pr.not_profiled(Thing.double)(Thing(), 4) == 8
    assert os.listdir(tmp_path) == []
    assert Thing().double(x=4) == 8
    assert len(os.listdir(tmp_path)) == 1
    assert pr.not_profiled(busy)(3) == 5


IN_A_WORKER = """
import ergon
from ergon import profile as pr

def busy(n):
    return sum(i * i for i in range(n))

with ergon.ProcessPool(1) as pool:
    print(pr.profile("cumulative", pipe=pool.pipe)(busy, 4), pool.pipe(pr.get_stats))
"""


def test_one_call(capsys) -> None:
    assert pr.profile()(busy, 4) == 14
    assert "(busy)" in capsys.readouterr().out
    done = subprocess.run([sys.executable, "-c", IN_A_WORKER], capture_output=True, text=True, timeout=60, check=True)
    assert "Ordered by: cumulative time" in done.stdout and "(busy)" in done.stdout and "14 None" in done.stdout
    with ergon.ProcessPool(2) as pool, pytest.raises(ValueError, match="one worker"):
        pr.profile(pipe=pool.pipe)
    pr.enable_profiling()
    with pytest.raises(KeyError):
        pr.profile()(fails)
    assert pr.get_stats() is not None
