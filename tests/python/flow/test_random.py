"""Random programs behave the same with and without the decorators."""

import os
import pathlib
import random
import sys
import time

import ergon
import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "flow"))
import generate  # noqa: E402
import unusual  # noqa: E402

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

    text = generate.Program(pick, data.draw(st.sampled_from(generate.KINDS))).text()
    assert generate.compare(text, DECORATE) is None, text


@pytest.mark.slow
@pytest.mark.parametrize("programs", [generate, unusual], ids=["usual", "unusual"])
def test_seeded_for_a_while(programs):
    """$ERGON_RANDOM_SECONDS makes it hours; $ERGON_RANDOM_SEED repeats a run."""
    seconds = float(os.environ.get("ERGON_RANDOM_SECONDS", "40"))
    first = int(os.environ.get("ERGON_RANDOM_SEED", "0")) or random.SystemRandom().randrange(1, 2**40)
    until, seed = time.monotonic() + seconds, first
    while time.monotonic() < until or seed == first:
        difference = generate.compare(programs.from_seed(seed), DECORATE)
        assert difference is None, f"seed {seed}\n{difference}"
        seed += 1


@pytest.mark.slow
def test_seeded_while_workers_die():
    """A worker killed now and then changes nothing: its calls are run again."""
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
