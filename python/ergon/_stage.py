"""Files that calls need and leave on other hosts, ``stage_in=`` and ``stage_out=``: the owner's side.

A call that has them is entered as a function of ours around the user's (`Files.staged`), which knows the files by name, mode,
size and digest. In a worker elsewhere it asks for those its host lacks, in pieces, and sends back what the call left
(ergon/_stage_there.py); on the owner's host it only calls. Nothing is held in memory but pieces.
"""

import errno
import os
import stat

__all__ = ["PIECE", "Files", "checked", "digester", "staged"]

PIECE = 1 << 20  # bytes of a file in one question or answer
_IDLE = 3600.0  # seconds after which a file of which no piece came is given up: its worker died
_CALLS = 16  # functions kept, so that the same call has the same function
_FRESH = 2_000_000_000  # nanoseconds: a file that changed so recently may change again without looking different


def digester():
    from hashlib import blake2b

    return blake2b(digest_size=32)


def _name(option, path):
    name = os.fspath(path)
    if not isinstance(name, str):
        raise TypeError(f"{option}= takes names as text, not {name!r}")
    if not name or "\0" in name:
        raise ValueError(f"{option}= takes names of files and folders, not {name!r}")
    if os.path.isabs(name):
        raise ValueError(
            f"{option}= takes names relative to the working directory, not {name!r}: other hosts keep files elsewhere"
        )
    if ".." in name.split("/"):
        raise ValueError(f"{option}= takes names below the working directory, not {name!r}: leave out '..'")
    name = os.path.normpath(name)
    if name == "." and option == "stage_out":
        raise ValueError("stage_out= takes names of files and folders, not the working directory itself")
    return name


def checked(option, value):
    """The names as a tuple; of stage_out also a function of the call's arguments. TypeError, ValueError."""
    if isinstance(value, (str, bytes, os.PathLike)):
        value = [value]
    elif callable(value):
        if option == "stage_out":
            return value
        raise TypeError("stage_in= takes a list of names: it is looked at once, before the calls")
    try:
        names = tuple(value)
    except TypeError:
        raise TypeError(f"{option}= takes a list of names, not {value!r}") from None
    return tuple(dict.fromkeys(_name(option, name) for name in names))


def staged(f, stage_in, stage_out, answers):
    """What is entered in the place of f. answers: the pool's `_ask.Answers`; None: it has no workers on other hosts."""
    if answers is None or not callable(f) or not (stage_in or stage_out):
        return f
    return answers.files.staged(f, stage_in or (), stage_out or ())


def _around(f, files, key, outs):
    def call(*args, **kwds):
        from ergon._stage_there import run

        return run(f, files, key, outs, args, kwds)

    for name in ("__name__", "__qualname__"):
        if isinstance(text := getattr(f, name, None), str):
            setattr(call, name, text)
    return call


def _words(error, path):
    """The same error, with words that mean something on another host."""
    return OSError(error.errno or errno.EIO, f"{error.strerror or error}: {path} on the host of the pool")


def _look(about):
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


class _Arriving:
    """A file that comes back: nobody sees it before all of it is there. It has no name until then, where that can be."""

    def __init__(self, path, mode):
        import time

        self.path, self.mode, self.size = os.path.realpath(path), mode, 0
        self.digest, self.touched = digester(), time.monotonic()
        folder = os.path.dirname(self.path)
        os.makedirs(folder, exist_ok=True)
        self.name = None
        try:
            fd = os.open(folder, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
        except OSError as error:  # file systems without files without names
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT):
                raise
            fd = self._named(os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC)
        self.file = open(fd, "wb", buffering=0)

    def _beside(self):
        folder, name = os.path.split(self.path)
        return os.path.join(folder, f".{name[:200]}.{os.urandom(6).hex()}")

    def _named(self, flags):
        import weakref

        name = self._beside()
        fd = os.open(name, flags, 0o600)
        self.name, self._forget = name, weakref.finalize(self, _unlink, name)
        return fd

    def write(self, offset, data):
        import time

        if offset != self.size:
            raise OSError(errno.EPROTO, f"a piece of {self.path} is missing: it came with another one's place")
        self.touched = time.monotonic()
        view = memoryview(data)
        while view:
            view = view[self.file.write(view) :]
        self.size += len(data)
        self.digest.update(data)

    def end(self, digest):
        if self.digest.digest() != digest:
            raise OSError(errno.EIO, f"{self.path} did not arrive as it was sent")
        fd = self.file.fileno()
        os.fchmod(fd, self.mode)
        if self.name is None:
            name = self._beside()
            # with a descriptor given, the link of /proc is followed
            os.link(f"/proc/self/fd/{fd}", name, src_dir_fd=fd)
        else:
            name = self.name
            self._forget.detach()
        try:
            os.rename(name, self.path)
        except OSError:
            _unlink(name)
            raise
        self.file.close()


def _unlink(name):
    try:
        os.unlink(name)
    except OSError:
        pass


