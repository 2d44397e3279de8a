"""Pools on other hosts: what a link costs, how busy workers behind a long one are, and what many hosts cost.

An OpenSSH server and all agents run on this machine, hosts behind long links in network namespaces of it (as root), so
that overhead and not hardware is measured. With ERGON_BENCH_HOST=NAME the rows about one link measure that host
instead, as ssh knows it.
"""

import os
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import contextlib
import ctypes
import pathlib
import shlex
import subprocess
import tempfile
import time

from bench import harness, tasks

KIT = [os.path.join(harness.ROOT, "tests", "hosts"), os.path.join(harness.ROOT, "tests")]
AGENT = (
    f"env PYTHONPATH={shlex.quote(os.path.join(harness.ROOT, 'python'))} {shlex.quote(sys.executable)} -m ergon._agent"
)
SIZE = 200 << 20
HOST = os.environ.get("ERGON_BENCH_HOST", "")


# --- hosts -----------------------------------------------------------------------------------------------------


def adopt() -> None:
    """Daemons become our children: the harness counts what they use as ours."""
    PR_SET_CHILD_SUBREAPER = 36
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kit(name: str):
    """The tests' own servers and hosts."""
    sys.path[1:1] = [folder for folder in KIT if folder not in sys.path]
    module = __import__(name)
    why = module.missing()
    if why:
        raise harness.NotMeasured(why)
    return module


@contextlib.contextmanager
def node():
    """The name of a host behind ssh."""
    adopt()
    if HOST:
        yield HOST
        return
    module = kit("sshd")
    with tempfile.TemporaryDirectory(prefix="ergon-bench-") as folder:
        server = module.Sshd(pathlib.Path(folder))
        server.start()
        os.environ["ERGON_SSH_CONFIG"] = str(server.config)
        try:
            yield "node"
        finally:
            server.stop()


@contextlib.contextmanager
def far(n: int, delay_us: int, rate_kbit: int = 0):
    """n hosts behind links of their own, with that delay each way; their names."""
    adopt()
    module = kit("netns")
    with tempfile.TemporaryDirectory(prefix="ergon-bench-") as folder:
        hosts = module.Hosts(pathlib.Path(folder), n, shaped=True)
        os.environ["ERGON_SSH_CONFIG"] = str(hosts.config)
        try:
            for host in hosts:
                host.shape(delay_us=delay_us, rate_kbit=rate_kbit)
            yield [host.name for host in hosts]
        finally:
            hosts.stop()


def ssh(host: str, command: str) -> list[str]:
    config = os.environ.get("ERGON_SSH_CONFIG")
    return ["ssh", *(["-F", config] if config else []), host, command]


def opened(*places: str):
    import ergon

    return ergon.Pool(*places, require="all")


