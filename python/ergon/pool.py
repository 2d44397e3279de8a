"""Pools: ``map`` and ``pipe`` over worker processes and threads.

>>> with ergon.ProcessPool(4) as pool:
...     pool.map(pow, [1, 2, 3], [2, 2, 2])
[1, 4, 9]
"""

from . import _core
from ._core import Future
from ._methods import Methods, check_opening, seconds
from .errors import LaunchError
from .serial import SerialPool

__all__ = ["Future", "Pool", "ProcessPool", "RemotePool", "SerialPool", "ThreadPool"]


def _cores():
    import os

    try:
        return len(os.sched_getaffinity(0)) or 1
    except AttributeError:
        return os.cpu_count() or 1


def _configured():
    """The resources configure() was given, or those of the configuration file; None without either."""
    import sys

    from . import config

    schedule = sys.modules.get(f"{__package__}._schedule")  # where configure() is
    if schedule is not None and schedule._workers is not None:
        return config.resources(schedule._workers)
    return None if config.find() is None else config.resources(config.workers() or ())


def _count(n, what):
    if n is None:
        return _cores()
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"{what} takes a number of workers, not {n!r}")
    if (n := n.__index__()) < 1:
        raise ValueError(f"{what} takes at least 1 worker, not {n}")
    if n > _MOST:
        raise ValueError(
            f"{what} takes at most {_MOST} workers, what a pool's task table has room for, not {_short(n)}"
        )
    if n > _ASK_ABOVE and n > (most := _allowed()):
        raise ValueError(f"{what}: this user may have at most {most} processes and threads (ulimit -u), not {n}")
    return n


_MOST, _ASK_ABOVE = 1000, 64


def _short(n):
    return str(n) if n < 10**12 else "a number of more than 12 digits"


def _allowed():
    """Processes and threads this user may have; the superuser may have any number."""
    import os
    import resource

    soft = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    return _MOST if soft == resource.RLIM_INFINITY or os.geteuid() == 0 else soft