class Files:
    """What a pool knows of files: those it was told to send, and where those that come back belong."""

    def __init__(self, folders=None):
        self._folders = dict(folders or {})  # the name of a place -> its tmp_dir
        self._digests = {}  # path -> (how it looked, digest)
        self._sources = {}  # digest -> path
        self._keys, self._outs = {}, []  # (folder, names) by number
        self._calls = {}  # what staged() made last -> it
        self._arriving = {}  # (place, process) -> _Arriving

    # --- calls ---

    def staged(self, f, stage_in, stage_out):
        here = os.getcwd()
        files = self.files(here, stage_in)
        key = None
        if stage_out:
            key = self._keys.setdefault((here, stage_out), len(self._outs))
            if key == len(self._outs):
                self._outs.append((here, stage_out))
        known = self._calls.pop((id(f), files, key), None)
        call = known[1] if known else _around(f, files, key, stage_out)
        self._calls[id(f), files, key] = f, call
        while len(self._calls) > _CALLS:
            self._calls.pop(next(iter(self._calls)), None)
        return call

    def files(self, here, names):
        """((name, mode, size, digest), …) of all files; size and digest None: a folder. OSError, ValueError."""
        found = {}
        for name in names:
            for path, about in _below(os.path.join(here, name)):
                relative = os.path.relpath(path, here)
                if stat.S_ISDIR(about.st_mode):
                    found[relative] = (relative, 0o700, None, None)
                else:
                    found[relative] = (relative, stat.S_IMODE(about.st_mode) & 0o777, *self._known(path, about))
        return tuple(found[name] for name in sorted(found))

    def _known(self, path, about):
        import time

        look, digest = self._digests.get(path, (None, None))
        if look != _look(about):
            with open(path, "rb", buffering=0) as file:
                made, size = digester(), 0
                while data := file.read(PIECE):
                    made.update(data)
                    size += len(data)
                about, digest = os.fstat(file.fileno()), made.digest()
            if size != about.st_size:
                raise OSError(errno.EBUSY, "stage_in names a file that is being written", path)
            if time.time_ns() - max(about.st_mtime_ns, about.st_ctime_ns) > _FRESH:
                self._digests[path] = _look(about), digest
        self._sources[digest] = path
        return about.st_size, digest

    # --- questions ---

    def answer(self, place, what, *rest):
        self._forget()
        if what == "place":
            return place, self._folders.get(place)
        if what == "read":
            return self._read(*rest)
        if what == "begin":
            return self._begin(place, *rest)
        if what == "piece":
            return self._piece(place, *rest)
        if what == "end":
            return self._end(place, *rest)
        raise ValueError(f"a question of an unknown kind: {what!r}")

    def _forget(self):
        import time

        for at, file in list(self._arriving.items()):
            if time.monotonic() - file.touched > _IDLE:
                del self._arriving[at]

    def _read(self, digest, offset, n):
        path = self._sources[digest]
        try:
            with open(path, "rb", buffering=0) as file:
                data = os.pread(file.fileno(), n, offset)
        except OSError as error:
            raise _words(error, path) from None
        if len(data) != n:
            raise OSError(errno.ESTALE, f"{path} on the host of the pool has changed since the call was made")
        return data

    def _begin(self, place, process, key, name, mode):
        here, names = self._outs[key]
        if _name("stage_out", name) != name or not (
            callable(names) or any(name == one or name.startswith(one + "/") for one in names)
        ):
            raise ValueError(f"{name!r} is not among the files of stage_out")
        path = os.path.join(here, name)
        self._arriving.pop((place, process), None)  # given up: a worker sends one at a time
        try:
            self._arriving[place, process] = _Arriving(path, mode & 0o777)
        except OSError as error:
            raise _words(error, path) from None

    def _piece(self, place, process, offset, data):
        file = self._arriving.get((place, process))
        if file is None:
            raise OSError(errno.EPROTO, "a piece of a file that was given up")
        try:
            file.write(offset, data)
        except OSError as error:
            del self._arriving[place, process]
            raise _words(error, file.path) from None

    def _end(self, place, process, offset, data, digest):
        self._piece(place, process, offset, data)
        file = self._arriving.pop((place, process))
        try:
            file.end(digest)
        except OSError as error:
            raise _words(error, file.path) from None


def _refuse(error):
    raise error


def _below(path):
    """(path, stat) of the file, or of the folder and all below it."""
    try:
        about = os.stat(path)
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "stage_in names a file that is not there", path) from None
    if not stat.S_ISDIR(about.st_mode):
        if not stat.S_ISREG(about.st_mode):
            raise ValueError(f"stage_in= takes files and folders, and {path} is neither")
        yield path, about
        return
    for place, folders, names in os.walk(path, onerror=_refuse):
        yield place, os.stat(place)
        for name in folders:
            if os.path.islink(full := os.path.join(place, name)):
                raise ValueError(f"{full} is a link to a folder: stage_in= follows those that are named only")
        for name in names:
            yield from _below(os.path.join(place, name))
