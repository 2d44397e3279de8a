"""Async functionals: thousands of calls wait at the same time, and nothing else is different."""

import asyncio
import sys
import threading
import time

import ergon
import pytest
from ergon import _core, _schedule, functional, schedule

ahead = pytest.mark.skipif(sys.version_info >= (3, 15), reason="calls run ahead on CPython 3.11 to 3.14")


@pytest.fixture(autouse=True, scope="module")
def workers():
    ergon.configure(workers=[{"type": "multicore", "cores": 2}])
    yield
    ergon.configure()


class Gauge:
    """How many calls are under way, and the most there were."""

    def __init__(self):
        self.now = self.most = self.calls = 0

    def __enter__(self):
        self.now += 1
        self.calls += 1
        self.most = max(self.most, self.now)

    def __exit__(self, *what):
        self.now -= 1


gauge = Gauge()


@pytest.fixture(autouse=True)
def fresh():
    gauge.__init__()


@functional
async def ask(x):
    with gauge:
        await asyncio.sleep(0.02)
        return x * 2


@functional
async def refuse(x):
    await asyncio.sleep(0.001)
    raise LookupError("no", x)


@schedule
def plain(n):
    out = []
    for i in range(n):
        out.append(ask(i))
    return out


@schedule
async def awaits(n):
    out = []
    for i in range(n):
        out.append(await ask(i))
    return out


def both(n):
    return plain(n), asyncio.run(awaits(n))


@pytest.mark.parametrize("n", [0, 1, 7])
def test_results(n):
    assert both(n) == ([i * 2 for i in range(n)],) * 2


@ahead
@pytest.mark.parametrize("main", [plain, lambda n: asyncio.run(awaits(n))])
def test_two_thousand_at_a_time(main):
    began = time.perf_counter()
    assert main(2000) == [i * 2 for i in range(2000)]
    took = time.perf_counter() - began
    assert gauge.most > 1500
    assert gauge.calls == 2000
    assert took < 2000 * 0.02 / 8


@ahead
def test_calls_that_need_results_start_as_these_arrive():
    @functional
    async def second(x, i):
        with gauge:
            await asyncio.sleep(0.002 * (i % 5))
            return x + i

    async def pair(i):
        return await second(await ask(i), i)

    @schedule
    async def main(n):
        out = {}
        for i in range(n):
            out[i] = await pair(i)
            if i % 10 == 9:
                out[-i] = sum(out.values())
        return out

    @schedule
    def sequential(n):
        out = {}
        for i in range(n):
            out[i] = second(ask(i), i)
        return out

    expected = {i: 3 * i for i in range(40)}
    found = asyncio.run(main(40))
    assert {k: v for k, v in found.items() if k >= 0} == expected
    assert gauge.most > 20
    assert sequential(40) == expected


@pytest.mark.parametrize("how", ["plain", "coroutine"])
def test_the_first_exception_is_raised_where_it_belongs(how, capsys):
    log = []

    @schedule
    def main():
        for i in range(5):
            print(i)
            log.append(ask(i))
            if i == 2:
                try:
                    refuse(i)
                except LookupError as error:
                    log.append(error.args)
                    refuse(i + 1)

    @schedule
    async def co():
        for i in range(5):
            print(i)
            log.append(await ask(i))
            if i == 2:
                try:
                    await refuse(i)
                except LookupError as error:
                    log.append(error.args)
                    await refuse(i + 1)

    with pytest.raises(LookupError) as caught:
        main() if how == "plain" else asyncio.run(co())
    assert log == [0, 2, 4, ("no", 2)]
    assert caught.value.args == ("no", 3)
    assert caught.value.__context__.args == ("no", 2)
    assert caught.value.__cause__ is None
    names = [entry.name for entry in caught.traceback]
    assert names[-2:] == ["main" if how == "plain" else "co", "refuse"]
    assert capsys.readouterr().out == "0\n1\n2\n"


@pytest.mark.parametrize("how", ["plain", "coroutine"])
def test_arguments_are_snapshots_and_keep_their_identity(how):
    @functional
    async def head(xs, other):
        await asyncio.sleep(0.001)
        return [len(xs), xs[0], other]

    @schedule
    def main():
        xs, key, out = [object.__new__(Gauge)], {"k": 1}, []
        for _ in range(4):
            found = head(xs, key)
            out.append((found[0], found[1] is xs[0], found[2] is key))
            xs.append(found)
        return out

    @schedule
    async def co():
        xs, key, out = [object.__new__(Gauge)], {"k": 1}, []
        for _ in range(4):
            found = await head(xs, key)
            out.append((found[0], found[1] is xs[0], found[2] is key))
            xs.append(found)
        return out

    assert (main() if how == "plain" else asyncio.run(co())) == [(i + 1, True, True) for i in range(4)]


@ahead
def test_what_cannot_be_pickled_is_handed_over_as_it_is():
    class Client:
        def __init__(self):
            self.lock = threading.Lock()

        async def get(self, x):
            with gauge:
                await asyncio.sleep(0.01)
                return self, x

    @functional
    async def fetch(client, x):
        return await client.get(x)

    @schedule
    async def main(client):
        return [await fetch(client, i) for i in range(10)]

    client = Client()
    assert asyncio.run(main(client)) == [(client, i) for i in range(10)]
    assert gauge.most > 5


