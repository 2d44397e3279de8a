"""Random programs behave the same with and without the decorators."""

import os
import pathlib
import random
import sys
import threading
import time

import ergon
import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "flow"))
import generate  # noqa: E402
import killing  # noqa: E402
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
@pytest.mark.parametrize("programs", [generate, unusual], ids=["usual", "unusual"])
def test_seeded_while_workers_die(programs, rounds):
    """A worker killed now and then changes nothing: its calls are run again."""
    stop = threading.Event()
    thread = threading.Thread(target=killing.kill_now_and_then, args=(stop,))
    thread.start()
    try:
        for seed in range(5000, 5000 + 60 * len(rounds)):
            difference = generate.compare(programs.from_seed(seed), DECORATE)
            assert difference is None, f"seed {seed}\n{difference}"
    finally:
        stop.set()
        thread.join()
