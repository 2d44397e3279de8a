"""What this side sends to a host so that an agent runs there: the first commands, and Ergon itself where it is missing.

A *seed* is an archive of the package, its extension module and the shared libraries that needs (not libc), named by the
digest of its bytes. It is made once and kept in the cache directory until something in it changes.
"""

import hashlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

from . import _boot, _core
from .errors import LaunchError

__all__ = ["archive", "bootstrap"]

_PACKAGE = os.path.dirname(os.path.abspath(__file__))
# What the extension module links that a host may lack.
_LIBRARY = re.compile(r"/lib(uv|sodium|lz4)[-.\w]*\.so[.\d]*$")
_SUFFIXES = (".py", ".typed", ".json")
# Reads exactly as many bytes as it is told, and runs them. No character in it means anything to a shell.
_FIRST = (
    "import os,sys;n=int(sys.argv[1]);b=bytearray();"
    "[b.extend(c) for c in iter(lambda:os.read(0,n-len(b)),bytes())];exec(bytes(b))"
)


_archive = None  # of this process: what it runs does not change any more


def _sources():
    """(name in the archive, path) of everything a host needs, sorted."""
    found = []
    for folder, folders, names in os.walk(_PACKAGE):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in names:
            if name.endswith(_SUFFIXES):
                path = os.path.join(folder, name)
                found.append((os.path.join("ergon", os.path.relpath(path, _PACKAGE)), path))
    module = os.path.realpath(_core.__file__)
    found.append((os.path.join("ergon", os.path.basename(_core.__file__)), module))
    for path in _libraries():
        # libraries of a wheel lie beside the package, and its module looks for them there
        beside = os.path.basename(os.path.dirname(path)) == "ergon.libs"
        found.append((os.path.join("ergon.libs" if beside else "ergon/_libs", os.path.basename(path)), path))
    return sorted(found)


def _libraries():
    """The files of the libraries the extension module uses in this process."""
    paths = set()
    with open("/proc/self/maps", errors="surrogateescape") as maps:
        for line in maps:
            path = line.rstrip("\n").partition("/")
            path = path[1] + path[2]
            if _LIBRARY.search(path):
                paths.add(path)
    needed = set(_needed(os.path.realpath(_core.__file__)))
    found = []
    for path in sorted(paths):
        # under the name it is asked for: libuv.so.1, not libuv.so.1.0.0
        for name in needed:
            beside = os.path.join(os.path.dirname(path), name)
            if os.path.exists(beside) and os.path.samefile(beside, path):
                found.append(beside)
    return found


def _needed(path):
    """Names of libraries in the bytes of a module: those that look like ours."""
    with open(path, "rb") as file:
        data = file.read()
    return {m.group().decode() for m in re.finditer(rb"lib(?:uv|sodium|lz4)[-.\w]*\.so[.\d]*(?=\0)", data)}


def _stripped(path):
    """The bytes of a module without what only debuggers read, where there is a tool for that."""
    strip = shutil.which("strip")
    if strip:
        with tempfile.NamedTemporaryFile() as to:
            done = subprocess.run([strip, "--strip-debug", "-o", to.name, path], capture_output=True, check=False)
            if done.returncode == 0:
                with open(to.name, "rb") as file:
                    return file.read()
    with open(path, "rb") as file:
        return file.read()


def _build(sources):
    """The archive's bytes: the same for the same files."""
    import gzip
    import tarfile

    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, path in sources:
            if ".so" in os.path.basename(path):
                data = _stripped(path)
            else:
                with open(path, "rb") as file:
                    data = file.read()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), 6, mtime=0)


def _cache():
    """A folder of ours for seeds, made if need be."""
    for base in _boot.bases(None):
        folder = os.path.join(base, "made")
        try:
            os.makedirs(folder, 0o700, exist_ok=True)
        except OSError:
            continue
        if _boot.ours(base) and _boot.ours(folder) and os.access(folder, os.W_OK):
            return folder
    raise LaunchError("no folder to keep a seed in: neither the cache directory nor the temporary one can be written")


def archive():
    """(path, digest) of the seed of this installation; made now if it has to be. LaunchError."""
    global _archive
    if _archive is None or not os.path.exists(_archive[0]):
        _archive = _find_archive()
    return _archive


def _find_archive():
    sources = _sources()
    key = hashlib.sha256()
    for name, path in sources:
        about = os.stat(path)
        key.update(f"{name}\0{about.st_size}\0{about.st_mtime_ns}\0{about.st_ino}\n".encode("utf-8", "surrogateescape"))
    folder, start = _cache(), key.hexdigest()[:32]
    for name in os.listdir(folder):
        if name.startswith(start + "-") and name.endswith(".tar.gz"):
            return os.path.join(folder, name), name[len(start) + 1 : -len(".tar.gz")]
    data = _build(sources)
    digest = hashlib.sha256(data).hexdigest()
    path = os.path.join(folder, f"{start}-{digest}.tar.gz")
    try:
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            file.write(data)
        os.replace(file.name, path)
    except OSError as error:
        raise LaunchError(f"cannot keep a seed in {folder}: {error.strerror}") from error
    for name in os.listdir(folder):  # those of installations that have changed since
        if name != os.path.basename(path) and name.endswith(".tar.gz"):
            try:
                if os.stat(os.path.join(folder, name)).st_mtime < os.stat(path).st_mtime - 86400:
                    os.unlink(os.path.join(folder, name))
            except OSError:
                pass
    return path, digest


def _command(python, length):
    """For the shell of the other side: the first Python that is there runs what it is sent."""
    if python:
        names = shlex.quote(python) if not python.startswith("~/") else '"$HOME"/' + shlex.quote(python[2:])
        absent = f"no {python}: name another one with python=PATH"
    else:
        names = f"python3.{sys.version_info.minor} python3"
        absent = f"no python3.{sys.version_info.minor} and no python3 on PATH: install one, or name it with python=PATH"
    script = (
        f'for p in {names}; do if command -v "$p" >/dev/null 2>&1; then exec "$p" -c "{_FIRST}" {length}; fi; done; '
        f"echo {shlex.quote('ERGON1 fail ' + absent)}; exit 127"
    )
    return "exec sh -c " + shlex.quote(script)


def bootstrap(place, session):
    """How an agent comes up at the other end of a shell: {"command": what the shell runs, "script": bytes that are written to
    it first, "seed": file that is sent when it is asked for}.

    place: a `Place`. session: its 16 bytes. LaunchError when the seed cannot be made.
    """
    path, digest = archive()
    with open(_boot.__file__, "rb") as file:
        script = file.read()
    arguments = {
        "wanted": _boot.tag(),
        "needed": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "protocol": _core._protocol(),
        "digest": digest,
        "folder": place.tmp_dir,
        "session": session.hex(),
    }
    script += f"\nmain(**{arguments!r})\n".encode("utf-8", "surrogateescape")
    return {"command": _command(place.python, len(script)), "script": script, "seed": path}
