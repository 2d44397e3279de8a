"""Commands, copies, processes and servers, here or on other hosts, a function each."""

import os
import re
import shlex
from numbers import Integral

__all__ = ["copy", "execute", "kill", "getpid", "getppid", "getchild", "serve", "connect", "randomport"]


def copy(source, destination=None, **kwds):
    """Copy a file or folder, from or to 'host:path'; the copier (see pathos.secure.Copier).

    destination - default: the current folder; options - for scp; bg - do not wait
    """
    from .secure import Copier

    options = kwds.pop("options", None)
    kwds["background"] = bool(kwds.pop("bg", False))
    destination = os.getcwd() if destination is None else destination
    remote = any(":" in path.split("/")[0] for path in (source, destination))
    copier = Copier(**kwds)
    if remote:
        copier(options="-q -r" if options is None else options, source=source, destination=destination)
    else:
        copier(launcher="cp", options="-r" if options is None else options, source=source, destination=destination)
    copier.launch()
    if not copier.background:
        copier.response()
    return copier


def execute(command, host=None, bg=True, **kwds):
    """Run a command, on `host` if one is given; the launcher, whose `response` is the output.

    bg - run it in the background
    """
    if not host:
        from .connection import Pipe

        launcher = Pipe(**kwds)
        launcher(command=command, background=bool(bg))
    else:
        from .secure import Pipe

        options = kwds.pop("options", "-q")
        launcher = Pipe(**kwds)
        launcher(options=options, command=command, host=host, background=bool(bg))
    launcher.launch()
    return launcher


def kill(pid, host=None, **kwds):
    """Send SIGTERM to a process; OSError if there is none."""
    getpid(pid, host)
    return execute(f"kill -TERM {int(pid)}", host, bg=False, **kwds).response()


def _missing():
    return ProcessLookupError(3, "No such process")


def _processes(host, **kwds):
    """All processes: dicts with pid, ppid, pgid, args, and the line that ps writes."""
    text = execute("ps -e -o pid= -o ppid= -o pgid= -o args=", host, bg=False, decode=False, **kwds).response()
    found = []
    for line in (text or b"").decode(errors="replace").splitlines():
        fields = line.split(None, 3)
        if len(fields) == 4:
            pid, ppid, pgid = map(int, fields[:3])
            found.append({"pid": pid, "ppid": ppid, "pgid": pgid, "args": fields[3], "line": line})
    if not found:
        raise OSError("Failure to recover process id")
    return found


# What runs and watches commands: their lines have the command in them too.
_OURS = re.compile(r"^ps -e -o pid=|\bergon ergon-[0-9a-f]{12}\b")


def getpid(target=None, host=None, all=False, **kwds):
    """The id of the process whose command line has `target` (a regular expression, or a process id) in it.

    The newest one; with `all` the lines of all of them. Without a target: this process. OSError if there is none.
    """
    if target is None and not all:
        if host:
            raise _missing()
        return os.getpid()
    found = [process for process in _processes(host, **kwds) if not _OURS.search(process["args"])]
    if isinstance(target, Integral):
        found = [process for process in found if process["pid"] == target]
    elif target is not None:
        found = [process for process in found if re.search(target, process["args"])]
    if all:
        return "\n".join(process["line"] for process in found)
    if not found:
        raise _missing()
    return max(process["pid"] for process in found)


def getppid(pid=None, host=None, group=False):
    """The parent of a process, or its `group`. OSError if there is no such process."""
    if pid is None:
        if host:
            raise _missing()
        return os.getpgrp() if group else os.getppid()
    for process in _processes(host):
        if process["pid"] == int(pid):
            return process["pgid" if group else "ppid"]
    raise _missing()


def getchild(pid=None, host=None, group=False):
    """The children of a process, or the members of its `group`, as a list. OSError if there is no such process."""
    if pid is None:
        if host:
            raise _missing()
        pid = os.getpid()
    pid, found = int(pid), _processes(host)
    children = [process["pid"] for process in found if process["pgid" if group else "ppid"] == pid]
    if not children and (group or not any(process["pid"] == pid for process in found)):
        raise _missing()
    return children


_PICK = "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])"


def randomport(host=None):
    """A port that is free on a host: it was bound a moment ago."""
    from .secure import TunnelException

    if not host:
        from .portpicker import randomport

        return randomport()
    try:
        return int(execute(f"python3 -c {shlex.quote(_PICK)}", host, bg=False).response())
    except ValueError:
        raise TunnelException("failure to pick remote port") from None


def connect(host, port=None, through=None):
    """Establish a tunnel to a port of a host; a pathos.secure.Tunnel."""
    from .secure import Tunnel

    tunnel = Tunnel()
    tunnel.connect(host, port, through)
    return tunnel


def serve(server, host=None, port=None, profile=".bash_profile"):
    """Start a server, such as 'ppserver', in the background; its launcher, whose `kill` ends it.

    port - where it listens (default: a free one); profile - a shell file that is read first on another host
    """
    port = randomport(host) if port is None or port == "" else port
    command = f"{server} -p {int(port)}"
    if host and profile:
        name = shlex.quote(profile)
        command = f"if [ -r {name} ]; then . ./{name}; fi; exec {command}"
    launcher = execute(command, host, bg=True, stdin=open(os.devnull))
    launcher.stdin.close()
    response = launcher.response()
    if response:
        import pathos

        pathos.logger().error("invalid response = %r", response)
    return launcher
