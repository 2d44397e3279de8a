"""Nodes: where the jobs of a server that uses other machines run, and who gives them out.

`Dispatcher` keeps the jobs that nobody has yet and gives each node as many as keep it busy. `LocalNode` is the pool of this
machine; `RemoteNode` is a connection to a server, made anew when it breaks. The jobs a node had when it was lost are given
to others.
"""

import collections
import concurrent.futures
import os
import socket
import threading
import warnings

from ergon import loads

from . import _link
from ._travel import dumps_call


class Job(concurrent.futures.Future):
    """The result of a job to come, with the methods of multiprocessing's results."""

    def __init__(self, call=None):
        super().__init__()
        self.call = call
        self.node = "local"

    def wait(self, timeout=None):
        concurrent.futures.wait([self], timeout)

    def successful(self):
        return self.done() and not self.cancelled() and self.exception() is None

    ready = concurrent.futures.Future.done
    get = concurrent.futures.Future.result


class Dispatcher:
    """Gives jobs to nodes."""

    def __init__(self):
        self._lock = threading.Lock()
        self._queue = collections.deque()
        self._nodes = []
        self._closed = False

    def nodes(self):
        with self._lock:
            return list(self._nodes)

    def add(self, node):
        with self._lock:
            if self._closed or node in self._nodes:
                return
            self._nodes.append(node)
        self.feed()

    def remove(self, node, jobs=()):
        """The node is gone; its jobs go to others, first."""
        with self._lock:
            if node in self._nodes:
                self._nodes.remove(node)
            if not self._closed:
                self._queue.extendleft(job for job in reversed(list(jobs)) if not job.done())
                jobs = ()
        for job in jobs:
            job.cancel()
        self.feed()

    def submit(self, call):
        """Run `call`, a function and a tuple of arguments, somewhere; a Job."""
        job = Job(call)
        with self._lock:
            self._queue.append(job)
        self.feed()
        return job

    def feed(self):
        """Give out what can be given out."""
        while True:
            with self._lock:
                free = [node for node in self._nodes if node.free() > 0] if self._queue else ()
                if not free:
                    return
                node = max(free, key=lambda node: node.free() / max(node.workers, 1))
                job = self._queue.popleft()
                node.busy += 1
            node.start(job)

    def finished(self, node):
        with self._lock:
            node.busy -= 1
        self.feed()

    def close(self):
        with self._lock:
            self._closed = True
            queue, self._queue = list(self._queue), collections.deque()
        for job in queue:
            job.cancel()


class LocalNode:
    """The pool of this machine."""

    def __init__(self, dispatcher, pool, workers):
        self.dispatcher, self.pool, self.workers = dispatcher, pool, workers
        self.busy = 0
        self.name = "local"

    def free(self):
        return 2 * self.workers - self.busy

    def start(self, job):
        try:
            future = self.pool.apply_async(*job.call)._future
        except Exception as error:
            self._end(job, None, error)
            return
        future.add_done_callback(lambda done: self._end(job, done, None))

    def _end(self, job, future, error):
        self.dispatcher.finished(self)
        try:
            result = None if error else future.result()
        except BaseException as failure:
            error = failure
        _settle(job, self.name, result if error is None else None, error)


def _settle(job, node, result, error):
    job.node = node
    try:
        job.set_exception(error) if error is not None else job.set_result(result)
    except concurrent.futures.InvalidStateError:
        pass  # it was cancelled


class RemoteNode:
    """A server on another machine."""

    RETRY = 5.0  # seconds between attempts to connect

    def __init__(self, dispatcher, address, secret_key):
        self.dispatcher, self.address, self.key = dispatcher, address, secret_key
        self.name = f"{address[0]}:{address[1]}"
        self.workers = self.busy = 0
        self.error = None  # why it is not connected
        self.tried = threading.Event()
        self._jobs, self._number, self._lock = {}, 0, threading.Lock()
        self._connection = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._live, name=f"ppft {self.name}", daemon=True)
        self._thread.start()

    def free(self):
        return 2 * self.workers - self.busy

    def start(self, job):
        try:
            payload = dumps_call(job.call)
        except Exception as error:
            self.dispatcher.finished(self)
            _settle(job, self.name, None, error)
            return
        with self._lock:
            if self._connection is not None:
                self._number += 1
                self._jobs[self._number] = job
                try:
                    self._connection.send_bytes(_link.pack(self._number, payload))
                except OSError:
                    pass  # the thread that reads sees it too, and hands on all jobs
                return
        self.dispatcher.finished(self)
        self.dispatcher.remove(self, [job])

    def _live(self):
        while not self._ended.is_set():
            try:
                connection, self.workers = _link.connect(self.address, self.key)
            except (OSError, EOFError) as error:
                if self.error is None:
                    warnings.warn(
                        f"ppserver {self.name}: {error}; trying again every {self.RETRY:g} seconds", stacklevel=2
                    )
                self.error = str(error) or type(error).__name__
                self.tried.set()
                self._ended.wait(self.RETRY)
                continue
            with self._lock:
                self._connection, self.busy = connection, 0
            self.error = None
            self.tried.set()
            self.dispatcher.add(self)
            self._read(connection)
            self._lose()

    def _read(self, connection):
        while True:
            try:
                number, payload = _link.unpack(connection.recv_bytes())
            except (OSError, EOFError):
                return
            with self._lock:
                job = self._jobs.pop(number, None)
            self.dispatcher.finished(self)
            if job is not None:
                try:
                    good, result = loads(payload)
                except Exception as error:
                    good, result = False, error
                _settle(job, self.name, result if good else None, None if good else result)

    def _lose(self):
        with self._lock:
            connection, self._connection = self._connection, None
            jobs, self._jobs = list(self._jobs.values()), {}
        connection.close()
        self.error = "the connection was lost"
        self.dispatcher.remove(self, jobs)

    def close(self):
        self._ended.set()
        with self._lock:
            connection = self._connection
        if connection is not None:
            try:
                with socket.socket(fileno=os.dup(connection.fileno())) as end:
                    end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._thread.join(10)
