"""As hook.py, and workers are killed now and then while the programs run: their calls are run again."""

import os
import random
import signal
import threading

_stop = threading.Event()
_killers = []
killed = 0


def kill_now_and_then(stop, seed=5):
    """Until `stop` is set: every tenth of a second or so one of the workers that are up is killed."""
    global killed
    from ergon import _schedule

    rng = random.Random(seed)
    while not stop.wait(0.05 + rng.random() * 0.1):
        # One that starts is spared: several of those in a row are a pool that cannot start workers.
        current = _schedule._current
        workers = [] if current is None or current[0].closed else current[0].stats["workers"]
        workers = [w["pid"] for w in workers if w.get("pid") and w["state"] != "starting"]
        if workers:
            try:
                os.kill(rng.choice(workers), signal.SIGKILL)
                killed += 1
            except ProcessLookupError:
                pass


def setup(pkg, n_workers):
    pkg.configure(workers=[{"type": "multicore", "cores": n_workers}])
    _killers.append(threading.Thread(target=kill_now_and_then, args=(_stop,)))
    _killers[-1].start()


def teardown(pkg):
    _stop.set()
    _killers.pop().join()
    print("workers killed:", killed)
    pkg.shutdown()
