"""Run as __main__ by test_by_value.py: classes of a program in the tasks of a pool."""

import collections
import dataclasses
import enum

import ergon


@dataclasses.dataclass
class Data:
    x: int
    y: list = dataclasses.field(default_factory=list)

    def scaled(self):
        return self.x * FACTOR


class Color(enum.Enum):
    RED = 1


class Plain:
    tag = "first"
    items = [1]  # noqa: RUF012  shared, and changed below

    def seen(self):
        return self.tag, list(self.items), FACTOR


Point = collections.namedtuple("Point", "a b")
FACTOR = 2


def make(i):
    return Data(i), Color.RED, Point(i, 2), Plain()


def look(value):
    return value.seen()


def checks(pool):
    global FACTOR
    for data, red, point, plain in pool.map(make, range(200)):
        assert type(data) is Data and red is Color.RED and type(point) is Point and type(plain) is Plain
    values = [Data(i, [i]) for i in range(200)]
    assert pool.map(Data.scaled, values) == [2 * i for i in range(200)]
    back = pool.map(lambda value: value, values)
    assert back == values and all(type(value) is Data for value in back)
    # Whatever changes between two calls is seen by the second.
    one = Plain()
    assert pool.pipe(look, one) == ("first", [1], 2)
    Plain.tag = "second"
    Plain.items.append(2)
    FACTOR = 3
    assert pool.pipe(look, one) == ("second", [1, 2], 3)
    assert pool.map(Data.scaled, values[:3]) == [0, 3, 6]
    Data.scaled = lambda self: -self.x
    assert pool.map(lambda value: value.scaled(), values[:3]) == [0, -1, -2]
    Plain.extra = 1
    assert pool.map(lambda value: hasattr(value, "extra"), [one] * 4) == [True] * 4
    del Plain.extra
    assert pool.map(lambda value: hasattr(value, "extra"), [one] * 4) == [False] * 4
    # Two classes of one name and content stay two.
    first, second = (type("Twin", (), {"__module__": "__main__"}) for _ in range(2))
    got = pool.map(lambda value: value, [first(), second()])
    assert [type(value) for value in got] == [first, second]


if __name__ == "__main__":
    with ergon.ProcessPool(2) as pool:
        checks(pool)
    print("all there")
