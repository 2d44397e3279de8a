"""Ctrl-C in a terminal: the map ends at once with one traceback, the pool goes on."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import textwrap
import time

import pytest

CALLS = {
    "map": "pool.map(step, range(100000))",
    "pipe": "pool.pipe(time.sleep, 600)",
    "imap": "list(pool.imap(step, iter(int, 1)))",
    "amap": "pool.amap(step, range(100000)).result()",
    "submit": "pool.submit(time.sleep, 600).result()",
}


class Terminal:
    """A program in a terminal of its own."""

    def __init__(self, path, text):
        path.write_text(textwrap.dedent(text))
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execv(sys.executable, [sys.executable, str(path)])
        self.text = ""

    def read_until(self, pattern, seconds=60):
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            left = deadline - time.monotonic()
            assert left > 0, f"never saw {pattern!r} in:\n{self.text}"
            if select.select([self.master], [], [], left)[0]:
                try:
                    data = os.read(self.master, 4096)
                except OSError:  # the other side is closed
                    data = b""
                assert data or re.search(pattern, self.text), f"ended without {pattern!r}:\n{self.text}"
                self.text += data.decode(errors="replace")

    def press(self, key):
        os.write(self.master, key)

    def end(self):
        self.read_until(r"\Z", 0.1)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.pid = 0
        return status

    def close(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.master)


@pytest.fixture
def terminal(tmp_path):
    opened = []

    def run(text):
        opened.append(Terminal(tmp_path / "program.py", text))
        return opened[-1]

    yield run
    for one in opened:
        one.close()


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
def test_caught_and_used_again(terminal, call):
    program = terminal(f"""
        import ergon, time
        def step(x):
            time.sleep(0.01)
            return x
        pool = ergon.ProcessPool(2)
        pool.map(step, range(4))
        for _ in range(2):
            print("running", flush=True)
            try:
                {CALLS[call]}
            except KeyboardInterrupt:
                print("interrupted", flush=True)
            else:
                print("not interrupted", flush=True)
            time.sleep(0.2)
            pool.terminate(); pool.join(); pool.restart()
            print("again", pool.map(abs, [-1, -2]), flush=True)
    """)
    for number in (1, 2):
        program.read_until(rf"(running[\s\S]*){{{number}}}")
        time.sleep(0.2)
        program.press(b"\x03")
        program.read_until(rf"(again \[1, 2\][\s\S]*){{{number}}}")
    assert program.text.count("interrupted") == 2 and "not interrupted" not in program.text
    assert "Traceback" not in program.text, program.text
    assert program.end() == 0


def test_pool_is_usable_without_restart(terminal):
    program = terminal("""
        import ergon, time
        def step(x):
            time.sleep(0.01)
            return x
        pool = ergon.ProcessPool(2)
        pool.map(step, range(4))
        print("running", flush=True)
        try:
            pool.map(step, range(100000))
        except KeyboardInterrupt:
            pass
        print("again", pool.map(abs, [-1, -2]), flush=True)
    """)
    program.read_until("running")
    time.sleep(0.3)
    program.press(b"\x03")
    program.read_until(r"again \[1, 2\]")
    assert program.end() == 0
    assert "Traceback" not in program.text


def test_one_traceback(terminal):
    program = terminal("""
        import ergon, time
        with ergon.ProcessPool(2) as pool:
            pool.map(abs, range(4))
            print("running", flush=True)
            pool.map(time.sleep, [600] * 8)
    """)
    program.read_until("running")
    time.sleep(0.2)
    program.press(b"\x03")
    program.read_until("KeyboardInterrupt")
    status = program.end()
    assert status in (-signal.SIGINT, 1, 130)
    assert program.text.count("Traceback") == 1, program.text


def test_while_workers_start(terminal):
    program = terminal("""
        import ergon, time
        print("running", flush=True)
        try:
            while True:
                with ergon.ProcessPool(2) as pool:
                    pool.pipe(abs, -1)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        with ergon.ProcessPool(2) as pool:
            print("again", pool.map(abs, [-1]), flush=True)
    """)
    program.read_until("running")
    time.sleep(0.3)
    program.press(b"\x03")
    program.read_until(r"again \[1\]")
    assert program.end() == 0
    assert "Traceback" not in program.text, program.text


def test_suspend_and_resume(terminal):
    """Ctrl-Z stops the program; its workers are in other groups, and everything goes on after SIGCONT."""
    program = terminal("""
        import ergon, time
        def step(x):
            time.sleep(0.01)
            return x
        pool = ergon.ProcessPool(2)
        print("running", flush=True)
        assert pool.map(step, range(200), chunksize=1) == list(range(200))
        print("done", flush=True)
    """)
    program.read_until("running")
    time.sleep(0.2)
    os.kill(program.pid, signal.SIGTSTP)
    time.sleep(0.5)
    os.kill(program.pid, signal.SIGCONT)
    program.read_until("done")
    assert program.end() == 0


def test_interrupt_of_a_program_without_terminal(tmp_path):
    """SIGINT by kill, as an IDE or a notebook sends it."""
    path = tmp_path / "program.py"
    path.write_text(
        "import ergon, time\npool = ergon.ProcessPool(2)\npool.map(abs, range(4))\nprint('running', flush=True)\n"
        "try:\n    pool.map(time.sleep, [600] * 4)\nexcept KeyboardInterrupt:\n    print(pool.map(abs, [-1]))\n"
    )
    process = subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "running\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "[1]\n", "")
