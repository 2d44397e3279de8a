"""The serializer, one kind of data at a time: against pickle (protocol 5), cloudpickle and dill.

dumps() and loads() of plain data should be no slower than pickle's (instances 1.5 and 2 times faster); the aim for dumps() is 1.5 times
everywhere. NumPy arrays go out of band: buffer_callback= and buffers=, of both libraries. Functions and classes travel by value. Peers that are
not installed are left out."""

import os
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import collections
import contextlib
import datetime
import importlib
import importlib.util
import pickle
import time

from bench import harness
from bench import pickle as here  # instances of Record must be importable under one name


class Record:
    def __init__(self, i):
        self.number = i
        self.double = i * 2.0
        self.name = f"record {i}"
        self.next = None


class Items(list):
    pass


class Mapping(dict):
    pass


class Tagged(str):
    pass


class Lookup(Record):
    def __getattr__(self, name):
        raise AttributeError(name)


class Stateful(Record):
    def __getstate__(self):
        return self.__dict__

    def __setstate__(self, state):
        self.__dict__.update(state)


class Reduced(Record):
    def __reduce__(self):
        return here.Reduced, (self.number,)


Point = collections.namedtuple("Point", "x y")

KINDS = {
    "an int": (lambda: 5, 2000),
    "1000 ints": (lambda: list(range(1000)), 200),
    "1000 floats": (lambda: [i / 7 for i in range(1000)], 200),
    "1000 strings": (lambda: [f"string {i}" for i in range(1000)], 100),
    "1000 bytes objects": (lambda: [b"%d" % i for i in range(1000)], 100),
    "300 dicts": (lambda: [{"id": i, "name": f"n{i}", "value": i / 3, "tags": ["a", "b"]} for i in range(300)], 50),
    "1000 tuples": (lambda: [(i, str(i)) for i in range(1000)], 50),
    "nested containers": (lambda: {str(i): [[j, (j, {"x": j})] for j in range(10)] for i in range(30)}, 50),
    "1000 instances": (lambda: [here.Record(i) for i in range(1000)], 20),
    "300 sets": (lambda: [{i, i + 1, i + 2} for i in range(300)], 50),
    "a set of 1000 strings": (lambda: {f"string {i}" for i in range(1000)}, 50),
    "300 subclassed lists": (lambda: [here.Items([i, i]) for i in range(300)], 20),
    "300 subclassed dicts": (lambda: [here.Mapping(a=i, b=i) for i in range(300)], 20),
    "300 subclassed strings": (lambda: [here.Tagged(i) for i in range(300)], 20),
    "300 ordered dicts": (lambda: [collections.OrderedDict(a=i, b=i) for i in range(300)], 10),
    "300 deques": (lambda: [collections.deque([i, i]) for i in range(300)], 10),
    "300 named tuples": (lambda: [here.Point(i, i) for i in range(300)], 20),
    "300 dates": (lambda: [datetime.datetime(2020, 1, 1, 0, i // 60, i % 60) for i in range(300)], 20),
    "300 objects with __getattr__": (lambda: [here.Lookup(i) for i in range(300)], 20),
    "300 objects with __getstate__": (lambda: [here.Stateful(i) for i in range(300)], 20),
    "300 objects with __reduce__": (lambda: [here.Reduced(i) for i in range(300)], 20),
}


def function():
    def plain(x, y=2):
        return x * y

    return plain


def closure():
    factor, offset = 3, [1, 2]

    def scaled(x, extra=0):
        return factor * x + offset[0] + extra

    return scaled


def local_class():
    class Local:
        "its doc"

        def __init__(self, x):
            self.x = x

        def method(self):
            return self.x

        @property
        def value(self):
            return 2

    return Local


def timed(call, loops):
    """A contender: seconds of one call, over so many in a row."""

    @contextlib.contextmanager
    def enter():
        run_one = call()

        def run():
            start = time.perf_counter()
            for _ in range(loops):
                run_one()
            return (time.perf_counter() - start) / loops

        yield run

    return enter


def dumping(library, make, loops):
    def prepare():
        dumps, value = importlib.import_module(library).dumps, make()
        return lambda: dumps(value, 5)

    return timed(prepare, loops)


def loading(library, make, loops):
    def prepare():
        module = importlib.import_module(library)
        loads, data = module.loads, module.dumps(make(), 5)
        return lambda: loads(data)

    return timed(prepare, loops)


def arrays(count, size):
    import numpy

    return [numpy.full(size, float(i)) for i in range(count)]


# Arrays out of band: how many, of how many numbers.
ARRAYS = {"an array of 8 MB": (lambda: arrays(1, 10**6), 200), "100 arrays of 8 KB": (lambda: arrays(100, 1000), 20)}


def dumping_out_of_band(library, make, loops):
    def prepare():
        dumps, value = importlib.import_module(library).dumps, make()
        return lambda: dumps(value, 5, buffer_callback=[].append)

    return timed(prepare, loops)


def loading_out_of_band(library, make, loops):
    def prepare():
        module, buffers = importlib.import_module(library), []
        loads, data = module.loads, module.dumps(make(), 5, buffer_callback=buffers.append)
        return lambda: loads(data, buffers=buffers)

    return timed(prepare, loops)


DUMPING = (dumping, dumping_out_of_band)


def question(way, name, make, loops, peer, target, aim=""):
    return harness.Question(
        key=f"{way.__name__}_{name.replace(' ', '_')}_{peer}",
        what=f"{'dumps' if way in DUMPING else 'loads'} of {name}",
        aim=aim,
        unit="µs",
        peer=peer,
        target=target,
        contenders={library: way(library, make, loops) for library in ("ergon", peer)},
    )


def plain_questions():
    for name, (make, loops) in KINDS.items():
        records = name == "1000 instances"
        yield question(dumping, name, make, loops, "pickle", 1.5 if records else 1, "1.5 times")
        yield question(loading, name, make, loops, "pickle", 2 if records else 1)


def array_questions():
    for name, (make, loops) in ARRAYS.items() if importlib.util.find_spec("numpy") else ():
        # Most of it is NumPy's own: what an array says about itself, and making one of that.
        yield question(dumping_out_of_band, f"{name}, out of band", make, loops, "pickle", 0.95)
        yield question(loading_out_of_band, f"{name}, out of band", make, loops, "pickle", 1)


def by_value_questions():
    for make in (function, closure, local_class):
        name = "a " + make.__name__.replace("_", " ")
        yield question(dumping, name, make, 100, "cloudpickle", 3)
        yield question(dumping, name, make, 20, "dill", 20)
        yield question(loading, name, make, 100, "cloudpickle", 1)
    yield question(dumping, "300 dicts", KINDS["300 dicts"][0], 3, "dill", 50)


def answerable(asked):
    """Peers that are not installed are left out."""
    return importlib.util.find_spec(asked.peer) is not None


QUESTIONS = [*plain_questions(), *array_questions(), *filter(answerable, by_value_questions())]

if __name__ == "__main__":
    assert pickle.HIGHEST_PROTOCOL >= 5
    harness.main(__file__, QUESTIONS, __doc__)
