"""What goes from one place to another without this program in between: bytes over its own links are counted.

The data cannot be packed, so that what a link carried is at least what it stands for."""

import os
import pathlib
import signal
import socket
import sys
import time

import ergon
import netns
import numpy
import pytest
from ergon.errors import LaunchError, WorkerLost
from test_results_stay import at, wait_until

HERE = str(pathlib.Path(ergon.__file__).resolve().parent.parent)
AGENT = f"env PYTHONPATH={HERE} {sys.executable} -m ergon._agent"
BIG = 50_000_000


def free_range(n=8):
    """So many ports in a row that nobody has just now."""
    for low in range(23000 + os.getpid() % 5000, 32000, n):
        found = []
        try:
            for port in range(low, low + n):
                found.append(socket.create_server(("127.0.0.1", port)))
            return low, low + n - 1
        except OSError:
            continue
        finally:
            for s in found:
                s.close()
    raise RuntimeError("no free ports")


def place(name, ports=None, slots=1):
    text = f"exec:env PLACE={name} {AGENT[4:]}?slots={slots}"
    return f"{text}&data_ports={ports[0]}-{ports[1]}" if ports else text


def make(n, seed=1):
    return numpy.random.default_rng(seed).integers(0, 1 << 62, n // 8)


def total(*arrays):
    return sum(int(a.sum() & 0xFFFFFFFF) for a in arrays)


def expected(*seeds, n=BIG):
    return total(*[make(n, seed) for seed in seeds])


def counts(pool):
    """What this program's links carried: in, out; and what places got from one another."""
    hosts = pool.stats["hosts"]
    return [sum(h[key] for h in hosts) for key in ("bytes_in", "bytes_out", "bytes_direct")]


def since(pool, before):
    return [now - then for now, then in zip(counts(pool), before)]


def listening(ports, address="127.0.0.1"):
    found = []
    for port in range(ports[0], ports[1] + 1):
        with socket.socket() as s:
            s.settimeout(5)
            if s.connect_ex((address, port)) == 0:
                found.append(port)
    return found


def made_at(pool, number, n=BIG, seed=1):
    made = at(pool, number).submit(make, n, seed)
    wait_until(made.done)
    return made


@pytest.fixture
def ports():
    return free_range()


def test_what_another_place_has_is_fetched_there(ports):
    with ergon.Pool(place("a", ports), place("b", ports), require="all") as pool:
        made = made_at(pool, 0)
        before = counts(pool)
        assert at(pool, 1).submit(total, made).result() == expected(1)
        came, went, direct = since(pool, before)
        assert came + went < 1_000_000 and BIG <= direct < BIG + 1000
        both = at(pool, 1).submit(total, made, at(pool, 0).submit(make, BIG, 2))
        assert both.result() == expected(1, 2)
        came, went, direct = since(pool, before)
        assert came + went < 1_000_000
        assert len(listening(ports)) == 2
        assert (made.result() == make(BIG)).all()  # and here as well
    wait_until(lambda: not listening(ports))


def test_nobody_listens_unless_told_to(ports):
    with ergon.Pool(place("a"), place("b", ports), require="all") as pool:
        assert len(listening(ports)) == 1
        made = made_at(pool, 0, 4_000_000)
        before = counts(pool)
        assert at(pool, 1).submit(total, made).result() == expected(1, n=4_000_000)
        came, went, direct = since(pool, before)
        assert came >= 4_000_000 and went >= 4_000_000 and direct == 0


def test_many_values_both_ways(ports):
    with ergon.Pool(place("a", ports, 2), place("b", ports, 2), place("c", ports, 2), require="all") as pool:
        made = [at(pool, i % 3).submit(make, 400_000, i) for i in range(30)]
        before = counts(pool)
        sums = [at(pool, (i + k) % 3).submit(total, made[i], made[(i + 7) % 30]) for i in range(30) for k in (0, 1, 2)]
        want = [expected(i, (i + 7) % 30, n=400_000) for i in range(30) for _ in range(3)]
        assert [f.result() for f in sums] == want
        came, went, direct = since(pool, before)
        assert came + went < 1_000_000 and direct >= 2 * 10 * 400_000


def test_one_value_for_many_places(ports):
    """It spreads from place to place: none of them, and not this program, sends it to all."""
    with ergon.Pool(*[place(c, ports) for c in "abcde"], require="all") as pool:
        made = made_at(pool, 0)
        before = counts(pool)
        sums = [at(pool, i).submit(total, made) for i in range(5)]
        assert {f.result() for f in sums} == {expected(1)}
        came, went, direct = since(pool, before)
        assert came + went < 1_000_000 and direct >= 4 * BIG


def test_one_object_for_many_places(ports):
    """This program sends it to two of them; they pass it on. A small one goes straight to all."""
    with ergon.Pool(*[place(c, ports) for c in "abcdef"], require="all") as pool:
        for seed in (1, 2):
            shared = pool.put(make(20_000_000, seed))
            before = counts(pool)
            sums = [at(pool, i).submit(total, shared) for i in range(6)]
            assert {f.result() for f in sums} == {expected(seed, n=20_000_000)}
            came, went, direct = since(pool, before)
            assert came < 1_000_000 and went < 50_000_000 and direct >= 80_000_000
            again = counts(pool)
            assert {at(pool, i).pipe(total, shared) for i in range(6)} == {expected(seed, n=20_000_000)}
            assert sum(since(pool, again)) < 100_000
            del shared, sums
        small = pool.put(make(100_000))
        before = counts(pool)
        assert {at(pool, i).pipe(total, small) for i in range(6)} == {expected(1, n=100_000)}
        assert since(pool, before)[2] == 0


def test_objects_that_refer_to_others(ports):
    """Such an object cannot be passed on, and what it refers to can."""
    with ergon.Pool(*[place(c, ports) for c in "abcd"], require="all") as pool:
        inner = pool.put(make(1_000_000, 4))
        outer = pool.put([make(1_000_000, 5), inner])
        sums = [at(pool, i).submit(lambda pair: total(*pair), outer) for i in range(4)]
        assert {f.result() for f in sums} == {expected(4, 5, n=1_000_000)}


def test_places_that_are_killed_while_an_object_spreads(ports):
    with ergon.Pool(*[place(c, ports) for c in "abcdef"], require="all") as pool:
        shared = pool.put(make(40_000_000))
        sums = [at(pool, i).options(retries=1).submit(total, shared) for i in range(6)]
        wait_until(lambda: counts(pool)[1] >= 40_000_000)
        os.kill(pool.stats["hosts"][0]["pid"], signal.SIGKILL)
        right = 0
        for f in sums:
            try:
                assert f.result(60) == expected(1, n=40_000_000)
                right += 1
            except WorkerLost as lost:
                assert "PLACE=a" in str(lost)
        assert right >= 5


def test_strangers_get_nothing(ports, tmp_path):
    key = tmp_path / "key"
    key.write_text("ab" * 32)
    key.chmod(0o600)
    with ergon.Pool(place("a", ports), place("b", ports), require="all") as pool:
        made = made_at(pool, 0, 2_000_000)
        open_ports = listening(ports)
        with (
            pytest.raises(LaunchError, match="prove that it has the key"),
            ergon.Pool(f"tcp://127.0.0.1:{open_ports[0]}?key={key}") as p,
        ):
            p.pipe(abs, 1)
        with socket.create_connection(("127.0.0.1", open_ports[0])) as s:
            s.settimeout(20)
            s.sendall(os.urandom(4000))
            got = b""
            try:
                while more := s.recv(4096):
                    got += more
            except ConnectionResetError:
                pass
            assert len(got) <= 120  # a challenge at most
        assert at(pool, 1).submit(total, made).result() == expected(1, n=2_000_000)
        assert counts(pool)[2] >= 2_000_000


def test_a_place_that_is_killed_while_it_serves(ports):
    """What only it had is lost in its name; what another has by then is not."""
    with ergon.Pool(*[place(c, ports) for c in "abc"], require="all") as pool:
        shared, alone = made_at(pool, 0, 8_000_000), made_at(pool, 0, 8_000_000, 2)
        kept = at(pool, 1).submit(lambda a: (time.sleep(3), total(a))[1], shared)
        wait_until(lambda: counts(pool)[2] >= 8_000_000)
        os.kill(pool.stats["hosts"][0]["pid"], signal.SIGKILL)
        with pytest.raises(WorkerLost, match="host .*PLACE=a.* was lost"):
            at(pool, 2).submit(total, alone).result(60)
        assert at(pool, 2).submit(total, shared).result(60) == expected(1, n=8_000_000)
        assert (shared.result(60) == make(8_000_000)).all()
        assert kept.result(60) == expected(1, n=8_000_000)


def test_a_reader_that_is_killed_is_not_waited_for(ports):
    with ergon.Pool(*[place(c, ports) for c in "abc"], require="all") as pool:
        made = made_at(pool, 0)
        tries = at(pool, 1).options(retries=0).submit(total, made)
        os.kill(pool.stats["hosts"][1]["pid"], signal.SIGKILL)
        try:
            assert tries.result(60) == expected(1)
        except WorkerLost:
            pass
        assert at(pool, 2).submit(total, made).result(60) == expected(1)


# --- hosts of their own ---------------------------------------------------------------------------------------------


def far(pool_ports="21000-21010", n=2, slots=1):
    return [f"ssh://h{i}?slots={slots}&data_ports={pool_ports}" for i in range(1, n + 1)]


def isolate(host, on):
    """Cuts the host off from other isolated ones, and from nobody else."""
    netns.ip("link", "set", host.link, "type", "bridge_slave", "isolated", "on" if on else "off")


def crossed(hosts):
    """Bytes between this program's side of the bridge and all hosts."""
    folder = pathlib.Path(f"/sys/class/net/ergt{hosts.k}/statistics")
    return sum(int((folder / f"{way}_bytes").read_text()) for way in ("rx", "tx"))


@pytest.mark.slow
def test_between_hosts(hosts):
    with ergon.Pool(*far(), require="all") as pool:
        made = made_at(pool, 0)
        before, wire = counts(pool), crossed(hosts)
        assert at(pool, 1).submit(total, made).result() == expected(1)
        came, went, direct = since(pool, before)
        assert came + went < 1_000_000 and direct >= BIG
        assert crossed(hosts) - wire < 1_000_000
        # it listens where the client reached it, and nowhere else
        assert "127.0.0.1:2100" not in hosts["h1"].exec("cat", "/proc/net/tcp")
        assert listening((21000, 21010), hosts["h1"].address) == [21000]
    wait_until(lambda: not listening((21000, 21001), hosts["h1"].address))


@pytest.mark.slow
def test_an_object_for_many_hosts(make_hosts):
    hosts = make_hosts(4)
    with ergon.Pool(*far(n=4), require="all") as pool:
        pool.map(total, [make(800)] * 8, chunksize=1)  # everything else is there
        shared = pool.put(make(20_000_000))
        wire = crossed(hosts)
        sums = [at(pool, i).submit(total, shared) for i in range(4)]
        assert {f.result() for f in sums} == {expected(1, n=20_000_000)}
        assert 20_000_000 < crossed(hosts) - wire < 50_000_000
        assert counts(pool)[2] >= 40_000_000


@pytest.mark.slow
def test_hosts_that_cannot_reach_each_other(hosts):
    for name in ("h1", "h2"):
        isolate(hosts[name], True)
    try:
        with ergon.Pool(*far(), require="all") as pool:
            made = made_at(pool, 0)
            before = counts(pool)
            assert at(pool, 1).submit(total, made).result(60) == expected(1)
            came, went, direct = since(pool, before)
            assert came >= BIG and went >= BIG and direct == 0
            start = time.monotonic()  # the next does not try again at once
            assert at(pool, 1).submit(total, made_at(pool, 0, 1_000_000, 3)).result(60) == expected(3, n=1_000_000)
            assert time.monotonic() - start < 3
    finally:
        for name in ("h1", "h2"):
            isolate(hosts[name], False)


@pytest.mark.slow
def test_cut_off_from_each_other_half_way(make_hosts):
    hosts = make_hosts(2, shaped=True)
    for host in hosts:
        host.shape(rate_kbit=80_000)  # 10 MB/s
    with ergon.Pool(*far(), require="all") as pool:
        made = made_at(pool, 0)
        later = at(pool, 1).submit(total, made)
        wire = pathlib.Path(f"/sys/class/net/{hosts['h2'].link}/statistics/tx_bytes")
        start = int(wire.read_text())
        wait_until(lambda: int(wire.read_text()) - start > 5_000_000)
        for host in hosts:
            isolate(host, True)
        assert later.result(120) == expected(1)
        came, went, direct = counts(pool)
        assert came >= BIG and direct == 0
