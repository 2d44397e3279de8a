"""How data travels: snapshots, private arguments, results of one's own, put handles, arrays."""

import array
import collections
import gc
import os
import time

import ergon
import numpy as np
import pytest

SIZES = [10, 20_000, 300_000, 3_000_000]  # bytes in the stream, in the arena, copied, mapped


def total(data):
    return int(np.sum(data))


def spoil(data):
    data[:] = 0
    return int(np.sum(data))


def spoil_list(items):
    items.append("spoilt")
    return len(items)


@pytest.mark.parametrize("n", SIZES)
def test_array_there_and_back(pool, n):
    data = np.arange(n, dtype=np.float64)
    back = pool.pipe(np.multiply, data, 2)
    np.testing.assert_array_equal(back, data * 2)


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "<i4", ">i4", "f4", "c16", "S3", "U2", "M8[s]", "m8[ms]"])
def test_dtypes(process_pool, dtype):
    data = np.zeros(50_000, dtype=dtype)
    back = process_pool.pipe(lambda a: a, data)
    assert back.dtype == data.dtype
    np.testing.assert_array_equal(back, data)


def test_layouts(process_pool):
    base = np.arange(240_000).reshape(200, 300, 4)
    for data in (base, np.asfortranarray(base), base[::2], base[:, ::-1], base.T, base[0:0], np.array(5)):
        back = process_pool.pipe(lambda a: a, data)
        assert back.shape == data.shape and back.dtype == data.dtype
        np.testing.assert_array_equal(back, data)


def test_structured_and_object_arrays(process_pool):
    record = np.zeros(10_000, dtype=[("a", "i4"), ("b", "f8", (2,))])
    record["a"] = np.arange(10_000)
    np.testing.assert_array_equal(process_pool.pipe(lambda a: a, record), record)
    objects = np.array([1, "two", [3]], dtype=object)
    assert list(process_pool.pipe(lambda a: a, objects)) == [1, "two", [3]]


