"""The program itself is killed or stopped: nothing of it may remain."""

import os
import signal
import time

import leaks
import pytest

pytestmark = pytest.mark.slow

STATES = {
    "idle": "pool = ergon.ProcessPool(2); pool.map(abs, range(100))",
    "busy": "pool = ergon.ProcessPool(2); f = [pool.apipe(time.sleep, 600) for _ in range(8)]; time.sleep(0.2)",
    "looping": (
        "pool = ergon.ProcessPool(2)\n"
        "def loop():\n    while True: pass\n"
        "f = [pool.apipe(loop) for _ in range(2)]; time.sleep(0.2)"
    ),
    "stubborn": (
        "pool = ergon.ProcessPool(2)\n"
        "def stay():\n"
        "    for n in (1, 2, 3, 15): signal.signal(n, signal.SIG_IGN)\n"
        "    while True:\n"
        "        try: time.sleep(1)\n"
        "        except BaseException: pass\n"
        "f = pool.apipe(stay); time.sleep(0.3)"
    ),
    "starting": "pool = ergon.ProcessPool(2)",
    "several pools": "a = ergon.ProcessPool(1); b = ergon.ProcessPool(2); c = ergon.ThreadPool(2); a.map(abs, [1]); b.map(abs, [1])",
    "nested": (
        "pool = ergon.ProcessPool(1)\n"
        "def inside():\n"
        "    inner = ergon.ProcessPool(2)\n"
        "    return inner.map(time.sleep, [600, 600])\n"
        "f = pool.apipe(inside); time.sleep(1)"
    ),
    "a task's own children": (
        "pool = ergon.ProcessPool(1)\n"
        "def inside():\n"
        "    import subprocess\n"
        "    subprocess.run(['sleep', '600'])\n"
        "f = pool.apipe(inside); time.sleep(0.5)"
    ),
    "large data": "pool = ergon.ProcessPool(2); h = pool.put(bytes(50_000_000)); r = pool.map(bytearray, [20_000_000] * 4); pool.pipe(len, h)",
    "an iterator": "pool = ergon.ProcessPool(2); it = pool.imap(abs, iter(int, 1)); next(it)",
    "a dead zygote": "pool = ergon.ProcessPool(2); os.kill(pool.pipe(os.getppid), 9); time.sleep(0.1); f = pool.apipe(time.sleep, 600)",
    "a stopped worker": "pool = ergon.ProcessPool(2); os.kill(pool.pipe(os.getpid), signal.SIGSTOP)",
}
WAIT = "\nprint('ready')\nsys.stdin.readline()\n"


def files_of(pids):
    found = set()
    for pid in pids:
        try:
            for line in open(f"/proc/{pid}/maps"):
                if "/dev/shm/" in line:
                    found.add(line.split()[-1])
        except OSError:
            pass
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("state", STATES)
def test_killed(start, state, number):
    program = start(STATES[state] + WAIT)
    program.line()
    family = program.family()
    shared = files_of(family)
    assert family or state == "starting"
    program.kill(number)
    program.process.wait(60)
    left = leaks.wait_gone(family)
    assert not left, [p.describe() for p in left]
    assert not [path for path in shared if os.path.exists(path)]


@pytest.mark.parametrize("delay", [0, 0.005, 0.01, 0.02, 0.04, 0.08])
def test_killed_at_any_moment_of_its_start(start, delay):
    """The leak check of this module finds what remains."""
    program = start("print('now')\npool = ergon.ProcessPool(2)\npool.map(abs, range(1000))\n" + WAIT)
    program.line()
    time.sleep(delay)
    family = program.family()
    program.kill()
    program.process.wait(60)
    assert not leaks.wait_gone(family)


@pytest.mark.parametrize("delay", [0.05, 0.1, 0.3])
def test_killed_under_load(start, delay):
    program = start(
        "pool = ergon.ProcessPool(2)\nprint('now')\n"
        "while True: pool.map(bytes, range(0, 300_000, 1000)); [pool.apipe(abs, i) for i in range(100)]\n"
    )
    program.line()
    time.sleep(delay)
    family = program.family()
    program.kill()
    program.process.wait(60)
    assert not leaks.wait_gone(family)


def test_whole_session_is_killed_from_outside(start):
    """As `timeout` and job schedulers do it: SIGTERM to the program's process group."""
    program = start(STATES["busy"] + WAIT, start_new_session=True)
    program.line()
    family = program.family()
    os.killpg(program.pid, signal.SIGTERM)
    program.process.wait(60)
    assert not leaks.wait_gone(family)


def test_hangup_of_the_terminal(start):
    program = start(STATES["busy"] + WAIT, start_new_session=True)
    program.line()
    family = program.family()
    program.kill(signal.SIGHUP)
    program.process.wait(60)
    assert not leaks.wait_gone(family)


def test_stopped_program_goes_on(start):
    """Ctrl-Z and fg: nobody was judged dead meanwhile."""
    program = start("""
        pool = ergon.ProcessPool(2)
        def step(i):
            time.sleep(0.01)
            return i
        pool.map(step, range(4))
        print("ready")
        assert pool.map(step, range(300), chunksize=1) == list(range(300))
        print("done")
    """)
    program.line()
    for _ in range(3):
        time.sleep(0.1)
        program.kill(signal.SIGSTOP)
        time.sleep(0.7)
        program.kill(signal.SIGCONT)
    assert program.line() == "done"
    status, _, err = program.end()
    assert status == 0 and err == ""


def test_stopped_program_is_killed(start):
    program = start(STATES["busy"] + WAIT)
    program.line()
    family = program.family()
    program.kill(signal.SIGSTOP)
    time.sleep(0.2)
    program.kill(signal.SIGKILL)
    program.process.wait(60)
    assert not leaks.wait_gone(family)


def test_workers_see_each_other_not(start):
    """A worker that is killed leaves nothing either: no zombie, no descriptor in the program."""
    program = start("""
        pool = ergon.ProcessPool(2)
        def settle():
            pool.map(abs, range(10))
            time.sleep(0.3)
            return len(os.listdir("/proc/self/fd"))
        before = settle()
        for _ in range(10):
            try:
                pool.pipe(os._exit, 1)
            except ergon.errors.WorkerLost:
                pass
        after = settle()
        print(after - before)
        sys.stdin.readline()
    """)
    assert int(program.line()) <= 1
    zombies = [p for p in leaks.descendants(program.pid) if p.state == "Z"]
    assert not zombies, [p.describe() for p in zombies]
    program.say()
    status, _, err = program.end()
    assert status == 0, err
