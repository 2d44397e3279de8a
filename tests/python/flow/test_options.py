"""Options of functionals: how often, how long, where."""

import os
import signal
import time

import ergon
import pytest
from ergon import functional, schedule
from ergon.errors import TaskTimeout, WorkerLost


@pytest.fixture(autouse=True, scope="module")
def workers():
    ergon.configure(workers=[{"type": "multicore", "cores": 2}])
    yield
    ergon.configure()


@functional(timeout=2)
def sleeps(seconds):
    time.sleep(seconds)
    return seconds


@functional(retries=0)
def dies(pid, x):
    if os.getpid() != pid and x == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def test_a_call_that_takes_too_long_raises_in_its_turn():
    met = []

    @schedule
    def run(values):
        for value in values:
            met.append(sleeps(value))

    with pytest.raises(TaskTimeout):
        run([0.01, 0.02, 60, 0.03])
    assert met == [0.01, 0.02]


def test_elsewhere_there_is_no_limit():
    assert sleeps(2.1) == 2.1


def test_a_call_that_may_not_be_made_again_raises():
    @schedule
    def run(pid):
        return [dies(pid, x) for x in range(4)]

    with pytest.raises(WorkerLost):
        run(os.getpid())


@functional
def ends(pid, how, x):
    if os.getpid() != pid and x == 2:
        how(os.getpid())
    return x


def crash(pid):
    os.kill(pid, signal.SIGSEGV)


def leave(pid):
    os._exit(3)


def kill(pid):
    os.kill(pid, signal.SIGKILL)


def terminate(pid):
    os.kill(pid, signal.SIGTERM)
    time.sleep(60)


@schedule
def all_end(pid, how):
    return [ends(pid, how, x) for x in range(4)]


@pytest.mark.parametrize("how", [kill, terminate])
def test_a_call_whose_workers_are_killed_is_made_in_place(how):
    assert all_end(os.getpid(), how) == [0, 1, 2, 3]


@pytest.mark.parametrize("how", [crash, leave])
def test_a_call_that_ends_its_workers_is_not(how):
    with pytest.raises(WorkerLost):
        all_end(os.getpid(), how)


def test_where_calls_run():
    @functional(resources={"kind": "process"})
    def where(x):
        time.sleep(0.001)
        return os.getpid()

    @functional(resources={"host": "nowhere"})
    def nowhere(x):
        return x

    @schedule
    def run(f):
        return {f(x) for x in range(8)}

    assert os.getpid() not in run(where)
    with pytest.raises(ValueError, match="nowhere"):
        run(nowhere)


def test_wrong_options_are_told_at_once():
    with pytest.raises(ValueError, match="timeout"):
        functional(timeout=-1)
    with pytest.raises(ValueError, match="resources"):
        functional(resources={"planet": "mars"})
    with pytest.raises((TypeError, ValueError)):
        functional(retries="often")
    with pytest.raises(TypeError, match="unexpected keyword"):
        functional(colour="red")

    async def later():
        pass

    with pytest.raises(TypeError, match="async"):
        functional(later, timeout=3)


def test_the_same_function_with_other_options():
    plain = functional(sleeps._function)
    assert functional(plain) is plain
    other = functional(plain, timeout=5, retries=1)
    assert other is not plain and (other._timeout, other._retries, plain._timeout, plain._retries) == (5, 1, 0, 3)
