"""Nothing that scheduled functions do over and over makes the process grow: no reference, no block of memory."""

import asyncio
import sys

import ergon
import pytest
import refleaks
from ergon import _core, functional, schedule

pytestmark = pytest.mark.skipif(
    not (refleaks.DEBUG_BUILD or refleaks.COUNTS_BLOCKS),
    reason="with PYTHONMALLOC=malloc only bytes can be counted, and caches that fill look like leaks",
)


@pytest.fixture(autouse=True, scope="module")
def workers():
    ergon.configure(workers=[{"type": "multicore", "cores": 2}])
    yield
    ergon.configure()


class Odd:
    """Cannot be pickled."""

    def __reduce__(self):
        raise RuntimeError("will not travel")


class Node:
    def __init__(self, value):
        self.value = value


def remote(function):
    made = functional(function)
    made._remote_only = 1  # handed over although it would be quicker here
    return made


@remote
def add(a, b=1):
    return a + b


@remote
def again(x):
    return x


@remote
def around(node):
    return {"node": node, "more": [node.value, (node,)]}


@remote
def table(n):
    return {i: [i, str(i), (float(i),)] for i in range(n)}


@remote
def fails(x):
    try:
        raise KeyError(x)
    except KeyError as error:
        raise ValueError([x]) from error


@remote
def odd(x):
    return Odd()


@functional
def here(x):
    return x


@functional
async def later(x):
    await asyncio.sleep(0)
    return [x]


@functional
async def never(x):
    await asyncio.sleep(0)
    raise LookupError(x)


@schedule
def loop():
    out = []
    for i in range(6):
        out.append(add(i, b=2))
    return sum(out)


@schedule
def results():
    return [table(i) for i in range(4)], [around(Node(i)) for i in range(4)], again([1])


@schedule
def branches():
    total, seen = 0, {}
    for i in range(4):
        x = add(i)
        if x > 2:
            total += x
        else:
            seen[x] = f"{x}"
        while total > 3:
            total -= add(1)
    return total, seen


@schedule
def errors():
    caught = []
    for i in range(3):
        try:
            caught.append(fails(i))
        except ValueError as error:
            caught.append(error.args)
        finally:
            caught.append(add(i))
    return caught


@schedule
def escapes():
    add(1)
    fails(2)


def raised():
    with pytest.raises(ValueError):
        escapes()


@schedule
def not_taken():
    """Calls run ahead that the function never makes."""
    for i in range(8):
        if add(i) > 2:
            return i
    return None


@schedule
def travels_badly():
    return type(odd(1)), type(again(Odd()))


@schedule
def in_place():
    return [here(i) for i in range(20)]


@schedule
def items(n):
    for i in range(n):
        yield add(i)


def generator():
    assert list(items(5)) == [1, 2, 3, 4, 5]


def generator_left():
    it = items(9)
    assert next(it) == 1
    it.close()


def generator_dropped():
    it = items(9)
    assert next(it) == 1
    del it
    _core._flow_sweep()


@schedule
def local_things():
    held = []

    class Local:
        def method(self, x):
            return add(x)

    def inner(x):
        held.append(x)
        return add(x)

    return [inner(i) for i in range(3)], Local().method(1), held, sorted([3, 1], key=lambda x: add(x))


@schedule
def nested():
    return loop() + loop()


@schedule
def asked():
    return [later(i) for i in range(5)]


@schedule
async def conversation():
    found = [await later(i) for i in range(4)]
    try:
        await never(1)
    except LookupError as error:
        found.append(error.args)
    return found


def awaited():
    assert len(asyncio.run(conversation())) == 5


async def _cancelled():
    task = asyncio.ensure_future(conversation())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def cancelled():
    asyncio.run(_cancelled())


def decorated():
    """Functions that come and go, with what is known about their code."""
    namespace = {"functional": functional, "schedule": schedule}
    exec("@functional\ndef f(x): return x\n@schedule\ndef g(): return [f(i) for i in range(3)]", namespace)
    assert namespace["g"]() == [0, 1, 2]


def outside():
    assert add(1) == 2
    with pytest.raises(ValueError):
        fails(1)


USES = [loop, results, branches, errors, raised, not_taken, travels_badly, in_place, generator, generator_left,
        generator_dropped, local_things, nested, asked, awaited, cancelled, decorated, outside]  # fmt: skip


@pytest.mark.parametrize("use", USES, ids=lambda use: getattr(use, "__name__", str(use)))
def test_use_does_not_grow(use):
    # Every pool slot that was used once keeps a little; how soon all were is a matter of chance.
    refleaks.check(use, warm_up=60, rounds=60)


def test_what_is_new_leaves_nothing():
    def look():
        node = Node([1, (2, Node(3))])
        node.value.append(node.value[0])
        assert _core._fresh([[{"a": [1.5], "k": {3}}, "text", Node([()])]])
        assert not _core._fresh([[node, node.value]])
        assert not _core._fresh([[lambda: 1]])
        if "numpy" in sys.modules:
            assert _core._fresh([[sys.modules["numpy"].zeros(3)]])

    refleaks.check(look)
