"""Random programs behave the same with and without the decorators."""

import pathlib
import random
import sys

import ergon
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "flow"))
import generate  # noqa: E402

DECORATE = ergon.schedule, ergon.functional


@pytest.fixture(autouse=True, scope="module")
def workers():
    ergon.configure(workers=[{"type": "multicore", "cores": 3}])
    yield
    ergon.configure()


@given(st.data())
def test_drawn(data):
    def pick(n):
        return data.draw(st.integers(0, n - 1))

    text = generate.Program(pick).text()
    assert generate.compare(text, DECORATE) is None, text


@pytest.mark.slow
@settings(max_examples=300)
@given(st.integers(0, 2**32))
def test_seeded(seed):
    difference = generate.compare(generate.from_seed(seed), DECORATE)
    assert difference is None, f"seed {seed}\n{difference}"


@pytest.mark.slow
def test_seeded_while_workers_die():
    """A worker killed now and then changes nothing: its calls are run again."""
    import os
    import signal
    import threading

    from ergon import _schedule

    stop = threading.Event()
    rng = random.Random(5)

    def killer():
        while not stop.wait(0.05 + rng.random() * 0.1):
            # One that starts is spared: several of those in a row are a pool that cannot start workers.
            workers = [w for w in _schedule._pool().stats["workers"] if w.get("pid") and w["state"] != "starting"]
            if workers:
                try:
                    os.kill(rng.choice(workers)["pid"], signal.SIGKILL)
                except ProcessLookupError:
                    pass

    thread = threading.Thread(target=killer)
    thread.start()
    try:
        for seed in range(5000, 5060):
            difference = generate.compare(generate.from_seed(seed), DECORATE)
            assert difference is None, f"seed {seed}\n{difference}"
    finally:
        stop.set()
        thread.join()
