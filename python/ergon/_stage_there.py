"""Files that calls need and leave on other hosts: the side of a worker there. ergon/_stage.py is the owner's.

The session's folder on a host, which the agent removes at its end:

    files/DIGEST-MODE   each file once, however many calls and workers name it
    work/PID.DEPTH/     where a worker's staged calls run: hard links to those, and what the calls write
    lock                held while files arrive
    alive               held, shared, by every worker that uses the folder
"""

import errno
import os
import stat
from contextlib import closing, contextmanager

from ._ask import line
from ._stage import PIECE, checked, digester

__all__ = ["run"]

# The time of every staged file: one with another time was written to, and is fetched anew for the next call.
_TIME = 946_684_800_000_000_000


def run(f, files, key, outs, args, kwds):
    """``f(*args, **kwds)``, on another host than its owner's between the arrival of its files and their return."""
    wire = line()
    if wire is None:
        return f(*args, **kwds)
    room = _room_of(wire)
    names = checked("stage_out", outs(*args, **kwds)) if callable(outs) else outs
    before = os.open(".", os.O_PATH | os.O_CLOEXEC)
    room.depth += 1
    try:
        folder = room.prepare(wire, files, names)
        os.chdir(folder)
        result = f(*args, **kwds)
        for name in names:
            room.give_back(wire, key, folder, name)
        return result
    finally:
        room.depth -= 1
        os.fchdir(before)
        os.close(before)


_room = None


def _room_of(wire):
    global _room
    if _room is None or _room.pid != os.getpid() or _room.number != wire.name:
        _room = _Room(wire)
    return _room


@contextmanager
def _locked(path, how=None):
    import fcntl

    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX if how is None else how)
        yield
    finally:
        os.close(fd)


def _remove(path):
    """Whatever it is; nothing is fine."""
    try:
        if stat.S_ISDIR(os.lstat(path).st_mode):
            import shutil

            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)
    except OSError:
        pass


def _write(fd, data):
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _agent_lives(number):
    import socket

    with socket.socket(socket.AF_UNIX) as s:
        try:
            s.connect(f"\0ergon-ask-{os.geteuid()}-{number}")
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
    return True


def _sweep(base, start, own):
    """Removes folders whose agent was killed: it is not there any more, nor is any worker of its."""
    import fcntl

    for name in os.listdir(base):
        path = os.path.join(base, name)
        number = name.removeprefix(start)
        if path == own or not name.startswith(start) or len(number) != 16:
            continue
        try:
            if os.lstat(path).st_uid != os.geteuid() or _agent_lives(number):
                continue
            with _locked(os.path.join(path, "alive"), fcntl.LOCK_EX | fcntl.LOCK_NB):
                _remove(path)
        except OSError:
            continue


def _matches(about, mode, size):
    return (
        stat.S_ISREG(about.st_mode)
        and about.st_size == size
        and about.st_mtime_ns == _TIME
        and stat.S_IMODE(about.st_mode) == mode
    )


