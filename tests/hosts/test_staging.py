"""stage_in and stage_out: files that calls need on other hosts, and leave there."""

import errno
import hashlib
import os
import pathlib
import signal
import sys
import time

import ergon
import pytest
from ergon.errors import TaskTimeout

HERE = str(pathlib.Path(ergon.__file__).resolve().parent.parent)
AGENT = f"env PYTHONPATH={HERE} {sys.executable} -m ergon._agent"


def place(slots=2, **options):
    return f"exec:{AGENT}?slots={slots}" + "".join(f"&{k}={v}" for k, v in options.items())


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The program's working directory; other hosts' is below `scratch`."""
    folder = tmp_path / "here"
    folder.mkdir()
    (tmp_path / "scratch").mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def scratch(tmp_path):
    return tmp_path / "scratch"


@pytest.fixture
def pool(here, scratch):
    with ergon.Pool(place(2, tmp_dir=scratch)) as p:
        yield p


def wait_until(true, seconds=20):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


def text_of(name):
    with open(name) as file:
        return file.read()


def put(folder, name, data):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def test_files_and_folders_are_there(pool, here, scratch):
    put(here, "one.txt", "1")
    put(here, "tree/a/two.txt", "2")
    put(here, "tree/script", "echo 3").chmod(0o750)
    (here / "tree/empty").mkdir()

    def look(_):
        mode = os.stat("tree/script").st_mode & 0o777
        names = text_of("one.txt"), text_of("tree/a/two.txt"), os.path.isdir("tree/empty"), mode
        return names, os.getcwd()

    found = pool.map(look, range(6), stage_in=["one.txt", "tree"])
    assert {names for names, _ in found} == {("1", "2", True, 0o750)}
    assert all(folder.startswith(f"{scratch}/ergon-work-") for _, folder in found)


def test_calls_without_files_run_where_they_ran(pool, here):
    put(here, "one.txt", "1")
    before = set(pool.map(lambda _: os.getcwd(), range(8), chunksize=1))
    pool.map(text_of, ["one.txt"] * 8, stage_in=["one.txt"], chunksize=1)
    assert set(pool.map(lambda _: os.getcwd(), range(8), chunksize=1)) == before


def test_a_file_reaches_a_host_once(here, scratch):
    put(here, "big", os.urandom(3 << 20))
    put(here, "same", (here / "big").read_bytes())

    def size(name):
        time.sleep(0.01)
        return os.path.getsize(name)

    with ergon.Pool(place(3, tmp_dir=scratch), place(1, tmp_dir=scratch)) as pool:
        assert pool._wait_up(4, 30)
        sent = [h["bytes_out"] for h in pool.stats["hosts"]]
        for _ in range(3):
            assert set(pool.map(size, ["big", "same"] * 20, stage_in=["big", "same"], chunksize=1)) == {3 << 20}
        for host, before in zip(pool.stats["hosts"], sent):
            assert host["tasks"] > 0 and 3 << 20 <= host["bytes_out"] - before < 4 << 20


def test_a_file_that_was_edited_arrives_anew(pool, here):
    path = put(here, "data", "first")
    assert pool.map(text_of, ["data"] * 4, stage_in=["data"]) == ["first"] * 4
    path.write_text("other")  # as long, and perhaps at the same time of the file system's clock
    assert pool.map(text_of, ["data"] * 4, stage_in=["data"]) == ["other"] * 4
    path.write_text("first")
    assert pool.options(stage_in=["data"]).pipe(text_of, "data") == "first"


def test_what_a_call_did_to_a_file_is_undone_for_the_next(here, scratch):
    put(here, "data", "kept")

    def spoil(how):
        text = text_of("data")
        if how == "remove":
            os.unlink("data")
        elif how == "write":
            with open("data", "w") as file:
                file.write("gone")
        return text

    with ergon.Pool(place(1, tmp_dir=scratch)) as pool:
        assert pool.map(spoil, ["remove", "write", "read", "write", "read"], stage_in="data") == ["kept"] * 5
    assert (here / "data").read_text() == "kept"


def test_files_come_back(pool, here):
    put(here, "in.txt", "abc")

    def work(i):
        os.makedirs(f"out/{i}", exist_ok=True)
        with open(f"out/{i}/result", "w") as file:
            file.write(text_of("in.txt") * i)
        os.chmod(f"out/{i}/result", 0o640)
        return i

    results = pool.map(work, range(5), stage_in=["in.txt"], stage_out=lambda i: [f"out/{i}"])
    assert results == list(range(5))
    for i in range(5):
        assert (here / f"out/{i}/result").read_text() == "abc" * i
        assert (here / f"out/{i}/result").stat().st_mode & 0o777 == 0o640
    assert sorted(p.name for p in here.rglob("*") if p.is_file()) == ["in.txt"] + ["result"] * 5


def test_submit_and_pools_with_files(here, scratch):
    put(here, "in", "x")

    def work(word):
        with open("log", "w") as file:
            file.write(text_of("in") + word)

    with ergon.Pool(place(1, tmp_dir=scratch), stage_in=["in"], stage_out=["log"]) as pool:
        pool.submit(work, "1").result()
        assert (here / "log").read_text() == "x1"
        pool.apipe(work, "2").result()
        assert (here / "log").read_text() == "x2"
        assert pool.options(stage_out=None).pipe(work, "3") is None
        assert (here / "log").read_text() == "x2"


def test_a_file_that_is_both_comes_back_changed(pool, here):
    put(here, "state", "0")

    def step():
        with open("state", "r+") as file:
            n = int(file.read()) + 1
            file.seek(0)
            file.write(str(n))

    view = pool.options(stage_in=["state"], stage_out=["state"])
    for _ in range(5):
        view.pipe(step)
    assert (here / "state").read_text() == "5"


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5 << 20, (20 << 20) + 77])
def test_every_size_goes_both_ways(pool, here, size):
    data = os.urandom(size)
    put(here, "in", data)

    def copy():
        with open("in", "rb") as source, open("out", "wb") as target:
            target.write(source.read())

    pool.options(stage_in=["in"], stage_out=["out"]).pipe(copy)
    assert (here / "out").read_bytes() == data


def test_a_missing_file_is_that_calls_error(pool, here):
    def maybe(i):
        if i != 2:
            put(pathlib.Path(), f"r{i}", "there")

    tasks = [pool.options(stage_out=[f"r{i}"]).submit(maybe, i) for i in range(4)]
    with pytest.raises(FileNotFoundError, match=r"no such file on exec:.*'r2'"):
        tasks[2].result()
    assert [tasks[i].result() for i in (0, 1, 3)] == [None] * 3
    assert sorted(p.name for p in here.iterdir()) == ["r0", "r1", "r3"]
    # what an earlier call left is not taken for it
    with pytest.raises(FileNotFoundError):
        pool.options(stage_out=["r1"]).map(lambda _: None, range(4))


def test_a_call_that_fails_sends_nothing(pool, here):
    def fails():
        put(pathlib.Path(), "half", "ha")
        raise KeyError("no")

    with pytest.raises(KeyError):
        pool.options(stage_out=["half"]).pipe(fails)
    assert not (here / "half").exists()


def test_names_are_checked_before_anything_runs(pool, here):
    for kind in (pool, ergon.SerialPool()):
        for option in ("stage_in", "stage_out"):
            with pytest.raises(ValueError, match="relative"):
                kind.map(abs, [1], **{option: ["/etc/passwd"]})
            with pytest.raises(ValueError, match=r"'\.\.'"):
                kind.map(abs, [1], **{option: ["a/../../b"]})
            with pytest.raises(TypeError):
                kind.options(**{option: [7]})
            with pytest.raises(TypeError):
                kind.map(abs, [1], **{option: 7})
    with pytest.raises(ValueError, match="relative"):
        ergon.Pool("local:1", stage_in=["/etc/passwd"])
    with pytest.raises(FileNotFoundError, match="nothing_here"):
        pool.map(abs, [1], stage_in=["nothing_here"])
    os.mkfifo(here / "pipe")
    with pytest.raises(ValueError, match="neither"):
        pool.map(abs, [1], stage_in=["pipe"])


def test_names_a_function_gives_are_checked_too(pool, here):
    with pytest.raises(ValueError, match=r"'\.\.'"):
        pool.map(abs, [1], stage_out=lambda x: ["../escaped"])
    assert not (here.parent / "escaped").exists()


def test_the_owner_takes_only_what_it_asked_for(here):
    from ergon._stage import Files

    files = Files()
    files.staged(abs, (), ("results",))
    for name in ("other", "results2", "results/../other", "/tmp/other"):
        with pytest.raises(ValueError):
            files.answer("far", "begin", 1, 0, name, 0o600)
    files.answer("far", "begin", 1, 0, "results/one", 0o600)
    with pytest.raises(OSError, match="did not arrive as it was sent"):
        files.answer("far", "end", 1, 0, b"half", hashlib.blake2b(b"whole", digest_size=32).digest())
    with pytest.raises(OSError, match="given up"):
        files.answer("far", "piece", 1, 4, b"more")
    with pytest.raises(KeyError):
        files.answer("far", "read", b"never told", 0, 1)
    assert not [p for p in here.rglob("*") if p.is_file()]


def test_file_systems_without_files_without_names(here, monkeypatch):
    from ergon._stage import Files

    real = os.open

    def without(path, flags, *rest, **more):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "not here")
        return real(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", without)
    files = Files()
    files.staged(abs, (), ("result",))
    for process in (1, 2):
        files.answer("far", "begin", process, 0, "result", 0o640)
        files.answer("far", "piece", process, 0, b"first ")
    assert not (here / "result").exists()
    files.answer("far", "end", 1, 6, b"second", hashlib.blake2b(b"first second", digest_size=32).digest())
    assert (here / "result").read_bytes() == b"first second" and (here / "result").stat().st_mode & 0o777 == 0o640
    del files  # and with it what will never be complete
    assert [p.name for p in here.iterdir()] == ["result"]


def test_a_name_becomes_a_folder_and_a_file_again(here, scratch):
    with ergon.Pool(place(1, tmp_dir=scratch)) as pool:
        for _ in range(2):
            put(here, "thing", "file")
            assert pool.options(stage_in=["thing"]).pipe(text_of, "thing") == "file"
            (here / "thing").unlink()
            put(here, "thing/in", "folder")
            assert pool.options(stage_in=["thing"]).pipe(text_of, "thing/in") == "folder"
            (here / "thing/in").unlink()
            (here / "thing").rmdir()


def test_names_that_are_no_text(pool, here):
    name = os.fsdecode(b"caf\xe9 \xff")
    put(here, name, "x")
    with_name = pool.options(stage_in=[name], stage_out=["out"])

    def copy():
        (found,) = [n for n in os.listdir(b".") if n.startswith(b"caf")]
        os.rename(found, b"out")
        return found

    assert with_name.pipe(copy) == b"caf\xe9 \xff"
    assert (here / "out").read_text() == "x"


def test_what_a_folder_gets_comes_back_and_what_it_had_does_not(pool, here):
    put(here, "data/old", "old")

    def add():
        put(pathlib.Path(), "data/new", "new")

    pool.options(stage_in=["data"], stage_out=["data"]).pipe(add)
    before = os.stat(here / "data/old").st_ino
    assert (here / "data/new").read_text() == "new"
    pool.options(stage_in=["data"], stage_out=["data"]).pipe(add)
    assert os.stat(here / "data/old").st_ino == before


def test_what_is_no_function_is_told_as_ever(pool, here):
    put(here, "data", "x")
    with pytest.raises(TypeError, match="callable"):
        pool.map(7, [1], stage_in=["data"])


def test_local_workers_see_the_files_as_they_are(here, scratch):
    put(here, "data", "as it is")
    with ergon.Pool("local:1", place(1, tmp_dir=scratch)) as pool:
        assert pool._wait_up(2, 30)
        view = pool.options(stage_in=["data"], resources={"host": "local"})
        assert view.pipe(lambda: (os.getcwd(), text_of("data"))) == (str(here), "as it is")
    with ergon.ThreadPool(1, stage_in=["data"]) as pool:
        assert pool.map(text_of, ["data"]) == ["as it is"]


def test_a_file_that_changes_under_way_is_an_error(here, scratch):
    from ergon._stage import Files

    path = put(here, "data", "0" * 1000)
    files = Files()
    ((_, _, size, digest),) = files.files(str(here), ["data"])
    path.write_text("short")
    with pytest.raises(OSError, match="has changed since the call was made") as info:
        files.answer("far", "read", digest, 0, size)
    assert info.value.errno == errno.ESTALE


def test_workers_that_come_later_find_the_files(here, scratch):
    put(here, "big", os.urandom(2 << 20))
    with ergon.Pool(place(1, tmp_dir=scratch), stage_in=["big"]) as pool:
        first = pool.pipe(lambda: (os.path.getsize("big"), os.getpid(), os.getcwd()))
        sent = pool.stats["hosts"][0]["bytes_out"]
        os.kill(first[1], signal.SIGKILL)
        again = pool.options(retries=3).pipe(lambda: (os.path.getsize("big"), os.getpid(), os.getcwd()))
        assert again[0] == first[0] and again[1] != first[1]
        assert pool.stats["hosts"][0]["bytes_out"] - sent < 1 << 20
        assert not os.path.exists(first[2])  # the dead one's folder


def test_nothing_stays_on_the_host(here, scratch):
    put(here, "data", "x")
    with ergon.Pool(place(1, tmp_dir=scratch), stage_in=["data"], stage_out=["out"]) as pool:
        pool.pipe(lambda: (put(pathlib.Path(), "out", "y"), os.mkdir("shut", 0))[0] and None)
        assert list(scratch.iterdir())
    wait_until(lambda: not list(scratch.iterdir()))


def test_what_a_killed_agent_left_goes_with_the_next(here, scratch):
    put(here, "data", "x")
    with ergon.Pool(place(1, tmp_dir=scratch), stage_in=["data"]) as pool:
        pool.map(text_of, ["data"])
        (left,) = scratch.iterdir()
        os.kill(pool.stats["hosts"][0]["pid"], signal.SIGKILL)
        pool.terminate()
    assert left.exists()
    with ergon.Pool(place(1, tmp_dir=scratch), stage_in=["data"]) as pool:
        pool.map(text_of, ["data"])
        wait_until(lambda: left not in scratch.iterdir())
        assert len(list(scratch.iterdir())) == 1
    wait_until(lambda: not list(scratch.iterdir()))


def test_a_call_that_ran_out_of_time_leaves_no_parts(here, scratch):
    put(here, "big", os.urandom(64 << 20))
    with ergon.Pool(place(1, tmp_dir=scratch)) as pool:
        assert pool.map(abs, [-1]) == [1]
        with pytest.raises(TaskTimeout):
            pool.map(os.path.getsize, ["big"], stage_in=["big"], timeout=0.02)
        assert not [p for p in scratch.rglob("part-*")]
        assert pool.map(os.path.getsize, ["big"], stage_in=["big"]) == [64 << 20]


def test_a_worker_that_dies_with_a_file_under_way(here, scratch):
    put(here, "big", os.urandom(48 << 20))

    def size(name, folder):
        import threading

        if not os.path.exists(folder):  # the first time: it dies somewhere in the files' way back
            os.mkdir(folder)
            threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGKILL)).start()
        os.link("big", "back")
        return os.path.getsize(name)

    with ergon.Pool(place(1, tmp_dir=scratch), stage_in=["big"], stage_out=["back"]) as pool:
        assert pool.options(retries=3).pipe(size, "big", str(scratch / "mark")) == 48 << 20
        assert (here / "back").read_bytes() == (here / "big").read_bytes()
        assert sorted(p.name for p in here.iterdir()) == ["back", "big"]


def test_an_agent_removes_no_folder_but_its_own(pool, tmp_path):
    def name(folder):
        from ergon._ask import line

        line().name_folder(folder)

    for folder in (str(tmp_path), "relative", f"{tmp_path}/ergon-work-{os.uname().nodename}-{0:016x}"):
        with pytest.raises(OSError, match="does not take the folder"):
            pool.pipe(name, folder)


def _limit(size):
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_no_room_there_is_that_calls_error(here, scratch):
    put(here, "big", bytes(3 << 20))
    put(here, "small", "x")
    with ergon.Pool(place(1, tmp_dir=scratch), initializer=_limit, initargs=(1 << 20,)) as pool:
        with pytest.raises(OSError, match="stage_in of big on exec:.*File too large"):
            pool.map(text_of, ["big"], stage_in=["big"])
        assert pool.map(text_of, ["small"], stage_in=["small"]) == ["x"]
        assert not [p for p in scratch.rglob("part-*")]


def test_no_room_here_is_that_calls_error(pool, here):
    def big():
        put(pathlib.Path(), "big", bytes(3 << 20))

    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    pool.map(abs, [1])
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
        with pytest.raises(
            OSError, match="stage_out of big on exec:.*File too large: .*/here/big on the host of the pool"
        ):
            pool.options(stage_out=["big"]).pipe(big)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(here.iterdir())
    pool.options(stage_out=["big"]).pipe(big)
    assert (here / "big").stat().st_size == 3 << 20


@pytest.mark.skipif("libasan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer keeps what is freed")
def test_a_long_file_needs_little_memory(here, scratch):
    size = 192 << 20
    with open(here / "long", "wb") as file:
        file.truncate(size)

    def peak():
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def there():
        os.link("long", "back")
        return peak()

    with ergon.Pool(place(1, tmp_dir=scratch)) as pool:
        agent = pool.pipe(os.getppid)
        before, mine = pool.pipe(peak), peak()
        after = pool.options(stage_in=["long"], stage_out=["back"]).pipe(there)
        assert after - before < size / 2 and peak() - mine < size / 2
        with open(f"/proc/{pool.stats['hosts'][0]['pid']}/status") as file:
            (line,) = [line for line in file if line.startswith("VmHWM")]
        assert int(line.split()[1]) * 1024 < size and agent
    assert (here / "back").stat().st_size == size


@pytest.mark.slow
def test_over_ssh(sshd, here, scratch):
    put(here, "tree/in", os.urandom(3 << 20))
    name = next(iter(sshd.hosts))

    def work(i):
        with open("tree/in", "rb") as source, open(f"copy{i}", "wb") as target:
            target.write(source.read())
        return os.getcwd()

    with ergon.Pool(f"ssh://{name}?slots=2&tmp_dir={scratch}", stage_in=["tree"]) as pool:
        folders = pool.map(work, range(4), stage_out=lambda i: f"copy{i}")
        assert all(folder.startswith(f"{scratch}/ergon-work-") for folder in folders)
        with pytest.raises(FileNotFoundError, match=f"on ssh://{name}.*'absent'"):
            pool.options(stage_out=["absent"]).pipe(abs, 1)
    for i in range(4):
        assert (here / f"copy{i}").read_bytes() == (here / "tree/in").read_bytes()
    wait_until(lambda: not [p for p in scratch.iterdir() if p.name.startswith("ergon-work-")])


@pytest.mark.slow
def test_a_link_that_breaks_while_files_travel(sshd, here, scratch):
    put(here, "big", os.urandom(96 << 20))
    name = next(iter(sshd.hosts))

    def copy():
        os.rename("big", "back")

    with ergon.Pool(f"ssh://{name}?slots=1&tmp_dir={scratch}", stage_in=["big"]) as pool:
        pool.options(stage_in=None).pipe(abs, 1)
        before = pool.stats["hosts"][0]["bytes_out"]
        done = pool.options(stage_out=["back"]).apipe(copy)
        wait_until(lambda: pool.stats["hosts"][0]["bytes_out"] - before > 8 << 20)
        sshd.cut()
        done.result(60)
        assert pool.stats["hosts"][0]["tasks_lost"] == 0
    assert (here / "back").read_bytes() == (here / "big").read_bytes()
    wait_until(lambda: not [p for p in scratch.iterdir() if p.name.startswith("ergon-work-")])
