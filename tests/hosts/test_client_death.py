"""The program that owns a pool dies: its agents and their workers go within seconds, however they were reached, and
whatever state the link was in. Who sees to that is the keeper, a process that outlives the program."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import ergon
import leaks
import pytest
from test_places import alive, host, place, wait_until
from test_server import serve  # noqa: F401  (a fixture)
from trouble import nothing_left, victims

CLIENT = """
import ergon, os, sys, time
nap = float(sys.argv[2])
pool = ergon.Pool(sys.argv[1])
assert pool._wait_up(2, 60)
pids = set(pool.map(lambda i: (time.sleep(0.05), os.getpid())[1], range(8), chunksize=1))
work = [pool.apipe(time.sleep, nap) for _ in range(5000)]
print(pool.stats["hosts"][0]["pid"], *pids, flush=True)
time.sleep(1000)
"""

SHORT = 0.02  # results come all the time: what carries them breaks when the client is gone


@contextlib.contextmanager
def client_of(resource, nap=1000):
    """A program whose pool works there: its process, with `there`, the pids as they are over there."""
    with subprocess.Popen(
        [sys.executable, "-c", CLIENT, resource, str(nap)], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as client:
        try:
            client.there = [int(word) for word in client.stdout.readline().split()]
            assert len(client.there) >= 2
            yield client
        finally:
            client.send_signal(signal.SIGCONT)
            client.kill()


def keepers(pid):
    return [p for p in leaks.descendants(pid) if p.name == "ergon-keeper"]


def keeper_of(pid):
    wait_until(lambda: keepers(pid))
    (one,) = keepers(pid)
    return one.pid


def die(client, *others):
    """All at once, as a machine's out-of-memory killer or a job's end does it."""
    for pid in (client.pid, *others):
        os.kill(pid, signal.SIGKILL)
    client.wait()


def ssh_of(client):
    return [p.pid for p in leaks.descendants(client.pid) if p.name == "ssh"]


# --- the link is up -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("nap", [1000, SHORT], ids=["idle link", "results on their way"])
@pytest.mark.parametrize("who", ["client", "client and ssh"])
def test_ssh(hosts, who, nap):
    with client_of("ssh://h1?slots=2", nap) as client:
        keeper = keeper_of(client.pid)
        die(client, *(ssh_of(client) if who != "client" else ()))
        nothing_left(hosts["h1"], 10)
        wait_until(lambda: not alive(keeper))


@pytest.mark.slow
@pytest.mark.parametrize("nap", [1000, SHORT], ids=["idle link", "results on their way"])
def test_a_command(nap):
    with client_of('exec:sh -c "$ERGON_AGENT"?slots=2', nap) as client:
        assert all(alive(pid) for pid in client.there)
        keeper = keeper_of(client.pid)
        die(client)
        wait_until(lambda: not any(alive(pid) for pid in [keeper, *client.there]), 10)


@pytest.mark.slow
@pytest.mark.parametrize("nap", [1000, SHORT], ids=["idle link", "results on their way"])
def test_a_server(serve, tmp_path, nap):  # noqa: F811
    process, line = serve()
    with client_of(f"{line.strip()}?slots=2&key={tmp_path / '.config' / 'ergon' / 'key'}", nap) as client:
        workers = [pid for pid in client.there if pid != process.pid]
        assert workers and all(alive(pid) for pid in workers)
        keeper = keeper_of(client.pid)
        die(client)
        wait_until(lambda: not any(alive(pid) for pid in [keeper, *workers]), 10)
    assert process.poll() is None


# --- the link is not ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_link_was_cut_and_heals(hosts):
    """The program dies while its host cannot be reached; the keeper goes on trying."""
    with client_of("ssh://h2?slots=2") as client:
        keeper = keeper_of(client.pid)
        hosts["h2"].cut()
        hosts["h2"].disconnect()
        die(client, *ssh_of(client))
        time.sleep(4)
        assert hosts["h2"].processes() and alive(keeper)
        hosts["h2"].heal()
        nothing_left(hosts["h2"], 15)
        wait_until(lambda: not alive(keeper), 20)


@pytest.mark.full
def test_the_link_was_cut_for_good(hosts):
    """Nobody can tell the agent anything: it waits as long as the program would have tried, and no longer."""
    with client_of("ssh://h3?slots=2") as client:
        keeper = keeper_of(client.pid)
        hosts["h3"].cut()
        try:
            time.sleep(2)
            die(client)
            nothing_left(hosts["h3"], 30 + 5 + 10)
            wait_until(lambda: not alive(keeper), 20)
        finally:
            hosts["h3"].heal()


@pytest.mark.full
def test_nobody_is_left_to_tell(hosts):
    with client_of("ssh://h1?slots=2", SHORT) as client:
        die(client, keeper_of(client.pid), *ssh_of(client))
        nothing_left(hosts["h1"], 30 + 5 + 10)


# --- the program does not die -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_keeper_that_is_killed():
    """Nothing happens to the pool, and there is another one soon."""
    with ergon.Pool('exec:sh -c "$ERGON_AGENT"?slots=2') as pool:
        assert pool._wait_up(2, 60)
        agent = host(pool)["pid"]
        first = keeper_of(os.getpid())
        os.kill(first, signal.SIGKILL)
        assert pool.map(abs, range(-100, 0)) == list(range(100, 0, -1))
        wait_until(lambda: [p.pid for p in keepers(os.getpid())] not in ([], [first]))
        assert host(pool)["pid"] == agent and host(pool)["state"] == "up"
    assert not keepers(os.getpid())


@pytest.mark.slow
def test_only_pools_with_agents_that_outlive_their_link_have_one():
    with ergon.Pool("local:1") as pool, ergon.Pool(place(1)) as plain:
        assert pool.pipe(abs, -1) == plain.pipe(abs, -1) == 1
        time.sleep(0.5)
        assert not keepers(os.getpid())


@pytest.mark.slow
def test_a_pool_that_ends_in_good_order_has_nothing_to_tell():
    """Closed, opened again, terminated: one keeper at a time, none in the end."""
    pool = ergon.Pool('exec:sh -c "$ERGON_AGENT"?slots=1')
    for _ in range(2):
        assert pool.pipe(abs, -1) == 1
        keeper = keeper_of(os.getpid())
        pool.close()
        pool.join()
        assert not alive(keeper)
        pool.restart()
    assert pool.pipe(abs, -1) == 1
    keeper = keeper_of(os.getpid())
    pool.terminate()
    pool.join()
    assert not alive(keeper)


STOPPED = """
import ergon, os, sys, time
pool = ergon.Pool("ssh://h2?slots=2", "local:1")
assert pool._wait_up(3, 60)
print("up", flush=True)
sys.stdin.readline()
print(sum(pool.options(retries=3).map(abs, range(-1000, 0), chunksize=10)), flush=True)
"""


@pytest.mark.full
def test_a_client_that_is_stopped_longer_than_the_lease(hosts):
    """Its agent gives up; when it goes on it has lost a host and nothing else."""
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as client:
        try:
            assert client.stdout.readline() == "up\n"
            keeper = keeper_of(client.pid)
            client.send_signal(signal.SIGSTOP)
            nothing_left(hosts["h2"], 30 + 5 + 10)
            assert alive(keeper)
            client.send_signal(signal.SIGCONT)
            client.stdin.write("go\n")
            client.stdin.flush()
            assert int(client.stdout.readline()) == 500500
            assert client.wait(60) == 0
        finally:
            client.send_signal(signal.SIGCONT)
            client.kill()
    nothing_left(hosts["h2"], 15)
    wait_until(lambda: not alive(keeper))


@pytest.mark.slow
@pytest.mark.parametrize("who", ["agent", "attached", "zygote", "worker", "keeper"])
def test_what_was_stopped_goes_with_its_client_as_well(hosts, who):
    with client_of("ssh://h3?slots=2") as client:
        pid = victims(hosts["h3"], client.pid)[who]
        os.kill(pid, signal.SIGSTOP)
        try:
            die(client)
            nothing_left(hosts["h3"], 30)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


DEAF = """
import ergon, sys
pool = ergon.Pool("local:1", "exec:sleep 41.%d; true" % int(sys.argv[1]))
print(*pool.map(abs, [1]), flush=True)
sys.stdin.readline()
pool.terminate()
pool.join()
print("over", flush=True)
sys.stdin.readline()
"""


@contextlib.contextmanager
def deaf_client(number):
    """A program with a place whose command never looks at its link: its process, and everything it has started."""
    with subprocess.Popen(
        [sys.executable, "-c", DEAF, str(number)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as client:
        try:
            assert client.stdout.readline() == "1\n"
            wait_until(lambda: any(p.name == "sleep" for p in leaks.descendants(client.pid)))
            yield client, leaks.descendants(client.pid)
        finally:
            client.kill()


def test_a_command_that_ignores_its_link_goes_with_the_pool():
    with deaf_client(1) as (client, started):
        commands = [p.pid for p in started if p.name in ("sleep", "sh")]
        client.stdin.write("\n")
        client.stdin.flush()
        assert client.stdout.readline() == "over\n"
        assert not [pid for pid in commands if alive(pid)]


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [False, True])
def test_a_command_that_ignores_its_link_goes_with_its_client(stopped):
    """Also when the zygote was stopped, which could not look then."""
    with deaf_client(2 + stopped) as (client, started):
        zygotes = [p.pid for p in started if p.name.startswith("ergon-zygote") or p.name.startswith("python")]
        assert zygotes
        if stopped:
            for pid in zygotes:
                os.kill(pid, signal.SIGSTOP)
        die(client)
        wait_until(lambda: not [p.pid for p in started if alive(p.pid)])