def timed(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


# --- contenders ------------------------------------------------------------------------------------------------


def behind_ssh(work, units: int, slots: int = 2):
    """work(pool), by workers behind one ssh link."""

    @contextlib.contextmanager
    def enter():
        with node() as host, opened(f"ssh://{host}?slots={slots}") as pool:
            pool.map(tasks.noop, range(2000))
            yield lambda: timed(lambda: work(pool)) / units

    return enter


def singly(pool, task, n: int) -> None:
    for future in [pool.apipe(task, i) for i in range(n)]:
        future.result()


# ppft writes a message's length and its bytes one after the other, and waits 40 ms for the acknowledgement of the first at
# times: TCP's own delay, on both sides. It is measured without that, as a network without delays would have it.
AT_ONCE = """
import socket, sys
from ppft.transport import SocketTransport
begin = SocketTransport.__init__
def at_once(self, *args):
    begin(self, *args)
    self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
SocketTransport.__init__ = at_once
"""


@contextlib.contextmanager
def ppft():
    """ppft's own server on loopback with two workers, as its client reaches it."""
    exec(AT_ONCE, {})  # noqa: S102
    import ppft

    sys.path[1:1] = KIT
    import sshd

    n, port = 2000, sshd.free_port("127.0.0.1")
    words = ["-i", "127.0.0.1", "-p", str(port), "-w", "2", "-s", "bench"]
    serve = AT_ONCE + "import runpy; runpy.run_module('ppft.server', run_name='__main__')"
    with subprocess.Popen([sys.executable, "-c", serve, *words], start_new_session=True) as server:
        try:
            while not sshd.answers("127.0.0.1", port):
                time.sleep(0.05)
            client = ppft.Server(ncpus=0, ppservers=(f"127.0.0.1:{port}",), secret="bench")
            while sum(client.get_active_nodes().values()) < 2:
                time.sleep(0.05)

            def run():
                for job in [client.submit(tasks.noop, (i,)) for i in range(n)]:
                    job()

            yield lambda: timed(run) / n
            client.destroy()
        finally:
            server.terminate()


@contextlib.contextmanager
def echo():
    """What a message of the size of a small call takes to `cat` and back."""
    n, message = 500, bytes(100)
    with (
        node() as host,
        subprocess.Popen(ssh(host, "cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as cat,
    ):
        to, back = cat.stdin.fileno(), cat.stdout.fileno()

        def run():
            for _ in range(n):
                os.write(to, message)
                os.read(back, 200)

        yield lambda: timed(run) / n
        cat.stdin.close()


def through_cat(command: str, there: bool):
    """200 MB through the same ssh, there or back; the time ssh takes to connect is not counted."""

    @contextlib.contextmanager
    def enter():
        data = memoryview(tasks.noise(SIZE))
        into = bytearray(1 << 20)

        def run():
            with subprocess.Popen(
                ssh(host, f"echo; read go; {command}"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
            ) as cat:
                cat.stdout.read(1)
                start = time.perf_counter()
                cat.stdin.write(b"\n")
                for at in range(0, SIZE if there else 0, 1 << 20):
                    cat.stdin.write(data[at : at + (1 << 20)])
                cat.stdin.close()
                while cat.stdout.readinto(into):
                    pass
                cat.wait()
                return time.perf_counter() - start

        with node() as host:
            yield run

    return enter


def fetched(pool) -> None:
    pool.pipe(tasks.noise, SIZE)


def passed_on(directly: bool):
    """Work by a pool of two hosts, on links of 50 MB/s: what one has made is needed by the other."""
    size = 64 << 20

    def run(pool, names) -> float:
        made = pool.options(resources={"host": names[0]}).submit(tasks.noise, size)
        while not made.done():
            time.sleep(0.001)
        start = time.perf_counter()
        if pool.options(resources={"host": names[1]}).submit(len, made).result() != size:
            raise AssertionError("something was lost on the way")
        return time.perf_counter() - start

    @contextlib.contextmanager
    def enter():
        ports = "&data_ports=21000-21010" if directly else ""
        with far(2, 0, 400_000) as names, opened(*[f"ssh://{name}?slots=1{ports}" for name in names]) as pool:
            yield lambda: run(pool, names)

    return enter


def connected(n: int):
    """A pool of n hosts whose links take 100 ms there and back, until all of them are there."""

    @contextlib.contextmanager
    def enter():
        with far(n, 50_000) as names:

            def run():
                start = time.perf_counter()
                with opened(*[f"ssh://{name}?slots=1" for name in names]):
                    return time.perf_counter() - start

            yield run

    return enter


def many(n: int):
    """The client's processor time for a task, with n agents."""

    @contextlib.contextmanager
    def enter():
        adopt()
        calls = 200_000
        with opened(*[f"exec:{AGENT}?slots=1&tags=h{i}" for i in range(n)]) as pool:
            singly(pool, tasks.noop, 2000)

            def run():
                before = time.process_time()
                singly(pool, tasks.noop, calls)
                return (time.process_time() - before) / calls

            yield run

    return enter


def idle(work):
    """The share of their time 8 workers behind 20 ms and 50 Mbit/s have nothing to do, with tasks of 1 ms."""

    @contextlib.contextmanager
    def enter():
        with far(1, 10_000, 50_000) as names, opened(f"ssh://{names[0]}?slots=8") as pool:

            def run():
                before = pool.stats["hosts"][0]["busy_s"]
                took = timed(lambda: work(pool))
                return max(0.0, 1 - (pool.stats["hosts"][0]["busy_s"] - before) / took / 8)

            singly(pool, tasks.nap, 2000)
            yield run

    return enter


def decisions(word: int, scale: float):
    program = os.path.join(harness.ROOT, os.environ.get("BUILD", "build"), "bench", "bench_sched")

    @contextlib.contextmanager
    def enter():
        def run():
            if not os.path.exists(program):
                raise FileNotFoundError(f"{program} is not built: make dev")
            done = subprocess.run([program], stdout=subprocess.PIPE, text=True, check=True)
            return float(done.stdout.split()[word]) * scale

        yield run

    return enter


# --- questions -------------------------------------------------------------------------------------------------


def question(key, what, unit, contenders, target, **rest):
    peer = next((name for name in contenders if name != harness.OURS), "")
    rest = {"peer": peer, "reps": 5, **rest}
    return harness.Question(key=key, what=what, unit=unit, contenders=contenders, target=target, **rest)


PPFT = "ppft, server on loopback"
CAT = "cat, through ssh"
THROUGH = "through the program"

QUESTIONS = [
    question(
        "ssh_map",
        "one ssh link: `map` of 400,000 no-ops",
        "µs",
        {
            "ergon": behind_ssh(lambda pool: pool.map(tasks.noop, range(400_000)), 400_000),
            PPFT: ppft,
        },
        42,
        aim="5 µs",
        slow=(PPFT,),
    ),
    question(
        "ssh_single",
        "one ssh link: 20,000 no-ops singly, then all results",
        "µs",
        {"ergon": behind_ssh(lambda pool: singly(pool, tasks.noop, 20_000), 20_000), PPFT: ppft},
        10,
        aim="20 µs",
        slow=(PPFT,),
    ),
    question(
        "ssh_round_trip",
        "one ssh link: one call and its result",
        "µs",
        {
            "ergon": behind_ssh(lambda pool: [pool.pipe(tasks.noop, 1) for _ in range(500)], 500),
            CAT: echo,
        },
        0,
        margin=80e-6,
    ),
    question(
        "ssh_array_there",
        "one ssh link: an array of 200 MB there",
        "ms",
        {
            "ergon": behind_ssh(lambda pool: pool.pipe(len, tasks.noise(SIZE)), 1),
            CAT: through_cat("cat >/dev/null", there=True),
        },
        0.9,
    ),
    question(
        "ssh_array_back",
        "one ssh link: an array of 200 MB back",
        "ms",
        {
            "ergon": behind_ssh(fetched, 1, slots=1),
            CAT: through_cat(f"head -c {SIZE} /dev/zero", there=False),
        },
        0.9,
    ),
    question(
        "ssh_connect",
        "16 hosts, links of 100 ms: until all are there",
        "ms",
        {"ergon": connected(16), "one host": connected(1)},
        0.5,
        reps=3,
        aim="less than twice",
    ),
    question(
        "agents_cpu",
        "64 agents: the client's processor time for a task",
        "µs",
        {"ergon": many(64), "1 agent": many(1), "4 agents": many(4), "16 agents": many(16)},
        0.87,
        aim="does not grow",
    ),
    question(
        "far_map",
        "link of 20 ms and 50 Mbit/s, 8 workers, `map` of sleeps of 1 ms: idle",
        "%",
        {"ergon": idle(lambda pool: pool.map(tasks.nap, range(16_000)))},
        0.05,
        reps=3,
    ),
    question(
        "far_single",
        "the same, singly",
        "%",
        {"ergon": idle(lambda pool: singly(pool, tasks.nap, 16_000))},
        0.05,
        reps=3,
    ),
    question(
        "between",
        "64 MB from one host to another, links of 50 MB/s, `data_ports`",
        "ms",
        {"ergon": passed_on(True), THROUGH: passed_on(False)},
        1.4,
        reps=3,
    ),
    question(
        "sched_time",
        "the scheduler alone, 10,000 workers, a million tasks: a task",
        "ns",
        {"ergon": decisions(0, 1e-9)},
        1e-6,
        reps=3,
    ),
    question("sched_memory", "the same: memory for a worker", "B", {"ergon": decisions(1, 1)}, 64, reps=1),
]

if __name__ == "__main__":
    harness.main(__file__, QUESTIONS, __doc__)
