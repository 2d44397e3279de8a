"""Programs to be hurt, and what the fault tests share."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time

import ergon
import leaks
import pytest


class Program:
    """A Python program that runs beside the test and talks to it line by line."""

    def __init__(self, path, text, prefix=(), **options):
        self.before = leaks.Snapshot()
        path.write_text("import os, sys, time, signal\nimport ergon\n" + textwrap.dedent(text))
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-u", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=path.parent,
            **options,
        )
        self.pid = self.process.pid

    def line(self):
        """The next line it prints; an error with what it said if there is none."""
        line = self.process.stdout.readline()
        assert line, f"the program ended: {self.process.stderr.read()}"
        return line.strip()

    def say(self, text=""):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def family(self):
        """The pids of everything it started, directly or not, orphans too."""
        found = {p.pid for p in (*leaks.descendants(self.pid), *self.before.processes())}
        return sorted(found - {self.pid})

    def kill(self, number=signal.SIGKILL):
        os.kill(self.pid, number)

    def end(self, timeout=120):
        """Waits for its end: (exit status, standard output, standard error)."""
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, err

    def clean_up(self):
        family = self.family()
        with contextlib.suppress(OSError):
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.close()
        for pid in family:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def start(tmp_path):
    """start(text) -> Program."""
    programs = []

    def run(text, **options):
        programs.append(Program(tmp_path / f"program{len(programs)}.py", text, **options))
        return programs[-1]

    yield run
    for program in programs:
        program.clean_up()


@pytest.fixture
def pool(request):
    """Two worker processes."""
    opened = ergon.ProcessPool(2)
    yield opened
    opened.terminate()
    opened.join()
    request.node.funcargs.clear()  # else pytest keeps the pool beyond the leak check of the module


def identity(_):
    time.sleep(0.02)
    return os.getpid(), os.getppid()


@pytest.fixture
def workers():
    """workers(pool) -> the pids of all its worker processes."""

    def ask(pool):
        found = set()
        for _ in range(200):
            found |= {pid for pid, _ in pool.map(identity, range(2 * pool.nodes), chunksize=1)}
            if len(found) >= pool.nodes:
                break
        return sorted(found)

    return ask


@pytest.fixture
def zygote():
    """zygote(pool) -> the pid of the process its workers were forked from."""
    return lambda pool: pool.pipe(os.getppid)


@pytest.fixture
def until():
    """until(condition): waits for it, for a generous time."""

    def wait(condition, seconds=60):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.01)

    return wait
