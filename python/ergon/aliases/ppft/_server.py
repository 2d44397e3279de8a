"""The job server and its tasks."""

import concurrent.futures
import logging
import os
import threading
import time
import types

from multiprocess.pool import Pool

from ergon.errors import TaskCancelled

from . import auto, common
from ._job import Timed, call_timed, run_job
from ._link import key
from ._node import Dispatcher, Job, LocalNode, RemoteNode


class DestroyedServerError(RuntimeError):
    """The server was closed or destroyed."""


class _Task:
    """A job; calling it waits for its result, prints what the job printed, and returns the result."""

    def __init__(self, server, tid, callback=None, callbackargs=(), group="default"):
        self.server = server
        self.tid = tid
        self.callback = callback
        self.callbackargs = callbackargs
        self.group = group
        self._future = None
        self._lock = threading.Lock()
        self._told = False

    @property
    def finished(self):
        """Whether the result has arrived."""
        return self._future.done()

    def wait(self):
        """Wait for the result."""
        self._future.wait()

    def __call__(self):
        """The result; None if the job failed, its traceback is printed then."""
        try:
            _, result, output = self._future.result()
        except (TaskCancelled, concurrent.futures.CancelledError):
            raise DestroyedServerError("the server was destroyed before the job was done") from None
        with self._lock:
            told, self._told = self._told, True
        if output and not told:
            print(output, end=" ")
        return result

    def _on_done(self, future):
        self.server._finished(self, future)
        if self.callback is not None and future.successful():
            self.callback(*self.callbackargs, self())


class _Statistics:
    """What a node did."""

    def __init__(self, ncpus, rworker=None):
        self.ncpus = ncpus
        self.time = 0.0
        self.njobs = 0
        self.rworker = rworker


class Template:
    """A function with everything `Server.submit` wants to know about it; `submit` takes its arguments."""

    def __init__(
        self, job_server, func, depfuncs=(), modules=(), callback=None, callbackargs=(), group="default", globals=None
    ):
        self.job_server = job_server
        self.func = func
        self.options = (depfuncs, modules, callback, callbackargs, group, globals)

    def submit(self, *args):
        """Submit one job."""
        return self.job_server.submit(self.func, args, *self.options)


