"""Limits of the machine and of the program: descriptors, memory, processes, file sizes, cgroups."""

import os
import pathlib
import signal
import time

import pytest

pytestmark = pytest.mark.slow

# Each program ends by itself, with the answer or with one of Ergon's errors; never by a signal, never by hanging.
TRY = """
import resource
def attempt(work):
    try:
        return work()
    except (ergon.errors.ErgonError, OSError, MemoryError) as error:
        assert str(error) or isinstance(error, MemoryError)
        return type(error).__name__
"""


def run(start, text, **options):
    program = start(TRY + text, **options)
    status, out, err = program.end()
    assert status == 0, (status, out, err)
    return out.splitlines()


@pytest.mark.parametrize("spare", [0, 1, 2, 3, 4, 6, 8, 12, 16])
def test_few_descriptors_at_the_start(start, spare):
    lines = run(
        start,
        f"""
used = len(os.listdir("/proc/self/fd"))
resource.setrlimit(resource.RLIMIT_NOFILE, (used + {spare}, 4096))
def work():
    with ergon.ProcessPool(2) as pool:
        return pool.map(abs, [-1, -2])
print(attempt(work))
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
print(work())
""",
    )
    assert lines[-1] == "[1, 2]", "with descriptors again there is no reason to fail"


def test_descriptors_run_out_while_a_pool_is_open(start):
    lines = run(
        start,
        """
pool = ergon.ProcessPool(2)
pool.map(abs, range(10))
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096))
hoard = []
try:
    while True:
        hoard.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
print(pool.map(abs, [-1, -2]))
error = attempt(lambda: pool.pipe(os._exit, 1))
print(error)
for fd in hoard:
    os.close(fd)
print(pool.map(abs, [-3, -4]))
""",
    )
    assert lines[0] == "[1, 2]" and lines[1] == "WorkerLost" and lines[2] == "[3, 4]"


def test_many_pools_do_not_run_out_of_descriptors(start):
    lines = run(
        start,
        """
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 4096))
for i in range(60):
    with ergon.ProcessPool(1) as pool:
        assert pool.pipe(abs, -i) == i
print("well")
""",
    )
    assert lines == ["well"]


@pytest.mark.parametrize("extra", [64, 256, 1024, 4096])
def test_little_address_space(start, extra):
    """RLIMIT_AS a little above what the interpreter has: smaller tables, or an error that says so."""
    lines = run(
        start,
        f"""
size = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (size + {extra} * (1 << 20), resource.RLIM_INFINITY))
def work():
    with ergon.ProcessPool(2) as pool:
        return pool.map(abs, [-1, -2])
print(attempt(work))
""",
    )
    assert lines[0] in ("[1, 2]", "LaunchError", "MemoryError", "OSError", "ErgonError")
    if extra >= 1024:
        assert lines[0] == "[1, 2]"


def test_little_address_space_in_workers(start):
    """A task that wants more memory than there is gets a MemoryError, and only that task."""
    lines = run(
        start,
        """
import resource
def limit():
    size = int(open("/proc/self/statm").read().split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (size + (64 << 20), resource.RLIM_INFINITY))
with ergon.ProcessPool(2, initializer=limit) as pool:
    print(attempt(lambda: pool.pipe(len, pool.pipe(bytearray, 1 << 30))))
    print(pool.map(abs, [-1, -2]))
""",
    )
    assert lines[0] in ("MemoryError", "WorkerLost") and lines[1] == "[1, 2]"


def test_no_process_can_be_started(start):
    """RLIMIT_NPROC, which does not hold for root: as another user. No pool comes up, and the error says why."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    lines = run(
        start,
        """
with ergon.ProcessPool(1) as pool:
    pool.pipe(abs, 1)
ergon.shutdown()
os.setgroups([]); os.setgid(65534); os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
def work():
    with ergon.ProcessPool(2) as pool:
        return pool.map(abs, [-1, -2])
print(attempt(work))
""",
    )
    assert lines == ["ErgonError"]


@pytest.mark.parametrize(("limit", "result"), [(1 << 20, "ErgonError"), (160 << 20, "[1, 2]"), (1 << 30, "[1, 2]")])
def test_files_may_not_be_large(start, limit, result):
    """RLIMIT_FSIZE counts for shared memory as well: a table that fits, or an error where the least is too much."""
    lines = run(
        start,
        f"""
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
def work():
    with ergon.ProcessPool(1) as pool:
        return pool.map(abs, [-1, -2])
print(attempt(work))
""",
    )
    assert lines == [result]


def test_argument_larger_than_memory_can_be(start):
    """The arena is finite: an error, and the pool goes on."""
    lines = run(
        start,
        """
with ergon.ProcessPool(1) as pool:
    print(attempt(lambda: pool.pipe(bytearray, 1 << 62)))
    print(pool.map(abs, [-1]))
""",
    )
    assert lines[0] in ("MemoryError", "OverflowError", "ErgonError") and lines[1] == "[1]"


GROUPS = pathlib.Path("/sys/fs/cgroup")


@pytest.fixture
def memory_group():
    """A control group whose processes may use 300 MB together, of version 1 or 2: the file that takes pids."""
    name, limit = f"ergon-test-{os.getpid()}", str(300 << 20)
    second = (GROUPS / "cgroup.controllers").exists()
    folder = GROUPS / name if second else GROUPS / "memory" / name
    try:
        folder.mkdir()
        (folder / ("memory.max" if second else "memory.limit_in_bytes")).write_text(limit)
    except OSError as error:
        if folder.exists():
            folder.rmdir()
        pytest.skip(f"cannot make a control group with a limit of memory here: {error}")
    for swap in ("memory.swap.max", "memory.memsw.limit_in_bytes"):  # where there is swap, it may not be used
        if (folder / swap).exists():
            (folder / swap).write_text("0" if second else limit)
    yield folder / "cgroup.procs"
    for pid in (folder / "cgroup.procs").read_text().split():
        os.kill(int(pid), signal.SIGKILL)
    for _ in range(200):
        try:
            folder.rmdir()
            break
        except OSError:
            time.sleep(0.02)


def test_worker_killed_for_memory(start, memory_group):
    """The out-of-memory killer takes the worker, not the program: WorkerLost for the greedy task alone."""
    lines = run(
        start,
        f"""
open("{memory_group}", "w").write(str(os.getpid()))
def greedy(n):
    block = bytearray(n)
    block[::4096] = b"x" * len(block[::4096])
    return len(block)
with ergon.ProcessPool(2) as pool:
    futures = [pool.apipe(abs, -i) for i in range(100)]
    print(attempt(lambda: pool.pipe(greedy, 1 << 30)))
    assert [f.result(60) for f in futures] == list(range(100))
    print(pool.map(abs, [-1, -2]))
""",
    )
    assert lines == ["WorkerLost", "[1, 2]"]
