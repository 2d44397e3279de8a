"""Commands, files and ports on other hosts, through OpenSSH's own client.

The user's configuration, agent, jump hosts, known hosts and ControlMaster work as in a shell. Passwords go through an
askpass program that reads them from a pipe in a folder only the user can enter, never through arguments or the
environment.

>>> ergon.ssh.Pipe("far", "uname -n")()
'far'
>>> ergon.ssh.Copier("data.csv", "far:/scratch/")()
>>> with ergon.ssh.Tunnel("far", 5432) as tunnel:
...     connect("localhost", tunnel.local)
"""

import contextlib
import os
import shlex
import shutil
import signal as _signal
import subprocess
import tempfile
import threading

from . import _resources
from .errors import ConfigError, SshError

__all__ = ["Copier", "Pipe", "Server", "Tunnel", "arguments"]  # noqa: F822


def __getattr__(name):
    if name == "Server":
        from ._through import Server

        return Server
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def arguments(host, program="ssh", *, user=None, port=None, config=None, options=(), password=False):
    """The command line of OpenSSH's ``program`` for a host, without what follows the host's name; a list.

    host: ``"name"``, ``"user@name"`` or ``"ssh://user@name:22?config=PATH"``; None for none. password: whether it is
    going to ask for one. ConfigError.
    """
    _, words = _words(host, program, user, port, config, options, password)
    return words


def _words(host, program, user, port, config, options, password):
    found = shutil.which(program)
    if found is None:
        raise ConfigError(f"OpenSSH's {program} is not on PATH: install the package openssh-client")
    name = None
    if host is not None:
        place = _place(host)
        name, user, port = place.host, user or place.user, port or place.port
        config = config or place.config
    config = _resources.ssh_config(config)
    words = [found]
    if config:
        words += ["-F", config]
    if user:
        words += ["-o", f"User={user}"]
    if port:
        words += ["-o", f"Port={int(port)}"]
    if password:
        words += ["-o", "NumberOfPasswordPrompts=1"]
    else:
        words += ["-o", "BatchMode=yes"]
    for option in shlex.split(options) if isinstance(options, str) else options:
        words.append(str(option))
    return name, words


def _place(host):
    if isinstance(host, _resources.Place):
        return host
    if not isinstance(host, str):
        raise TypeError(f"a host is a string such as 'user@name', not {type(host).__name__}")
    if "://" in host:
        return _resources.remote(host)
    user, at, name = host.rpartition("@")
    bare = f"[{name}]" if name.count(":") > 1 and not name.startswith("[") else name
    return _resources.remote(f"ssh://{user}{at}{bare}")