class _Room:
    """This worker's part of the session's folder. Used by the thread that runs its calls."""

    def __init__(self, wire):
        self.pid, self.number, self.depth = os.getpid(), wire.name, -1
        self.host, tmp_dir = wire.ask("stage", "place")
        if tmp_dir:
            base = os.path.abspath(os.path.expanduser(tmp_dir))
        else:
            import tempfile

            base = tempfile.gettempdir()
        start = f"ergon-work-{os.uname().nodename}-"
        self.path = os.path.join(base, f"{start}{wire.name:016x}")
        with self._telling("cannot make a folder for files"):
            os.makedirs(base, exist_ok=True)
            wire.name_folder(self.path)
            self._make()
            import fcntl

            self._alive = os.open(os.path.join(self.path, "alive"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._alive, fcntl.LOCK_SH)
        self._links = {}  # depth -> {name: (digest, mode, inode)}
        with _locked(os.path.join(self.path, "lock")):
            for name in os.listdir(os.path.join(self.path, "work")):  # of workers that ended, also of our number
                process = int(name.partition(".")[0])
                if process == self.pid or not os.path.exists(f"/proc/{process}"):
                    _remove(os.path.join(self.path, "work", name))
        _sweep(base, start, self.path)

    def _make(self):
        try:
            os.mkdir(self.path, 0o700)
        except FileExistsError:
            about = os.lstat(self.path)
            if about.st_uid != os.geteuid() or about.st_mode & 0o170077 != 0o040000:
                raise PermissionError(errno.EPERM, "somebody else's folder is there", self.path) from None
        for name in ("files", "work"):
            os.makedirs(os.path.join(self.path, name), 0o700, exist_ok=True)

    @contextmanager
    def _telling(self, what):
        """Errors name the file and the host. They keep their class, which the number decides."""
        try:
            yield
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            words = f"{what} on {self.host}: {error.strerror or error}{where}"
            raise OSError(error.errno or errno.EIO, words) from None

    # --- in ---

    def prepare(self, wire, files, outs):
        """Every file is there, and nothing that an earlier call left under a name of stage_out; the folder."""
        folder = os.path.join(self.path, "work", f"{self.pid}.{self.depth}")
        links = self._links.setdefault(self.depth, {})
        for again in (False, True):
            try:
                with self._telling("cannot make a folder for files"):
                    os.makedirs(folder, 0o700, exist_ok=True)
                for name, mode, size, digest in files:
                    with self._telling(f"stage_in of {name}"):
                        self._place(wire, folder, links, (name, mode, size, digest), _among(name, outs))
                break
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                if again:
                    raise
                links.clear()  # a folder has become a file since the last call, or the other way round
                _remove(folder)
        there = {name for name, _, _, digest in files if digest is not None}
        for name in outs:
            for path in _files(os.path.join(folder, name)):
                if os.path.relpath(path, folder) not in there:
                    _remove(path)
        return folder

    def _place(self, wire, folder, links, file, own):
        name, mode, size, digest = file
        path = os.path.join(folder, name)
        if digest is None:
            os.makedirs(path, exist_ok=True)
            return
        known = links.get(name)
        if known and known[:2] == (digest, mode):
            try:
                about = os.lstat(path)
                if about.st_ino == known[2] and _matches(about, mode, size):
                    return
            except FileNotFoundError:
                pass
        store = self._stored(wire, file)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.lexists(path):
            os.unlink(path)
        try:
            if own:  # the call may write to it
                raise OSError(errno.EPERM, "a copy")
            os.link(store, path)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.EACCES):
                raise
            self._copy(store, path, mode, digest, size)
        links[name] = (digest, mode, os.lstat(path).st_ino)

    def _stored(self, wire, file):
        name, mode, size, digest = file
        store = os.path.join(self.path, "files", f"{digest.hex()}-{mode:o}")
        with _locked(os.path.join(self.path, "lock")):
            try:
                if _matches(os.stat(store), mode, size):
                    return store
            except FileNotFoundError:
                pass
            with self._whole(store, mode, digest, size) as put:
                asked = (("stage", "read", digest, at, min(PIECE, size - at)) for at in range(0, size, PIECE))
                with closing(wire.ask_all(asked)) as pieces:
                    for data in pieces:
                        put(data)
        return store

    def _copy(self, source, path, mode, digest, size):
        with self._whole(path, mode, digest, size) as put, open(source, "rb", buffering=0) as file:
            while data := file.read(PIECE):
                put(data)

    def _full(self, fd, size):
        """The disk is: what it has, and what the file needs."""
        about = os.fstatvfs(fd)
        free = about.f_bavail * about.f_frsize + os.fstat(fd).st_blocks * 512
        words = f"{os.strerror(errno.ENOSPC)}: the file has {size:,} bytes and {self.path} room for {free:,}"
        return OSError(errno.ENOSPC, words)

    @contextmanager
    def _whole(self, path, mode, digest, size):
        """A function that takes the bytes of a file, which appears when all were right."""
        part = os.path.join(self.path, "files", f"part-{self.pid}")
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        made = digester()

        def put(data):
            try:
                _write(fd, data)
            except OSError as error:
                raise self._full(fd, size) if error.errno == errno.ENOSPC else error from None
            made.update(data)

        try:
            yield put
            if made.digest() != digest:
                raise OSError(errno.ESTALE, "the file has changed since the call was made")
            os.fchmod(fd, mode)
            os.utime(fd, ns=(_TIME, _TIME))
            os.rename(part, path)
        except BaseException:
            _remove(part)
            raise
        finally:
            os.close(fd)

    # --- out ---

    def give_back(self, wire, key, folder, name):
        path = os.path.join(folder, name)
        if not os.path.exists(path):
            raise FileNotFoundError(errno.ENOENT, f"stage_out: the call left no such file on {self.host}", name)
        links = self._links.get(self.depth, {})
        for file in _files(path):
            relative = os.path.relpath(file, folder)
            with self._telling(f"stage_out of {relative}"):
                known, about = links.get(relative), os.stat(file)
                if not stat.S_ISREG(about.st_mode):
                    raise OSError(errno.EINVAL, "neither a file nor a folder")
                same = known and about.st_ino == known[2] and about.st_mtime_ns == _TIME
                if same and file != path:
                    continue  # in a folder: as it came
                self._send(wire, key, relative, file)
            if not known:
                _remove(file)

    def _send(self, wire, key, name, path):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            about, made = os.fstat(fd), digester()
            last = max(about.st_size - 1, 0) // PIECE * PIECE

            def piece(at, n):
                data = os.pread(fd, n, at)
                if len(data) != n:
                    raise OSError(errno.EBUSY, "the file is still being written")
                made.update(data)
                return data

            wire.ask("stage", "begin", self.pid, key, name, stat.S_IMODE(about.st_mode) & 0o777)
            # Full pieces stay in order; the last one is shorter, and may overtake: it waits for their answers.
            asked = (("stage", "piece", self.pid, at, piece(at, PIECE)) for at in range(0, last, PIECE))
            with closing(wire.ask_all(asked)) as answers:
                for _ in answers:
                    pass
            data = piece(last, about.st_size - last)
            wire.ask("stage", "end", self.pid, last, data, made.digest())
        finally:
            os.close(fd)


def _among(name, outs):
    return any(name == out or name.startswith(out + "/") for out in outs)


def _files(path):
    """The file, or all files below the folder."""
    if not os.path.isdir(path) or os.path.islink(path):
        return [path] if os.path.lexists(path) else []
    return [os.path.join(place, name) for place, _, names in os.walk(path) for name in names]
