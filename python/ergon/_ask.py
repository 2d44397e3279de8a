"""What workers on other hosts ask of the process that opened their pool: modules they lack, and files.

A question is a tuple whose first item says its kind. `Answers` answers, in a thread of the pool's; `line` asks.
"""

import marshal
import os

from . import _core

__all__ = ["Answers", "line"]

_HEAD = 12  # bytes before each message: its length, its number, flags
_FOLDER = 1  # a question's flag: for the agent itself (agent_ask.h)


class Answers:
    """The owner's side: called with a place's name and a question as bytes, returns the answer as bytes.

    folders: the tmp_dir of each place, by name.
    """

    def __init__(self, folders=None):
        self._modules = self._files = None
        self._folders = folders

    @property
    def modules(self):
        if self._modules is None:
            from ._ship import Modules

            self._modules = Modules()
        return self._modules

    @property
    def files(self):
        if self._files is None:
            from ._stage import Files

            self._files = Files(self._folders)
        return self._files

    def __call__(self, place, question):
        try:
            kind, *rest = marshal.loads(question)
            if kind == "module":
                found = self.modules.find(*rest)
            elif kind == "resources":
                found = self.modules.resources(*rest)
            elif kind == "stage":
                found = self.files.answer(place, *rest)
            else:
                raise ValueError(f"a question of an unknown kind: {kind!r}")
            return marshal.dumps((None, found))
        except OSError as error:
            return marshal.dumps(((error.errno or 0, error.strerror or str(error)), None))
        except Exception as error:  # whatever it is, it is the asker's
            return marshal.dumps(((0, f"{type(error).__name__}: {error}"), None))


class Line:
    """A worker's connection to its agent, which passes questions on. One thread at a time: hold `lock`."""

    def __init__(self, fd, name):
        import _thread

        self.fd, self.name, self.pid = fd, name, os.getpid()
        self.lock = _thread.RLock()
        self.number = 0

    def send(self, data, flags=0):
        """Asks; the number the answer will have."""
        self.number = self.number + 1 & 0xFFFFFFFF
        import sys

        head = b"".join(n.to_bytes(4, sys.byteorder) for n in (len(data), self.number, flags))
        view = memoryview(head + data)
        while view:
            view = view[os.write(self.fd, view) :]
        return self.number

    def _read(self, n):
        data = bytearray()
        while len(data) < n:
            more = os.read(self.fd, n - len(data))
            if not more:
                raise OSError("the agent of this worker has gone")
            data += more
        return bytes(data)

    def receive(self):
        """(number, answer) of the next answer: bytes, or None when nobody answers questions there."""
        import sys

        head = self._read(_HEAD)
        length, number, flags = (int.from_bytes(head[at : at + 4], sys.byteorder) for at in (0, 4, 8))
        return number, None if flags else self._read(length)

    def name_folder(self, path):
        """Tells the agent of a folder that it shall remove at its end. OSError."""
        with self.lock:
            number, data = self.send(os.fsencode(path), _FOLDER), None
            while number is not None:
                came, data = self.receive()
                number = None if came == number else number
        if data is None:
            raise OSError("the agent of this worker does not take the folder")

    def close(self):
        global _line
        if _line is self:
            _line = None
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def ask_all(self, questions, window=8):
        """Yields the answers to an iterable of questions, in order; some are under way at a time. OSError."""
        with self.lock:
            try:
                yield from self._ask_all(iter(questions), window)
            except BaseException:  # answers that still come are nobody's
                self.close()
                raise

    def _ask_all(self, questions, window):
        waiting, come, more = [], {}, True
        while True:
            while more and len(waiting) < window:
                question = next(questions, None)
                if question is None:
                    more = False
                else:
                    waiting.append(self.send(marshal.dumps(question)))
            if not waiting:
                return
            first = waiting.pop(0)
            while first not in come:
                number, data = self.receive()
                come[number] = data
            yield _opened(come.pop(first))

    def ask(self, *question):
        """The answer to one question. OSError with the owner's words."""
        (answer,) = self.ask_all([question])
        return answer


def _opened(data):
    if data is None:
        raise OSError("the pool's owner answers no questions")
    error, value = marshal.loads(data)
    if error is not None:
        raise OSError(*error)
    return value


_line = None


def line():
    """This worker's line; None when it works on its owner's host. OSError when the agent cannot be reached."""
    global _line
    if _line is not None and _line.pid != os.getpid():
        _line = None  # a child of the worker's: that one is its parent's
    if _line is None:
        found = _core._ask_line()
        if found is None:
            return None
        _line = Line(*found)
    return _line