def test_gather_tasks_and_timeouts_work_as_ever():
    @schedule
    async def main():
        many = await asyncio.gather(*[ask(i) for i in range(5)])
        task = asyncio.create_task(ask(7))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(ask(9), 0.0001)
        assert asyncio.iscoroutine(unused := ask(8))
        unused.close()
        with pytest.raises(RuntimeError):
            await unused
        return many, await task

    assert asyncio.run(main()) == ([0, 2, 4, 6, 8], 14)


def test_cancelling_reaches_the_call():
    seen = []

    @functional
    async def stubborn(x):
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            seen.append(x)
            raise

    @schedule
    async def main():
        await ask(1)
        await stubborn(5)

    async def outer():
        task = asyncio.create_task(main())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.01)

    asyncio.run(outer())
    assert 5 in seen


def test_functions_that_run_loops_themselves_get_coroutines():
    @schedule
    def main():
        return [asyncio.run(ask(i)) for i in range(2)]

    @schedule
    def other():
        coroutine = ask(3)
        assert asyncio.iscoroutine(coroutine)
        return asyncio.run(coroutine)

    assert main() == [0, 2]
    assert other() == 6


@ahead
def test_others_on_the_loop_get_their_turns():
    ticks = []

    async def ticker():
        while True:
            ticks.append(1)
            await asyncio.sleep(0)

    async def outer():
        task = asyncio.create_task(ticker())
        result = await awaits(1000)
        task.cancel()
        return result

    assert asyncio.run(outer()) == [i * 2 for i in range(1000)]
    assert len(ticks) > 10


def test_methods_generators_and_plain_functionals_beside():
    @functional
    def square(x):
        time.sleep(0.002)
        return x * x

    class Box:
        @functional
        async def get(self, x):
            await asyncio.sleep(0.001)
            return x + 1

        @schedule
        def both(self):
            return [square(self.get(i)) for i in range(6)]

        @schedule
        async def later(self):
            return [square(await self.get(i)) for i in range(6)]

    @schedule
    def numbers():
        for i in range(4):
            yield ask(i)

    assert Box().both() == asyncio.run(Box().later()) == [(i + 1) ** 2 for i in range(6)]
    assert list(numbers()) == [0, 2, 4, 6]


def test_calls_nobody_takes_are_dropped():
    @schedule
    def main():
        for i in range(50):
            ask(i)
            if i == 1:
                return "early"

    assert main() == "early"
    ergon.shutdown()
    assert not [t for t in threading.enumerate() if t.name == "ergon-coroutines"]
    assert plain(3) == [0, 2, 4]


def test_no_reference_is_left_behind():
    import gc

    class Token:
        pass

    @functional
    async def through(x):
        await asyncio.sleep(0)
        return x

    @schedule
    async def main(token):
        return [await through([token, i]) for i in range(20)]

    @schedule
    def blocks(token):
        return [through([token, i]) for i in range(20)]

    import weakref

    token = Token()
    alive = weakref.ref(token)
    result = asyncio.run(main(token))
    assert all(pair[0] is token for pair in result)
    assert all(pair[0] is token for pair in blocks(token))
    del token, result
    gc.collect()
    assert alive() is None
    assert _core._flow_stats()["calls"] > 0


def test_what_a_finished_coroutine_left_is_let_go():
    import gc
    import weakref

    class Token:
        pass

    @functional
    async def never(x):
        await asyncio.sleep(60)

    @schedule
    async def main(token):
        if await ask(0) == 0:
            raise LookupError(token)
        await never(1)

    def run():
        token = Token()
        with pytest.raises(LookupError):
            asyncio.run(main(token))
        return weakref.ref(token)

    alive = run()
    gc.collect()
    assert alive() is None


async def numbers(n):
    for i in range(n):
        yield i


class Numbers:
    def __init__(self, n):
        self.n, self.i = n, 0

    def __aiter__(self):
        return self

    async def __anext__(self):
        if self.i >= self.n:
            raise StopAsyncIteration
        self.i += 1
        return self.i


class Manager:
    def __init__(self, log):
        self.log = log

    async def __aenter__(self):
        self.log.append("in")
        return await ask(1)

    async def __aexit__(self, kind, error, traceback):
        self.log.append(kind and kind.__name__)
        return kind is KeyError


async def over_a_generator(log):
    async for i in numbers(30):
        log.append(await ask(i))


async def over_an_object(log):
    async for i in Numbers(30):
        log.append(await ask(i))
    else:
        log.append("all")


async def comprehended(log):
    log.append([await ask(i) async for i in numbers(30) if i % 2])
    log.append({k: v async for k, v in pairs(10)})


async def pairs(n):
    for i in range(n):
        yield i, await ask(i)


async def inside_managers(log):
    lock = asyncio.Lock()
    for i in range(20):
        async with Manager(log) as one, lock:
            log.append(await ask(i) + one)
            if i % 7 == 3:
                raise KeyError(i)


async def left_early(log):
    items = numbers(20)
    async for i in items:
        log.append(await ask(i))
        if i == 12:
            break
    log.append([i async for i in items])


@pytest.mark.parametrize("body", [over_a_generator, over_an_object, comprehended, inside_managers, left_early])
def test_async_for_and_with_are_run_through(body):
    expected, log = [], []
    asyncio.run(body(expected))
    before = _schedule.stats()
    asyncio.run(schedule(body)(log))
    now = _schedule.stats()
    assert log == expected
    # all but the first call, and what comes back one by one
    assert now["foreseen"] - before["foreseen"] >= (now["calls"] - before["calls"]) * 0.5
