"""The first thing that runs on another host: it finds Ergon there or installs what it is sent, and becomes an agent.

Its source is sent over the link to whatever Python the other side has, so it uses nothing that is new, and nothing of
ergon before that is there. What it says on stdout is a line each: see launch/reach.h.
"""

import os
import sys

KEEP_DAYS = 30  # seeds nobody used for so long are removed


def say(line):
    os.write(1, (f"ERGON1 {line}\n").encode("utf-8", "replace"))


def fail(text):
    say("fail " + " ".join(text.split()))
    os._exit(1)


def read(n):
    """Exactly n bytes of stdin and not one more; fewer only at its end."""
    data = bytearray()
    while len(data) < n:
        more = os.read(0, min(n - len(data), 1 << 20))
        if not more:
            break
        data += more
    return bytes(data)


def tag():
    """What extension modules are built for: cpython-311-x86_64-linux-gnu."""
    import importlib.machinery

    return importlib.machinery.EXTENSION_SUFFIXES[0].strip(".").rsplit(".", 1)[0]


def bases(folder):
    """Folders a seed may lie in, the first that can be used wins."""
    import tempfile

    if folder:
        return [os.path.join(os.path.expanduser(folder), f"ergon-{os.getuid()}")]
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return [os.path.join(cache, "ergon"), os.path.join(tempfile.gettempdir(), f"ergon-{os.getuid()}")]


def ours(folder):
    """True for a folder of this user that nobody else can write to."""
    try:
        about = os.lstat(folder)
    except OSError:
        return False
    return about.st_uid == os.getuid() and about.st_mode & 0o170022 == 0o040000


def usable(folder, mark):
    if not ours(os.path.dirname(os.path.dirname(folder))) or not ours(os.path.dirname(folder)) or not ours(folder):
        return False
    try:
        os.utime(mark, None)
    except OSError:
        return False
    return True


def clean(seeds):
    """Removes what is old: seeds nobody used, and what installations that were interrupted left behind."""
    import shutil
    import time

    for name in os.listdir(seeds):
        place = os.path.join(seeds, name)
        days = KEEP_DAYS if os.path.exists(os.path.join(place, ".complete")) else 1
        try:
            mark = os.path.join(place, ".complete") if days == KEEP_DAYS else place
            if time.time() - os.stat(mark).st_mtime > days * 86400:
                shutil.rmtree(place, ignore_errors=True)
        except OSError:
            pass


def unpack(data, base, digest):
    """Installs the seed below base; its folder. OSError."""
    import io
    import shutil
    import tarfile
    import tempfile

    seeds = os.path.join(base, "seeds")
    for folder in (base, seeds):
        if not os.path.isdir(folder):
            os.makedirs(folder, 0o700)
        if not ours(folder):
            raise OSError(f"{folder} belongs to somebody else, or others may write to it")
    place, made = os.path.join(seeds, digest), tempfile.mkdtemp(dir=seeds)
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            archive.extractall(made)
        os.chmod(made, 0o700)
        with open(os.path.join(made, ".complete"), "w"):
            pass
        shutil.rmtree(place, ignore_errors=True)  # one that is not usable
        try:
            os.rename(made, place)
        except OSError:
            if not os.path.exists(os.path.join(place, ".complete")):  # somebody else was faster
                raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
    clean(seeds)
    return place


def room(error, base, data):
    """How much is needed where the disk is full, and how much there is."""
    import errno
    import io
    import tarfile

    if error.errno != errno.ENOSPC:
        return ""
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            needed = sum(member.size for member in archive)
        about = os.statvfs(base)
    except OSError:
        return ""
    return f" ({needed:,} bytes are needed and {about.f_bavail * about.f_frsize:,} are free)"


def seed(digest, folder):
    """The folder Ergon lies in; it is asked for if need be."""
    for base in bases(folder):
        place = os.path.join(base, "seeds", digest)
        if usable(place, os.path.join(place, ".complete")):
            return place
    try:
        import hashlib
        import zlib  # noqa: F401
    except ImportError as error:
        fail(f"the Python there lacks a module of its own: {error}")
    say("need")
    size = int.from_bytes(read(8), "little")
    data = read(size)
    if len(data) != size:
        os._exit(1)  # who sends it is gone
    if hashlib.sha256(data).hexdigest() != digest:
        fail("what arrived is not what was sent: its digest is another one")
    problems = []
    for base in bases(folder):
        try:
            return unpack(data, base, digest)
        except OSError as error:
            problems.append(f"{base}: {error.strerror or error}{room(error, base, data)}")
    fail("Ergon cannot be installed there: {}: name another folder with tmp_dir".format("; ".join(problems)))


def forget():
    for name in [name for name in sys.modules if name == "ergon" or name.startswith("ergon.")]:
        del sys.modules[name]


def installed(protocol):
    """The agent's module of an Ergon that is there already and speaks the same protocol, or None."""
    try:
        from ergon import _agent

        if _agent.protocol() == protocol:
            return _agent
    except Exception:
        pass
    forget()
    return None


def main(wanted, needed, protocol, digest, folder, session):
    """wanted: the tag; needed: "3.11"; folder: tmp_dir; session: hexadecimal."""
    sys.path[:] = [p for p in sys.path if p]  # not whatever lies in the folder we happen to be in
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if version != needed:
        fail(
            f"Python {version} runs there ({sys.executable}) and {needed} here: both need the same minor version. Install python{needed} there or "
            "name it: python=PATH"
        )
    if tag() != wanted:
        fail(f"that host is {tag()} and this one {wanted}: both need the same platform")
    agent = installed(protocol)
    if agent is None:
        sys.path.insert(0, seed(digest, folder))
        try:
            from ergon import _agent as agent
        except Exception as error:
            fail(f"Ergon cannot be loaded there: {type(error).__name__}: {error}")
    sys.exit(agent.attach(session))
