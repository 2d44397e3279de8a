"""A real OpenSSH server on loopback, with keys, known hosts and client configuration of its own.

What it makes lies in one folder. As root it also has a user `guest` with a password, who exists in the server's own
mount namespace only: the machine's user database stays as it is.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time

import leaks

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GUEST = "guest"
PASSWORD = "correct horse 'battery' $staple"

# Runs in the server's own mount namespace before the server: users, and what is hidden.
PRELUDE = """
set -e
mkdir -p /run/sshd
if [ -n "$USERS" ]; then mount --bind "$USERS/passwd" /etc/passwd; mount --bind "$USERS/shadow" /etc/shadow; fi
for path in $HIDE; do
    if [ -d "$path" ]; then mount -t tmpfs none "$path"; else mount --bind "$EMPTY" "$path"; fi
done
exec "$@"
"""

SERVER_CONFIG = """
Port {port}
HostKey {folder}/{host_key}
PidFile none
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
UsePAM no
PubkeyAuthentication yes
PasswordAuthentication {password}
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PermitUserEnvironment no
AllowTcpForwarding yes
AllowStreamLocalForwarding yes
GatewayPorts no
MaxStartups 200
MaxSessions 200
UseDNS no
PrintMotd no
PrintLastLog no
LogLevel VERBOSE
Subsystem sftp internal-sftp
SetEnv "PATH={path}" "TMPDIR={tmp}" "XDG_CACHE_HOME={tmp}/cache"
"""

CLIENT_DEFAULTS = """
Host *
    UserKnownHostsFile {folder}/known_hosts
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    ConnectTimeout 5
    KexAlgorithms curve25519-sha256
    LogLevel ERROR
    IdentityFile {folder}/id_ed25519
    IdentitiesOnly yes
    IdentityAgent none
    NumberOfPasswordPrompts 1
"""


def missing() -> str | None:
    """Why there can be no server here; None if there can."""
    for program in ("ssh", "ssh-keygen", "/usr/sbin/sshd"):
        if shutil.which(program) is None:
            return f"{program} is not installed (scripts/debian-packages-test.txt)"
    return None


def make_key(path: pathlib.Path) -> str:
    """A new key without a passphrase; its public half as known_hosts has it."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