class Pool(Methods, _core.Pool):
    """A pool of any mix of resources: ``Pool("local:4", "threads:2")``; without any, those of the configuration file
    (see `ergon.config`), and without a file every core of this machine.

    Resources: ``"local:N"`` worker processes, ``"threads:N"`` worker threads, ``"serial"`` one worker thread,
    ``"ssh://user@host:22?slots=8"`` workers of another host, ``"tcp://host:port?key=FILE"`` those of a server (docs/hosts.md). With
    processes in the mix arguments are copies, as with multiprocessing; a pool of threads alone passes objects as they are.
    Calls start as soon as one resource is up; the others join as they come. Only when none comes up, calls raise LaunchError
    naming all of them; require="all": the constructor waits for all of them, and raises it for any that does not come.

    initializer(*initargs) runs in each worker before its first task. max_tasks: a worker process is replaced after that
    many calls. stop_limit: seconds a worker may be stopped (SIGSTOP) before it counts as lost. grace: seconds between
    interrupting a call and killing its worker. stage_in, stage_out: names of files every call through the pool needs on other
    hosts, and leaves there (docs/hosts.md). lineage: bytes of arguments kept at most so that results which are lost with another
    host can be made again (docs/hosts.md); None: an eighth of the memory. Raises ConfigError, LaunchError.
    """

    _preload = 0  # what the process that workers are forked from has imported: _worker.zygote_argv

    def __init__(
        self,
        *resources,
        initializer=None,
        initargs=(),
        max_tasks=0,
        stop_limit=30.0,
        grace=1.0,
        require="first",
        stage_in=None,
        stage_out=None,
        lineage=None,
    ):
        from ._resources import split

        processes, threads, places = split(resources or _configured() or ("local",), _cores)
        self._open(
            processes,
            threads,
            initializer,
            initargs,
            max_tasks,
            stop_limit,
            grace,
            places,
            require,
            stage_in,
            stage_out,
            lineage,
        )

    def _open(
        self,
        processes,
        threads,
        initializer=None,
        initargs=(),
        max_tasks=0,
        stop_limit=30.0,
        grace=1.0,
        places=(),
        require="first",
        stage_in=None,
        stage_out=None,
        lineage=None,
    ):
        check_opening(initializer, max_tasks, require, lineage)
        stop_limit = seconds("stop_limit", stop_limit, never=-1.0)
        grace = seconds("grace", grace)
        if stage_in is not None or stage_out is not None:
            from ._stage import checked

            stage_in = stage_in and checked("stage_in", stage_in)
            stage_out = stage_out and checked("stage_out", stage_out)
        from ._worker import message

        hosts = answers = None
        if places:
            from ._ask import Answers
            from ._places import specs

            answers = Answers({place.name: place.tmp_dir for place in places})
            hosts = specs(places, initializer, initargs, keeps=not self._preload)
        self._setup = initializer, initargs
        _core.Pool.__init__(
            self,
            processes,
            threads,
            message(initializer, initargs, keeps=not self._preload) if processes or places else b"",
            max_tasks=max_tasks or 0,
            stop_limit=stop_limit,
            grace=grace,
            thread_setup=initializer and (initializer, tuple(initargs)),
            preload=self._preload,
            places=hosts,
            asked=answers,
            stage_in=stage_in,
            stage_out=stage_out,
            lineage=0 if lineage is None else lineage or -1,
        )
        if require == "all":
            self._wait_for_all()

    def _wait_for_all(self):
        """Waits until every resource is up; ends the pool and raises LaunchError when one does not come up."""
        import time

        wanted = self.processes + self.threads
        try:
            while any(place["state"] == "starting" for place in self._places()):
                time.sleep(0.005)
            missing = [place["words"] for place in self._places() if place["state"] in ("failed", "lost")]
            if missing:
                raise LaunchError("; ".join(missing))
            self._wait_up(wanted + sum(place["slots"] for place in self._places()), -1)
        except BaseException:
            self.terminate()
            raise

    @property
    def nodes(self):
        """The number of workers; assigning changes it (of processes, where there are any)."""
        return self.processes + self.threads + sum(p["slots"] for p in self._places() if p["state"] == "up")

    @nodes.setter
    def nodes(self, n):
        n = _count(n, "nodes")
        if self.processes:
            self._resize(max(n - self.threads, 1), -1)
        else:
            self._resize(-1, n)

    @property
    def stats(self):
        """A dict: ``workers`` (one dict each), ``memory_bytes``, and counts of what was started, lost, retried."""
        return {"workers": self._workers(), "hosts": self._places(), **self._counts()}

    def restart(self):
        """Opens a closed or terminated pool again, with fresh workers; likewise one whose workers do not come up. Nothing if
        it is open."""
        from ._worker import message

        processes = self.closed and self.processes
        self._restart(message(*self._setup, keeps=not self._preload) if processes else b"")

    def clear(self):
        """Close, wait for what was entered, and leave a fresh pool in place of this one."""
        self.close()
        self.join()
        self.restart()

    def _join_all(self):
        # An endless iterator somebody still holds does not keep the block from ending.
        self.join(unsized=False)

    def __repr__(self):
        state = "closed" if self.closed else "open"
        hosts = f", {len(places)} hosts" if (places := self._places()) else ""
        return f"<ergon.{type(self).__name__} {state}, {self.processes} processes, {self.threads} threads{hosts}>"


class ProcessPool(Pool):
    """A pool of ``n`` worker processes on this machine; every core if n is None."""

    def __init__(self, n=None, **keywords):
        self._open(_count(n, "ProcessPool"), 0, **keywords)


class ThreadPool(Pool):
    """A pool of ``n`` worker threads; every core if n is None. Objects are passed as they are, not copied."""

    def __init__(self, n=None, **keywords):
        self._open(0, _count(n, "ThreadPool"), **keywords)


class RemotePool(Pool):
    """A pool of workers on other hosts, reached through ssh: ``RemotePool("a", "user@b:8")``.

    The number behind the colon is that of workers, one for each of the host's cores without it. Resources such as
    ``"ssh://b:22?slots=8"`` and ``"tcp://…"`` stand for themselves.
    """

    def __init__(self, *hosts, **keywords):
        from ._resources import remote

        if not hosts:
            raise TypeError("RemotePool takes the names of hosts")
        self._open(0, 0, places=[remote(host) for host in hosts], **keywords)