class _Askpass:
    """Answers ssh's question for a password, as often as ssh is likely to ask. `environment` is for ssh."""

    _SCRIPT = (
        "#!/bin/sh\n"
        'case $1 in *assword*) IFS= read -r word <"${0%/*}/pipe" && printf "%s\\n" "$word";; *) exit 1;; esac\n'
    )

    def __init__(self, password):
        if "\n" in password or "\0" in password:
            raise ValueError("a password is one line")
        self.folder = tempfile.mkdtemp(prefix="ergon-ask-")  # mode 0700
        try:
            script = os.path.join(self.folder, "askpass")
            with open(os.open(script, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700), "w") as file:
                file.write(self._SCRIPT)
            pipe = os.path.join(self.folder, "pipe")
            os.mkfifo(pipe, 0o600)
            # Open both ways: what is written stays until somebody reads it. Each reader takes one line.
            self.fd = os.open(pipe, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            line = password.encode() + b"\n"
            for _ in range(max(1, min(1000, 32768 // len(line)))):
                os.write(self.fd, line)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        self.environment = dict(os.environ, SSH_ASKPASS=script, SSH_ASKPASS_REQUIRE="force")
        self.environment.setdefault("DISPLAY", ":0")  # OpenSSH before 8.4 asks only with one

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            shutil.rmtree(self.folder, ignore_errors=True)


# Runs a command as the leader of its group, and ends the whole group when the link is gone: standard input, behind the
# bytes that are the command's. One line, because not every login shell takes several in quotes. The watcher is nobody's
# child that `wait` would wait for; when the link ends after the command, it finds no shell to end.
_WATCHED = (
    'printf "\n%s %s\n" "$1" $$; exec 3<&0; '
    '( trap "" PIPE; head -c "$2" <&3 2>/dev/null; exec >/dev/null 2>&1; '
    '( trap "" TERM HUP INT QUIT USR1 USR2; while read -r gone; do :; done <&3; '
    'kill -0 $$ && { kill -TERM -$$; sleep "$3"; kill -KILL -$$; } ) & ) '
    '| sh -c "$4" 3<&- & '
    "child=$!; exec 3<&-; trap : TERM HUP INT QUIT USR1 USR2; wait $child; status=$?; "
    "while kill -0 $child 2>/dev/null; do wait $child; status=$?; done; exit $status"
)
# Runs a command that goes on when the link is gone. It says who it is once it leads a session of its own.
_DETACHED = (
    'command -v setsid >/dev/null || { echo "no setsid on this host" >&2; exit 255; }; '
    'setsid sh -c \'printf "\\n%s %s\\n" "$0" $$; exec sh -c "$1" >/dev/null 2>&1\' "$1" "$4" </dev/null &'
)


class _Program:
    """A program of OpenSSH's (or a local one) with its output; base of `Pipe` and `Copier`."""

    _what = "ssh"

    def __init__(self, password):
        self._password = password
        self._askpass = None
        self._process = None
        self._threads = ()
        self._output = self._errors = b""
        self._ended = None

    def _start(self, words, **keywords):
        if self._process is not None and self._process.poll() is None:
            raise RuntimeError(f"{self!r} is running already")
        self._ended = None
        environment = None
        if self._password is not None:
            self._askpass = _Askpass(self._password)
            environment = self._askpass.environment
        try:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                start_new_session=True,
                **keywords,
            )
        except BaseException:
            self._close_askpass()
            raise
        self._output, self._errors = bytearray(), bytearray()

    def _drain(self):
        """Keeps reading what the program writes, so that it never waits for us."""
        pairs = ((self._process.stdout, self._output), (self._process.stderr, self._errors))
        self._threads = [threading.Thread(target=_collect, args=pair, daemon=True) for pair in pairs]
        for thread in self._threads:
            thread.start()

    def _finish(self, timeout=None):
        """Waits for the end; its exit status."""
        if self._ended is None:
            self._ended = self._process.wait(timeout)
            for thread in self._threads:
                thread.join()
            for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
                with contextlib.suppress(OSError):
                    stream.close()
            self._close_askpass()
        return self._ended

    def _close_askpass(self):
        askpass, self._askpass = self._askpass, None
        if askpass is not None:
            askpass.close()

    def _last_words(self):
        lines = bytes(self._errors).decode(errors="replace").strip().splitlines()
        return "\n".join(lines[-5:]) or f"{self._what} ended with status {self._ended}"

    def _stop(self):
        """Ends the local program, if it runs."""
        process = self._process
        if process is not None and process.poll() is None:
            process.kill()
        if process is not None:
            self._finish()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    def __del__(self):
        with contextlib.suppress(Exception):
            if self._process is not None and self._ended is None:
                self.close()


def _collect(stream, to):
    with contextlib.suppress(OSError, ValueError):
        while chunk := stream.read1(1 << 16):
            to += chunk


class Pipe(_Program):
    """A shell command on a host.

    >>> pipe = Pipe("far", "make all", background=True)
    >>> pipe.launch()
    >>> pipe.pid, pipe.status()
    (4711, None)
    >>> pipe.response()
    'done\\n'

    host: a name as ``ssh`` takes it, ``"user@name"``, an ``ssh://`` resource, or None for this machine. background: `launch`
    returns when the command runs instead of when it has ended. detached: the command goes on when this program or
    the link ends; otherwise all it started is ended then. stdin: str or bytes for it. text: whether responses are str or
    bytes. grace: seconds between SIGTERM and SIGKILL. user, port, config, options, password: for ssh. profile: a
    shell file on the host to read first (default: what `ergon.hosts` has for it).
    """

    def __init__(
        self,
        host,
        command,
        *,
        background=False,
        detached=False,
        stdin=None,
        text=True,
        grace=2.0,
        user=None,
        port=None,
        config=None,
        options=(),
        password=None,
        profile=None,
    ):
        super().__init__(password if password is not None else getattr(host, "password", None))
        if isinstance(command, (list, tuple)):
            command = shlex.join(command)
        if not isinstance(command, str):
            raise TypeError(f"a command is a string or a list of words, not {type(command).__name__}")
        self.host, self.command, self.background, self.detached = host, command, background, detached
        self.stdin = stdin.encode() if isinstance(stdin, str) else stdin or b""
        self.text, self.grace, self.profile = text, float(grace), profile
        self._ssh = (user, port, config, options)
        self._pid, self._killed = None, 0

    def __repr__(self):
        return f"<ergon.ssh.Pipe {self.command!r} on {self._where()}>"

    def _where(self):
        return "this machine" if self.host is None else getattr(self.host, "name", self.host)

    def _line(self, script, *arguments):
        """The words that run a script of ours there."""
        inner = ["sh", "-c", script, "ergon", *map(str, arguments)]
        if self.host is None:
            return inner
        user, port, config, options = self._ssh
        name, words = _words(self.host, "ssh", user, port, config, options, self._password is not None)
        return [*words, "--", name, "exec " + shlex.join(inner)]

    def _full_command(self):
        profile = self.profile
        if profile is None and self.host is not None:
            from . import hosts

            profile = hosts.get_profile(_place(self.host).host)
        if not profile:
            return self.command
        return f'if [ -r "$HOME"/{shlex.quote(profile)} ]; then . "$HOME"/{shlex.quote(profile)}; fi; {self.command}'

    def launch(self):
        """Starts the command; when it is in the background, returns as soon as it runs, otherwise when it has ended.

        SshError when the host cannot be reached, with ssh's own words.
        """
        mark = f"ergon-{os.urandom(6).hex()}"
        script = _DETACHED if self.detached else _WATCHED
        self._pid, self._killed = None, 0
        self._start(self._line(script, mark, len(self.stdin), self.grace, self._full_command()))
        self._find_pid(mark.encode())
        self._drain()
        if self.detached:
            self._finish()
            return
        if self.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(self.stdin)
                self._process.stdin.flush()
        if not self.background:
            self._finish()

    def _find_pid(self, mark):
        """Reads up to the line with the mark; what a login shell says before is nobody's output."""
        for line in self._process.stdout:
            if line.startswith(mark):
                self._pid = int(line.split()[1])
                return
        self._drain()
        self._finish()
        raise SshError(f"{self._where()}: {self._last_words()}")

    @property
    def pid(self):
        """The process id of the command on its host; None before `launch`."""
        return self._pid

    def status(self):
        """None while it runs, then its exit status (128 and the signal's number if one ended it).

        A detached command's status is asked for on its host: None while it runs, otherwise 0.
        """
        if self._process is None:
            return None
        if self.detached:
            return None if self._ask(f"kill -0 -{self._pid}") == 0 else 0
        if self._ended is None and self._process.poll() is None:
            return None
        return self._exit_status(self._finish(), self._killed)

    @staticmethod
    def _exit_status(status, killed):
        # ssh has no word for a shell that was killed itself.
        return 128 + killed if killed and status in (255, -killed) else 128 - status if status < 0 else status

    def response(self, timeout=None):
        """What the command wrote to standard output; waits for its end. Launches it first if need be.

        TimeoutError after ``timeout`` seconds. None for a detached command. What it wrote to standard error is `errors`.
        """
        if self._process is None:
            self.launch()
        if self.detached:
            return None
        try:
            self._finish(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self!r} still runs after {timeout} seconds") from None
        return self._decoded(self._output)

    def __call__(self, timeout=None):
        """`response`; SshError when the command ends with another status than 0."""
        response = self.response(timeout)
        if not self.detached and (status := self.status()):
            raise SshError(f"{self._where()}: {self.command!r} ended with status {status}: {self._last_words()}")
        return response

    @property
    def errors(self):
        """What the command wrote to standard error so far."""
        return self._decoded(self._errors)

    def _decoded(self, output):
        return bytes(output).decode(errors="replace") if self.text else bytes(output)

    def _ask(self, command):
        """The status of a short command on the same host, over a connection of its own."""
        user, port, config, options = self._ssh
        with Pipe(
            self.host,
            command,
            user=user,
            port=port,
            config=config,
            options=options,
            password=self._password,
            profile="",
        ) as ask:
            ask.launch()
            return ask.status()

    def kill(self, signal=_signal.SIGTERM):
        """Sends a signal to the command and all it started, there; SIGTERM is followed by SIGKILL after the grace.

        Returns when it has ended (for SIGTERM and SIGKILL).
        """
        if self._process is None or self._pid is None:
            return
        signal = _signal.Signals(signal)
        last = signal in (_signal.SIGTERM, _signal.SIGKILL)
        if self.detached:
            again = f"; i=0; while kill -0 -{self._pid} 2>/dev/null && [ $i -lt 50 ]; do sleep 0.1; i=$((i+1)); done"
            hard = f"{again}; kill -KILL -{self._pid}" if signal == _signal.SIGTERM else ""
            self._ask(f"kill -{signal.name[3:]} -{self._pid}{hard} 2>/dev/null")
        elif self.status() is None:
            if signal == _signal.SIGTERM:
                self._hang_up()
            else:
                self._ask(f"kill -{signal.name[3:]} -{self._pid}")
            if last:
                self._killed = int(signal)
                self._end_within(self.grace + 10)

    def _hang_up(self):
        """The watcher on the other side takes the end of its input for the end of the link."""
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def _end_within(self, seconds):
        try:
            self._finish(seconds)
        except subprocess.TimeoutExpired:
            self._stop()

    def close(self):
        """Ends the command, unless it is detached."""
        if self._process is not None and self._ended is None:
            self._hang_up()
            self._end_within(self.grace + 10)


class Copier(_Program):
    """Copies files to, from or between hosts, with ``scp`` or ``sftp``.

    >>> Copier("results", "far:/scratch/me/", recursive=True)()

    source: a path or a list of paths, each local or ``"host:path"``; destination: one of these. recursive: folders too
    (default: where a source is a local folder). preserve: keep times and modes. Other arguments as for `Pipe`.
    """

    def __init__(
        self,
        source,
        destination,
        *,
        launcher="scp",
        background=False,
        recursive=None,
        preserve=True,
        user=None,
        port=None,
        config=None,
        options=(),
        password=None,
    ):
        super().__init__(password)
        if launcher not in ("scp", "sftp"):
            raise ConfigError(f"launcher is 'scp' or 'sftp', not {launcher!r}")
        self._what = launcher
        sources = [source] if isinstance(source, (str, os.PathLike)) else list(source)
        self.sources, self.destination = [os.fspath(path) for path in sources], os.fspath(destination)
        if not self.sources:
            raise ValueError("nothing to copy: no source")
        self.launcher, self.background, self.preserve = launcher, background, preserve
        if recursive is None:
            recursive = any(not _is_remote(path) and os.path.isdir(path) for path in self.sources)
        self.recursive = recursive
        self._ssh = (user, port, config, options)

    def __repr__(self):
        return f"<ergon.ssh.Copier {' '.join(self.sources)} to {self.destination}>"

    def launch(self):
        """Starts copying; returns when it is done, or at once in the background. SshError with scp's own words."""
        user, port, config, options = self._ssh
        _, words = _words(None, self.launcher, user, port, config, options, self._password is not None)
        if self.launcher == "scp":
            self._start(self._scp(words))
            self._process.stdin.close()
        else:
            words, batch = self._sftp(words)
            self._start(words)
            with contextlib.suppress(OSError):
                self._process.stdin.write(batch)
                self._process.stdin.close()
        self._drain()
        if not self.background:
            self.response()

    def _scp(self, words):
        flags = ["-q"] + ["-r"] * self.recursive + ["-p"] * self.preserve
        remote = [path for path in (*self.sources, self.destination) if _is_remote(path)]
        if len(remote) > 1 and _is_remote(self.destination):
            flags.append("-3")
        return [*words, *flags, "--", *map(_local_safe, self.sources), _local_safe(self.destination)]

    def _sftp(self, words):
        """The command line and the commands of an sftp session: sftp goes one way, and to one host."""
        to = _is_remote(self.destination)
        if to == any(map(_is_remote, self.sources)):
            raise ConfigError("sftp copies between this machine and one host: use launcher='scp'")
        far = [self.destination] if to else self.sources
        names = {path.partition(":")[0] for path in far}
        if len(names) > 1:
            raise ConfigError(f"sftp talks to one host, not to {', '.join(sorted(names))}: use launcher='scp'")
        flags = "-" + "p" * self.preserve + "r" * self.recursive
        flags = "" if flags == "-" else flags + " "
        lines = []
        for source in self.sources:
            near = source if to else self.destination
            there = (self.destination if to else source).partition(":")[2] or "."
            pair = (near, there) if to else (there, near)
            lines.append(f"{'put' if to else 'get'} {flags}{_sftp_quote(pair[0])} {_sftp_quote(pair[1])}\n")
        name = names.pop()
        # -b would forbid a password; commands on standard input do not.
        batch = ["-b", "-"] if self._password is None else []
        return [*words, "-q", *batch, "--", name], "".join(lines).encode()

    @property
    def pid(self):
        """The process id of scp on this machine; None before `launch`."""
        return None if self._process is None else self._process.pid

    def status(self):
        """None while it copies, then scp's exit status."""
        if self._process is None or (self._ended is None and self._process.poll() is None):
            return None
        return self._finish()

    def response(self, timeout=None):
        """Waits for the end. SshError with scp's own words when it failed, TimeoutError after ``timeout`` seconds."""
        if self._process is None:
            return self.launch()
        try:
            status = self._finish(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self!r} still copies after {timeout} seconds") from None
        words = self._last_words()
        failed = status or (self.launcher == "sftp" and self._password is not None and self._errors)
        if failed:
            raise SshError(f"{' '.join(self.sources)} to {self.destination}: {words}")

    __call__ = response

    def kill(self, signal=_signal.SIGTERM):
        """Stops copying."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal)
            self._finish()

    close = kill


def _is_remote(path):
    """As scp sees it: a colon before the first slash."""
    if path.startswith(("scp://", "sftp://")):
        return True
    head, colon, _ = path.partition(":")
    return bool(colon) and "/" not in head and bool(head)


def _local_safe(path):
    return path if _is_remote(path) or path.startswith(("/", ".")) else os.path.join(".", path)


def _sftp_quote(path):
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Tunnel:
    """A local port that leads to a port of another host, through ssh; a broken connection is made again.

    >>> with Tunnel("far", 5432) as tunnel:
    ...     print(tunnel.local)
    49731

    host, port: where it leads; the port is one of the host's own loopback interface. through: the host to go through
    when ``host`` itself is not reached by ssh; it then connects to ``host:port``. local: the local port, 0 for a free one.
    It ends with `disconnect`, with the ``with`` block, or with this program. To keep one beyond it: ``ergon tunnel``.
    """

    def __init__(
        self,
        host=None,
        port=None,
        *,
        local=0,
        through=None,
        user=None,
        ssh_port=None,
        config=None,
        options=(),
        password=None,
    ):
        self.host, self.port, self.through = host, port, through
        self.local = None
        self._wanted = local
        self._ssh = (user, ssh_port, config, options)
        self._password = password
        self._askpass = None
        self._process = None

    def __repr__(self):
        if self.local is None:
            return "<ergon.ssh.Tunnel, not connected>"
        by = f" through {self.through}" if self.through else ""
        return f"<ergon.ssh.Tunnel {self.local} to {self.host}:{self.port}{by}>"

    def connect(self, host=None, port=None, through=None):
        """Establishes it; the local port. Arguments replace those of the constructor. SshError with ssh's own words.

        Without a port a free one of the host is chosen; `port` tells which.
        """
        if self._process is not None:
            raise RuntimeError(f"{self!r} is connected already")
        self.host, self.port = host or self.host, port or self.port
        self.through = through or self.through
        if self.host is None:
            raise TypeError("a tunnel needs a host")
        from .trace import command

        user, ssh_port, config, options = self._ssh
        asks = self._password is not None
        gate, words = _words(self.through or self.host, "ssh", user, ssh_port, config, options, asks)
        line = [command(), "tunnel", "--with-caller"]
        for word in words[1:]:
            line += ["--ssh", word]
        if self._wanted:
            line += ["--local", str(int(self._wanted))]
        if self.through:
            line += ["--to", _place(self.host).host]
        line += ["--", gate] + ([str(int(self.port))] if self.port else [])
        if asks:
            self._askpass = _Askpass(self._password)
        self._process = subprocess.Popen(
            line,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._askpass.environment if asks else None,
            start_new_session=True,
        )
        said = self._process.stdout.readline().split()
        if len(said) < 2:
            words = self._process.stderr.read().decode(errors="replace").strip()
            self.disconnect()
            raise SshError(words.removeprefix("ergon tunnel: ") or f"no tunnel to {self.host}")
        self.local, self.port = int(said[0]), int(said[1])
        return self.local

    def disconnect(self):
        """Tears it down; nothing if it is not connected."""
        process, self._process = self._process, None
        askpass, self._askpass = self._askpass, None
        self.local = None
        if process is not None:
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
            process.stderr.close()
        if askpass is not None:
            askpass.close()

    @staticmethod
    def list():
        """All tunnels of this user, made by programs or by ``ergon tunnel``: dicts with ``local``, ``host``, ``port``,
        ``to``, ``pid``, ``state`` ('up' or 'down'), ``seconds`` and ``reconnects``."""
        import json

        from .trace import command

        done = subprocess.run([command(), "tunnel", "--list", "--json"], capture_output=True, text=True)
        if done.returncode:
            raise SshError(done.stderr.strip())
        return json.loads(done.stdout)

    @property
    def connected(self):
        """Whether it was connected and has not been torn down. The connection under it may be down for a moment."""
        return self._process is not None and self._process.poll() is None

    def __enter__(self):
        if not self.connected:
            self.connect()
        return self

    def __exit__(self, *exc_info):
        self.disconnect()

    def __del__(self):
        with contextlib.suppress(Exception):
            self.disconnect()