class Server:
    """Runs jobs on worker processes of this machine, and of others.

    ncpus     - how many here, "autodetect" for every processor
    ppservers - servers on other machines (see the command ppserver): a tuple of "host" or "host:port", "*" for those that
                make themselves known on the local network
    secret    - what these servers were given as well; default: the user's own key, which is made when first needed
    restart   - a new process for each job
    """

    default_port = 60000

    def __init__(self, ncpus="autodetect", ppservers=(), secret=None, restart=False, proto=2, socket_timeout=3600):
        if not isinstance(ppservers, tuple):
            raise TypeError("ppservers argument must be a tuple")
        if secret is not None and not isinstance(secret, str):
            raise TypeError("secret must be of a string type")
        self.logger = logging.getLogger("pp")
        self.secret = secret
        self.ppservers = [self._address(server) for server in ppservers if "*" not in server]
        self.auto_ppservers = [self._address(server) for server in ppservers if "*" in server]
        self.autopp_list = {}
        self.socket_timeout = socket_timeout
        self._restart = 1 if restart else None
        self._exiting = False
        self._pool = self._dispatcher = self._local_node = None
        self._waiting = set()
        self._lock = threading.Lock()
        self._tid = 0
        self._local = _Statistics(0)
        self._stats = {"local": self._local}
        self._created = time.time()
        if ppservers:
            self._dispatcher = Dispatcher()
        self.set_ncpus(ncpus)
        self._connect()

    def _address(self, server):
        host, _, port = server.partition(":")
        return host, int(port) if port else self.default_port

    # Servers on other machines

    def _connect(self):
        for host, port in self.ppservers:
            self.connect1(host, port)
        for node in self._remote():
            node.tried.wait(10)
        for host, port in self.auto_ppservers:
            host = "*.*.*.*" if host == "*" else host
            discover = auto.Discover(self, isclient=True)
            ends = ((host.replace("*", "0"), port), (host.replace("*", "255"), port))
            common.start_thread("ppft discovery", discover.run, ends)

    def connect1(self, host, port, persistent=True):
        """Use the server at an address, from when it can be reached."""
        name = f"{host}:{port}"
        if name in self._stats or self._exiting:
            return
        node = RemoteNode(self._dispatcher, (host, port), key(self.secret))
        self._stats[name] = _Statistics(0, node)
        if not persistent:
            self.autopp_list[name] = 1

    def _remote(self):
        return [stat.rworker for stat in list(self._stats.values()) if stat.rworker is not None]

    # Jobs

    def submit(
        self, func, args=(), depfuncs=(), modules=(), callback=None, callbackargs=(), group="default", globals=None
    ):
        """Call `func(*args)` in a worker; a task.

        Functions take along what they refer to. Beyond that, `modules` (names) and `depfuncs` become globals of
        `func`, as do the modules and functions in `globals`. `callback(*callbackargs, result)` is called
        when the job is done. `group` is a name for `wait`.
        """
        for name, value in (
            ("args", args),
            ("depfuncs", depfuncs),
            ("modules", modules),
            ("callbackargs", callbackargs),
        ):
            if not isinstance(value, tuple):
                raise TypeError(f"{name} argument must be a tuple")
        if not all(isinstance(module, str) for module in modules):
            raise TypeError("modules argument must be a tuple of strings")
        if globals is not None:
            if not isinstance(globals, dict):
                raise TypeError("globals argument must be a dictionary")
            modules, depfuncs = _from_globals(globals, modules, depfuncs)
        start = self._running()
        with self._lock:
            task = _Task(self, self._tid, callback, callbackargs, group)
            self._tid += 1
            self._waiting.add(task)
        task._future = start(run_job, (func, args, depfuncs, modules))
        task._future.add_done_callback(task._on_done)
        return task

    def wait(self, group=None):
        """Wait for the jobs of a group, or for all."""
        with self._lock:
            tasks = [task for task in self._waiting if not group or task.group == group]
        for task in tasks:
            task.wait()

    def _finished(self, task, future):
        took = future.result()[0] if future.successful() else None
        with self._lock:  # both at once: whoever reads the statistics meanwhile sees it waiting, or counted
            if task not in self._waiting:
                return
            self._waiting.discard(task)
            if took is not None:
                stat = self._stats.get(getattr(future, "node", "local"), self._local)
                stat.njobs += 1
                stat.time += took

    # Calls for pathos, which raise what the function raises

    def _call(self, method, func, args, kwds):
        """Call a method of the pool with `func`; what the results say about their time is taken off."""
        start = self._running()
        if self._dispatcher is not None:
            return self._call_anywhere(start, method, func, args, kwds)
        pool, timed = self._pool, Timed(func)
        if method == "pipe":
            return self._untimed(pool.apply(timed, args, kwds))
        if method == "map":
            return list(map(self._untimed, pool._map(timed, args)))
        if method in ("imap", "uimap"):
            return map(self._untimed, getattr(pool, "_" + method)(timed, args))
        if method == "apipe":
            return _Untimed(pool.apply_async(timed, args, kwds)._future, self._untimed)
        future = pool._amap(timed, args)._future
        return _Untimed(future, lambda items: list(map(self._untimed, items)))

    def _call_anywhere(self, start, method, func, args, kwds):
        if method in ("pipe", "apipe"):
            future = _Untimed(start(call_timed, (func, [(args, kwds)])), lambda items: self._untimed(items[0]))
            return future if method == "apipe" else future.result()
        calls = [(items, {}) for items in zip(*args)]
        workers = self._local.ncpus + sum(node.workers for node in self._remote())
        size = max(1, len(calls) // (4 * max(workers, 1))) if method in ("map", "amap") else 1
        jobs = [start(call_timed, (func, calls[i : i + size])) for i in range(0, len(calls), size)]
        if method == "uimap":
            done = concurrent.futures.as_completed(jobs)
        else:
            done = iter(jobs)
        if method in ("imap", "uimap"):
            return (self._untimed(job.result()[0], job.node) for job in done)
        whole = _Untimed(_gathered(jobs), lambda jobs: [self._untimed(t, j.node) for j in jobs for t in j.result()])
        return whole if method == "amap" else whole.result()

    def _untimed(self, timed, node="local"):
        self._count(timed[0], node)
        return timed[1]

    # Workers

    def get_ncpus(self):
        """How many workers this machine gives."""
        return self._local.ncpus

    def set_ncpus(self, ncpus="autodetect"):
        """Change how many workers this machine gives."""
        if ncpus == "autodetect":
            ncpus = os.cpu_count() or 1
        if not isinstance(ncpus, int):
            raise TypeError("ncpus must have 'int' type")
        if ncpus < 0:
            raise ValueError("ncpus must not be negative")
        old, self._pool = self._pool, None
        if old is not None:
            old.close()  # finishes what it has
        if self._local_node is not None:
            self._dispatcher.remove(self._local_node)
            self._local_node = None
        self._local.ncpus = ncpus
        if not self._exiting:
            self._open()

    def _open(self):
        if self._local.ncpus:
            self._pool = Pool(self._local.ncpus, maxtasksperchild=self._restart)
            if self._dispatcher is not None:
                self._local_node = LocalNode(self._dispatcher, self._pool, self._local.ncpus)
                self._dispatcher.add(self._local_node)

    def _running(self):
        """What starts a call: a function of (func, args) that returns its future."""
        if self._exiting:
            raise DestroyedServerError("the server takes no more jobs")
        if self._dispatcher is not None:
            remote = self._remote()
            if self._pool is None and remote and all(node.error for node in remote) and not self.auto_ppservers:
                words = "; ".join(f"{node.name}: {node.error}" for node in remote)
                raise ValueError(f"the server has no workers: ncpus is 0, and {words}")
            return lambda func, args: self._dispatcher.submit((func, args))
        if self._pool is None:
            raise ValueError("the server has no workers: ncpus is 0 and no other machine is in use")
        return lambda func, args: self._pool.apply_async(func, args)._future

    # Statistics

    def _count(self, seconds, node="local"):
        with self._lock:
            stat = self._stats.get(node, self._local)
            stat.njobs += 1
            stat.time += seconds

    def get_active_nodes(self):
        """The nodes and how many workers each has."""
        self._refresh()
        nodes = {name: stat.ncpus for name, stat in self._stats.items() if stat.rworker and not stat.rworker.error}
        return {"local": self._local.ncpus, **nodes}

    def get_stats(self):
        """The nodes and what each did."""
        with self._lock:
            waiting = list(self._waiting)
        for task in waiting:  # a result may have been read before its callback was called
            if task._future is not None and task._future.done():
                self._finished(task, task._future)
        self._refresh()
        return dict(self._stats)

    def _refresh(self):
        for stat in list(self._stats.values()):
            if stat.rworker is not None:
                stat.ncpus = stat.rworker.workers

    def print_stats(self):
        """Print what was done."""
        print("Job execution statistics:")
        print(" job count | % of all jobs | job time sum | time per job | job server")
        stats = self.get_stats()
        total = sum(stat.njobs for stat in stats.values())
        for name, stat in stats.items():
            if stat.njobs:
                print(
                    f"    {stat.njobs:6} |        {100.0 * stat.njobs / total:6.2f} |     {stat.time:8.4f} |"
                    f"  {stat.time / stat.njobs:11.6f} | {name}"
                )
        print(f"Time elapsed since server creation {time.time() - self._created}")
        print(f"{len(self._waiting)} active tasks, {self._local.ncpus} cores\n", flush=True)

    # Life

    def close(self):
        """Take no more jobs; those that were submitted are finished."""
        self._exiting = True

    def _join(self):
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()
            pool.join()

    def _reopen(self):
        self._exiting = False
        if self._pool is None:
            self._open()

    def destroy(self):
        """End the workers at once, and the connections to servers."""
        self._exiting = True
        if self._dispatcher is not None:
            self._dispatcher.close()
            for node in self._remote():
                node.close()
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()


def _gathered(jobs):
    """A Job that is done when all of a list are; its result is the list."""
    whole, left, lock = Job(), [len(jobs)], threading.Lock()

    def one_done(job):
        with lock:
            left[0] -= 1
            last = left[0] == 0
        if last:
            whole.set_result(jobs)

    for job in jobs:
        job.add_done_callback(one_done)
    if not jobs:
        whole.set_result(jobs)
    return whole


class _Untimed:
    """A future whose result still carries times, seen as one without."""

    def __init__(self, future, strip):
        self._future = future
        self._strip = strip
        self._lock = threading.Lock()
        self._kept = ()

    def __getattr__(self, name):
        return getattr(self._future, name)

    def result(self, timeout=None):
        """The result without times."""
        value = self._future.result(timeout)
        with self._lock:
            if not self._kept:
                self._kept = (self._strip(value),)
        return self._kept[0]


def _from_globals(globals, modules, depfuncs):
    """The modules and functions among `globals`, added to those named."""
    found = [value for name, value in globals.items() if not name.startswith("__")]
    modules += tuple(value.__name__ for value in found if isinstance(value, types.ModuleType))
    depfuncs += tuple(value for value in found if isinstance(value, types.FunctionType))
    return tuple(dict.fromkeys(modules)), depfuncs
