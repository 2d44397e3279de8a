"""dumps and loads: plain data against pickle, a closure against dill and cloudpickle."""

import os
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import contextlib
import pickle
import time

from bench import harness

LOOPS = 300


def plain():
    """What programs send about: numbers, strings, records, nested containers; small and large."""
    record = {"name": "Ada", "id": 17, "tags": ["a", "b"], "weight": 1.5, "active": True, "parent": None}
    return [
        1,
        "text",
        (1, 2.5, "three"),
        record,
        list(range(1000)),
        [i / 7 for i in range(1000)],
        [f"line {i}" for i in range(500)],
        {f"key{i}": i for i in range(500)},
        [dict(record, id=i) for i in range(100)],
        [[(i, (str(i), [i])) for i in range(50)] for _ in range(4)],
    ]


def contender(load, make, step):
    """step(dumps or loads, thing): what is timed, over all of make()."""

    @contextlib.contextmanager
    def enter():
        library = load()
        things = make(library)

        def run():
            start = time.perf_counter()
            for _ in range(LOOPS):
                for thing in things:
                    step(library, thing)
            return (time.perf_counter() - start) / LOOPS

        yield run

    return enter


def dumped(library, thing):
    library.dumps(thing, 5)


def loaded(library, thing):
    library.loads(thing)


def closure(library):
    factor, offset = 3, [1, 2]

    def scaled(x, extra=0):
        return factor * x + offset[0] + extra

    return [scaled]


def imported(name):
    def load():
        return __import__(name)

    return load


def against(key, what, peer, target, names, make, step, unit="µs"):
    return harness.Question(
        key=key,
        what=what,
        unit=unit,
        peer=peer,
        target=target,
        contenders={name: contender(imported(name), make, step) for name in names},
    )


QUESTIONS = [
    against("dumps_plain", "dumps of plain data", "pickle", 1, ["ergon", "pickle"], lambda library: plain(), dumped),
    against(
        "loads_plain",
        "loads of plain data",
        "pickle",
        1,
        ["ergon", "pickle"],
        lambda library: [pickle.dumps(thing, 5) for thing in plain()],
        loaded,
    ),
    against("dumps_closure_dill", "dumps of a closure", "dill", 20, ["ergon", "dill"], closure, dumped),
    against("dumps_closure_cloudpickle", "the same", "cloudpickle", 2, ["ergon", "cloudpickle"], closure, dumped),
]

if __name__ == "__main__":
    harness.main(__file__, QUESTIONS, __doc__)