def hashed(password: str) -> str:
    crypt = ctypes.CDLL(ctypes.util.find_library("crypt") or "libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    crypt.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    return crypt(password.encode(), b"$6$ergontests$").decode()


def make_users(folder: pathlib.Path, home: pathlib.Path) -> pathlib.Path:
    """A user database: the machine's, with other homes for this user and `guest`, who has a password."""
    me = pwd.getpwuid(os.getuid()).pw_name
    passwd = []
    for line in pathlib.Path("/etc/passwd").read_text().splitlines():
        fields = line.split(":")
        if fields[0] == me:
            fields[5], fields[6] = str(home), "/bin/bash"
        if fields[0] != GUEST:
            passwd.append(":".join(fields))
    for guest_home in (folder / "guest", home):
        guest_home.mkdir(parents=True, exist_ok=True)
    os.chown(folder / "guest", 64000, 64000)
    passwd.append(f"{GUEST}:x:64000:64000::{folder / 'guest'}:/bin/bash")
    shadow = [line for line in pathlib.Path("/etc/shadow").read_text().splitlines() if line.split(":")[0] != GUEST]
    shadow.append(f"{GUEST}:{hashed(PASSWORD)}:19000:0:99999:7:::")
    (folder / "passwd").write_text("\n".join(passwd) + "\n")
    (folder / "shadow").write_text("\n".join(shadow) + "\n")
    (folder / "shadow").chmod(0o600)
    return folder


def search_path(with_ergon: bool) -> str:
    """PATH of a host: with this tree's interpreter and command in front, or with another one that has no ergon."""
    plain = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    return f"{ROOT / '.venv' / 'bin'}:{plain}" if with_ergon else plain


def bare_python(folder: pathlib.Path) -> str:
    """A folder whose `python3` is the interpreter .venv was made from: the same version, without our packages."""
    folder.mkdir(parents=True, exist_ok=True)
    base = pathlib.Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    for name in ("python3", f"python3.{sys.version_info.minor}"):
        with contextlib.suppress(FileExistsError):
            (folder / name).symlink_to(base)
    return str(folder)


def free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


def answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


def open_traversal(folder: pathlib.Path) -> None:
    """Lets other users reach files below `folder` whose names they know: the server reads keys as the user."""
    for place in (folder, *folder.parents):
        if str(place) in ("/", "/tmp"):
            break
        with contextlib.suppress(PermissionError):
            place.chmod(place.stat().st_mode | 0o011)


class Sshd:
    """One server on loopback.

    Its names in `config`: `node` and `other` (keys, this user; 127.0.0.1 and 127.0.0.2), and as root
    `node-pw` (password, user `guest`).
    """

    def __init__(self, folder: pathlib.Path, with_ergon: bool = True) -> None:
        self.folder = folder
        self.root = os.getuid() == 0
        self.port = free_port("127.0.0.1")
        self.config = folder / "ssh_config"
        self.password = PASSWORD
        self.hosts = ["node", "other"]
        self.server: subprocess.Popen | None = None
        open_traversal(folder)
        self._write(with_ergon)

    def _write(self, with_ergon: bool) -> None:
        folder = self.folder
        host_key = make_key(folder / "host_ed25519")
        make_key(folder / "id_ed25519")
        shutil.copy(folder / "id_ed25519.pub", folder / "authorized_keys")
        (folder / "authorized_keys").chmod(0o644)
        (folder / "empty").touch()
        self.tmp = folder / "tmp"
        self.tmp.mkdir()
        self.tmp.chmod(0o1777)
        path = search_path(with_ergon)
        if not with_ergon:
            path = f"{bare_python(folder / 'bin')}:{path}"
        password = "yes" if self.root else "no"
        text = SERVER_CONFIG.format(
            port=self.port, folder=folder, host_key="host_ed25519", password=password, path=path, tmp=self.tmp
        )
        (folder / "sshd_config").write_text(f"ListenAddress 127.0.0.1\nListenAddress 127.0.0.2\n{text}")
        names = ",".join(f"[127.0.0.{n}]:{self.port}" for n in (1, 2))
        (folder / "known_hosts").write_text(f"{names} {host_key}\n")
        me = pwd.getpwuid(os.getuid()).pw_name
        config = "".join(
            f"Host {name}\n    HostName 127.0.0.{n}\n    Port {self.port}\n    User {me}\n    BatchMode yes\n"
            for n, name in enumerate(self.hosts, 1)
        )
        if self.root:
            config += f"Host node-pw\n    HostName 127.0.0.1\n    Port {self.port}\n    User {GUEST}\n"
            config += "    PubkeyAuthentication no\n    PreferredAuthentications password\n"
        self.config.write_text(config + CLIENT_DEFAULTS.format(folder=folder))

    def start(self) -> None:
        command = ["/usr/sbin/sshd", "-D", "-e", "-f", str(self.folder / "sshd_config")]
        environment = dict(os.environ, USERS="", HIDE="", EMPTY=str(self.folder / "empty"))
        if self.root:
            environment["USERS"] = str(make_users(self.folder, self.folder / "home"))
            command = ["unshare", "--mount", "bash", "-c", PRELUDE, "sshd", *command]
        if shutil.which("setpriv"):  # it ends with the tests, however they end
            command = ["setpriv", "--pdeathsig", "TERM", *command]
        with open(self.folder / "sshd.log", "ab") as log:
            self.server = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        deadline = time.monotonic() + 20
        while not answers("127.0.0.1", self.port):
            if self.server.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError("sshd did not come up:\n" + (self.folder / "sshd.log").read_text()[-2000:])
            time.sleep(0.02)

    def sessions(self) -> list[leaks.Process]:
        """The processes of connections and of what runs in them."""
        return leaks.descendants(self.server.pid) if self.server else []

    def cut(self) -> None:
        """Ends every connection at once, as a broken link does; new ones are possible."""
        for process in self.sessions():
            if process.name.startswith("sshd"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)

    def stop(self) -> None:
        if self.server is None:
            return
        sessions = self.sessions()
        self.server.terminate()
        self.server.wait()
        self.server = None
        for process in sessions:
            now = leaks.read_process(process.pid)
            if now and now.start == process.start:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
        leaks.wait_gone([process.pid for process in sessions])
        for place in (self.tmp, self.folder / "guest"):
            shutil.rmtree(place, ignore_errors=True)