@pytest.mark.parametrize("n", SIZES)
def test_bytes_like(process_pool, n):
    for data in (b"x" * n, bytearray(b"y" * n), array.array("d", [1.5]) * (n // 8 + 1)):
        back = process_pool.pipe(lambda a: a, data)
        assert type(back) is type(data) and back == data


@pytest.mark.parametrize("n", SIZES)
def test_argument_is_private_and_writable(separate_pool, n):
    data = np.ones(n)
    for _ in range(3):
        assert separate_pool.pipe(spoil, data) == 0
    assert total(data) == n


@pytest.mark.parametrize("n", SIZES)
def test_arguments_of_a_map_are_private_and_writable(separate_pool, n):
    data = np.ones(n)
    assert separate_pool.map(spoil, [data] * 6, chunksize=2) == [0] * 6
    assert (
        separate_pool.map(lambda a, b: (spoil(a), total(b)), [data] * 4, [np.ones(n) for _ in range(4)]) == [(0, n)] * 4
    )
    assert total(data) == n


def test_what_one_task_writes_no_other_sees(process_pool):
    data = np.ones(500_000)
    assert process_pool.map(lambda a: (total(a), spoil(a))[0], [data] * 40, chunksize=1) == [500_000] * 40


def test_repeated_list_is_private_to_each_task(separate_pool):
    items = ["a", "b"]
    assert separate_pool.map(spoil_list, [items] * 50) == [3] * 50
    assert items == ["a", "b"]


@pytest.mark.parametrize("n", SIZES)
def test_snapshot_of_a_call(separate_pool, n):
    """What the caller changes after the call never reaches the task."""
    data = np.ones(n)
    futures = []
    for i in range(8):
        data[:] = i
        futures.append(separate_pool.apipe(lambda a: float(a[-1]), data))
    data[:] = -1
    assert [f.result(60) for f in futures] == [float(i) for i in range(8)]


def test_snapshot_of_a_map(separate_pool):
    data = np.ones(200_000)
    future = separate_pool.amap(total, [data] * 10)
    data[:] = 0
    assert future.result(60) == [200_000] * 10


def test_snapshot_of_a_closure(separate_pool):
    data = np.ones(200_000)
    box = ["before"]

    def look():
        return box[0], total(data)

    future = separate_pool.apipe(look)
    box[0] = "after"
    data[:] = 0
    assert future.result(60) == ("before", 200_000)
    assert separate_pool.pipe(look) == ("after", 0)


@pytest.mark.parametrize("n", SIZES)
def test_result_is_the_callers_own(pool, n):
    first, second = pool.map(np.ones, [n, n])
    first[:] = 7
    assert total(second) == n
    assert first.flags.writeable and second.flags.writeable


def test_results_outlive_the_pool():
    with ergon.ProcessPool(2) as pool:
        results = pool.map(np.full, [300_000] * 4, range(4))
        blob = pool.pipe(bytearray, 3_000_000)
    gc.collect()
    assert [total(r) for r in results] == [300_000 * i for i in range(4)]
    results[0][:] = 1
    blob[0] = 9
    assert total(results[0]) == 300_000 and blob[0] == 9


def test_many_results_kept_while_others_come(process_pool):
    kept = []
    for i in range(30):
        kept.append(process_pool.pipe(np.full, 100_000, i))
        process_pool.pipe(np.zeros, 100_000)
    assert [total(k) for k in kept] == [100_000 * i for i in range(30)]


def test_argument_kept_by_the_task(process_pool):
    """What a task stores somewhere must not be reused under it."""

    def keep(data):
        import builtins

        kept = builtins.__dict__.setdefault("_kept_by_test", [])
        kept.append(data)
        return [float(k[0]) for k in kept]

    seen = {}
    for i in range(20):
        values = process_pool.pipe(keep, np.full(100_000, float(i)))
        assert values[-1] == i
        key = values[0]
        assert values[: len(seen.get(key, []))] == seen.get(key, [])
        seen[key] = values


def test_result_that_is_the_argument(separate_pool):
    data = np.arange(300_000)
    back = separate_pool.pipe(lambda a: a, data)
    back[:] = 0
    assert total(data) == sum(range(300_000))
    several = separate_pool.map(lambda a: a[10:20], [data] * 3)
    assert [list(s) for s in several] == [list(range(10, 20))] * 3


def test_sharing_within_a_call_survives(process_pool):
    data = np.zeros(100_000)
    assert process_pool.pipe(lambda a, b: a is b, data, data)
    assert process_pool.pipe(lambda d: d["x"] is d["y"], {"x": data, "y": data})


class CountsItsJourneys:
    """Writes a letter to a file each time it is serialized, and its reader's pid to another each time it arrives."""

    def __init__(self, path):
        self.path = path
        self.weight = bytes(100_000)

    def __getstate__(self):
        with open(self.path, "a") as file:
            file.write("x")
        return self.__dict__

    def __setstate__(self, state):
        self.__dict__.update(state)
        with open(self.path + ".arrivals", "a") as file:
            file.write(f"{os.getpid()}\n")

    def journeys(self):
        return os.path.getsize(self.path) if os.path.exists(self.path) else 0

    def arrivals(self):
        """How often it arrived, by pid."""
        with open(self.path + ".arrivals") as file:
            return collections.Counter(int(line) for line in file)


def weigh(thing, i):
    return len(thing.weight) + i


def weigh_here(thing, i):
    time.sleep(0.001)
    return len(thing.weight) + i, os.getpid()


def test_repeated_argument_travels_once(separate_pool, tmp_path):
    thing = CountsItsJourneys(str(tmp_path / "journeys"))
    expected = [100_000 + i for i in range(500)]
    assert separate_pool.map(weigh, [thing] * 500, range(500), chunksize=5) == expected
    assert thing.journeys() <= 3, f"{thing.journeys()} journeys for one map of 500 items"


def test_object_in_a_closure_travels_once_per_map(separate_pool, tmp_path):
    thing = CountsItsJourneys(str(tmp_path / "journeys"))
    assert separate_pool.map(lambda i: len(thing.weight) + i, range(500), chunksize=5) == [
        100_000 + i for i in range(500)
    ]
    assert thing.journeys() <= 3, f"{thing.journeys()} journeys for one map of 500 items"


# put


def test_put_handle_as_argument(pool):
    handle = pool.put([1, 2, 3])
    assert pool.pipe(sum, handle) == 6
    assert pool.map(lambda items, i: items[i], [handle] * 3, range(3)) == [1, 2, 3]
    assert pool.submit(sum, handle).result(60) == 6
    assert list(pool.imap(sum, [handle] * 5)) == [6] * 5


def test_put_handle_inside_containers_and_closures(pool):
    handle = pool.put({"a": 1})
    assert pool.pipe(lambda d: d["x"][0]["a"], {"x": [handle]}) == 1
    assert pool.pipe(dict, value=handle) == {"value": {"a": 1}}


def test_put_travels_once_to_each_worker(process_pool, tmp_path):
    thing = CountsItsJourneys(str(tmp_path / "journeys"))
    handle = process_pool.put(thing)
    used = set()
    for _ in range(5):
        results = process_pool.map(weigh_here, [handle] * 50, range(50), chunksize=1)
        assert [weight for weight, _ in results] == [100_000 + i for i in range(50)]
        used |= {pid for _, pid in results}
    assert thing.journeys() == 1
    assert len(used) == 2 and thing.arrivals() == dict.fromkeys(used, 1)


def test_put_is_a_snapshot(separate_pool):
    data = np.ones(300_000)
    handle = separate_pool.put(data)
    data[:] = 0
    assert separate_pool.pipe(total, handle) == 300_000


def test_put_array_is_read_only_in_tasks(process_pool):
    handle = process_pool.put(np.ones(300_000))
    assert process_pool.pipe(lambda a: a.flags.writeable, handle) is False
    with pytest.raises(ValueError):
        process_pool.pipe(spoil, handle)
    assert process_pool.map(total, [handle] * 10) == [300_000] * 10


def test_put_handle_dropped_while_tasks_wait(process_pool):
    handle = process_pool.put(np.ones(300_000))
    futures = [process_pool.apipe(total, handle) for _ in range(20)]
    del handle
    gc.collect()
    assert [f.result(60) for f in futures] == [300_000] * 20


def test_many_puts_do_not_fill_the_memory(process_pool):
    """100 times 8 MB, each dropped: what the table holds is never more than a few of them, and less at the end."""
    size = 8_000_000
    before = process_pool.stats["memory_bytes"]
    most = 0
    for i in range(100):
        handle = process_pool.put(np.full(size // 8, i))
        assert process_pool.pipe(lambda a: int(a[0]), handle) == i
        del handle
        most = max(most, process_pool.stats["memory_bytes"] - before)
    assert size <= most < 10 * size, f"{most / size:.1f} times one of them"


def test_put_handle_of_another_pool(process_pool):
    """A handle is of the pool whose memory it is in: refused, wherever it stands."""
    with ergon.ProcessPool(1) as other, ergon.ThreadPool(1) as threads:
        handle = other.put([1, 2, 3])
        for pool, wrong in (
            (process_pool, handle),
            (process_pool, threads.put([1])),
            (threads, handle),
            (threads, process_pool.put([1])),
        ):
            for ask in (
                lambda pool, wrong: pool.pipe(sum, wrong),
                lambda pool, wrong: pool.submit(len, {"a": [wrong]}).result(60),
                lambda pool, wrong: pool.map(sum, [wrong] * 3),
            ):
                with pytest.raises(ergon.errors.PicklingError, match="another pool: put"):
                    ask(pool, wrong)
            assert pool.pipe(abs, -1) == 1
        assert other.pipe(sum, handle) == 6


def test_put_what_cannot_be_pickled(process_pool):
    import threading

    with pytest.raises(ergon.errors.PicklingError, match="local"):
        process_pool.put([threading.local()])


# readonly


def test_readonly_views(process_pool):
    data = np.arange(500_000)
    view = process_pool.options(readonly=True)
    assert view.map(lambda a: (a.flags.writeable, total(a)), [data] * 4) == [(False, total(data))] * 4
    assert process_pool.map(lambda a: a.flags.writeable, [data] * 2, readonly=True) == [False, False]
    assert process_pool.pipe(lambda a: a.flags.writeable, data) is True
    with pytest.raises(ValueError):
        view.pipe(spoil, data)


def test_readonly_result_may_be_kept(process_pool):
    data = np.arange(500_000)
    back = process_pool.options(readonly=True).pipe(lambda a: a, data)
    np.testing.assert_array_equal(back, data)
    assert back.flags.writeable
    back[:] = 0
    assert total(data) == sum(range(500_000))


def test_memory_does_not_grow_with_the_number_of_arrays(process_pool):
    import resource

    def peak():
        return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

    data = np.ones(250_000)
    for _ in range(50):
        process_pool.pipe(total, data)
        process_pool.pipe(np.ones, 250_000)
    before = peak()
    for _ in range(300):
        process_pool.pipe(total, data)
        process_pool.pipe(np.ones, 250_000)
    assert peak() - before < 200_000, f"{(peak() - before) // 1000} MB more after 600 arrays of 2 MB"


@pytest.mark.parametrize("n", [0, 1, 100, 1500, 300_000])
def test_put_and_readonly_arrays_are_read_only_whatever_their_size(process_pool, n):
    for data in (np.ones(n), np.asfortranarray(np.ones((2, n)))):
        assert process_pool.pipe(lambda d: d["a"].flags.writeable, process_pool.put({"a": data})) is False
        assert process_pool.pipe(lambda d: d["a"].flags.writeable, {"a": data}) is True
        view = process_pool.options(readonly=True)
        assert view.pipe(lambda a: a.flags.writeable, data) is False
        assert view.map(lambda a: a.flags.writeable, [data, data, data]) == [False] * 3
        assert process_pool.map(lambda a: a.flags.writeable, [data, data, data]) == [True] * 3
        back = view.pipe(lambda a: a, data)
        np.testing.assert_array_equal(back, data)
        assert back.flags.writeable


def test_put_bytearrays_stay_bytearrays(process_pool):
    assert process_pool.pipe(lambda b: type(b).__name__, process_pool.put(bytearray(b"abc"))) == "bytearray"


def test_what_a_task_changes_in_a_put_object_stays_in_its_worker(process_pool):
    original = [1]
    handle = process_pool.put(original)
    lengths = process_pool.map(lambda found: found.append(2) or len(found), [handle] * 40)
    assert max(lengths) > 2 and original == [1]
    assert process_pool.pipe(len, process_pool.put(original)) == 1
