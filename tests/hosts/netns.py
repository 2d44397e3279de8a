"""Several hosts on this machine: namespaces (network, host name, IPC, processes, mounts) with an OpenSSH server each.

The caller is at 10.77.K.1 on a bridge of its own, hosts h1, h2, … at 10.77.K.11, .12, …; K is the first that is free,
so that several test runs live side by side. Every host has its own temporary folder and home. Links can be cut, healed,
and (with `shaped`) given latency, jitter, loss and rate. Everything dies with the process that made it; only a bridge
may be left by one that was killed, and the next run takes it away. Needs root.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import time

import leaks
import sshd

HERE = pathlib.Path(__file__).resolve().parent
_missing: list[str | None] = []


def missing() -> str | None:
    """Why there can be no hosts here; None if there can."""
    if not _missing:
        _missing.append(_look())
    return _missing[0]


def _look() -> str | None:
    if os.getuid() != 0:
        return "hosts in network namespaces need root"
    for program in ("ip", "unshare", "nsenter", "setpriv", "bash"):
        if shutil.which(program) is None:
            return f"{program} is not installed (scripts/debian-packages-test.txt)"
    if why := sshd.missing():
        return why
    probe = "mount -t tmpfs none /mnt && ip link add erg-probe0 type veth peer name erg-probe1"
    flags = ["--net", "--uts", "--ipc", "--pid", "--mount", "--fork", "--mount-proc"]
    done = subprocess.run(["unshare", *flags, "sh", "-c", probe], capture_output=True, text=True)
    return f"no namespaces here: {done.stderr.strip()}" if done.returncode else None


def ip(*words: object, check: bool = True) -> subprocess.CompletedProcess:
    done = subprocess.run(["ip", *map(str, words)], capture_output=True, text=True)
    if check and done.returncode:
        raise RuntimeError(f"ip {' '.join(map(str, words))}: {done.stderr.strip()}")
    return done


def _owner_lives(alias: str) -> bool:
    pid, _, start = alias.partition("-")
    process = leaks.read_process(int(pid)) if pid.isdigit() else None
    return process is not None and str(process.start) == start


def take_bridge() -> int:
    """The first free K: the bridge ergtK is made and carries the name of its owner."""
    me = leaks.read_process(os.getpid())
    for k in range(1, 250):
        shown = ip("-j", "link", "show", f"ergt{k}", check=False)
        if shown.returncode == 0:
            alias = json.loads(shown.stdout)[0].get("ifalias", "")
            if not alias or _owner_lives(alias):
                continue
            ip("link", "del", f"ergt{k}", check=False)
        if ip("link", "add", f"ergt{k}", "type", "bridge", check=False).returncode:
            continue
        ip("link", "set", f"ergt{k}", "alias", f"{me.pid}-{me.start}")
        ip("addr", "add", f"10.77.{k}.1/24", "dev", f"ergt{k}")
        ip("link", "set", f"ergt{k}", "up")
        return k
    raise RuntimeError("no free bridge ergt1 to ergt249")


def build_netwire(folder: pathlib.Path) -> pathlib.Path:
    program = folder / "netwire"
    if not program.exists():
        subprocess.run(["cc", "-O2", "-o", program, HERE / "netwire.c"], check=True)
    return program


class Host:
    """One host; made by `Hosts`."""

    def __init__(self, hosts: Hosts, number: int, with_ergon: bool, hide: tuple[str, ...]) -> None:
        self.hosts, self.number, self.name = hosts, number, f"h{number}"
        self.address = f"10.77.{hosts.k}.{10 + number}"
        self.link = f"ergt{hosts.k}h{number}"
        self.folder = hosts.folder / self.name
        self.tmp = self.folder / "tmp"
        self.hide = hide
        self.host_key = "host_ed25519"
        self.with_ergon = with_ergon
        self.up: subprocess.Popen | None = None
        self.wire: subprocess.Popen | None = None
        self.pid = 0
        self.tmp.mkdir(parents=True)
        self.tmp.chmod(0o1777)
        sshd.make_users(self.folder, self.folder / "home")
        (self.folder / "wire").write_text("0 0 0 0\n")

    def _write_config(self) -> None:
        path = sshd.search_path(self.with_ergon)
        if not self.with_ergon:
            path = f"{sshd.bare_python(self.hosts.folder / 'bin')}:{path}"
        text = sshd.SERVER_CONFIG.format(
            port=22, folder=self.hosts.folder, host_key=self.host_key, password="yes", path=path, tmp=self.tmp
        )
        (self.folder / "sshd_config").write_text(f"ListenAddress {self.address}\nListenAddress 127.0.0.1\n{text}")

    def boot(self) -> None:
        """Starts the host; it can be reached when this returns."""
        self._write_config()
        start = f"hostname {self.name}; read ready; "
        start += sshd.PRELUDE.replace("\nset -e\n", "\nset -e\nip link set lo up\n", 1)
        flags = ["--net", "--uts", "--ipc", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"]
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", *flags, "bash", "-c", start, "boot"]
        command += ["/usr/sbin/sshd", "-D", "-e", "-f", str(self.folder / "sshd_config")]
        environment = dict(os.environ, USERS=str(self.folder), HIDE=" ".join(self.hide))
        environment["EMPTY"] = str(self.hosts.folder / "empty")
        with open(self.folder / "log", "ab") as log:
            self.up = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        self.pid = self._wait("namespaces", self._first_process)
        self._plug()
        self.up.stdin.write(b"\n")
        self.up.stdin.close()
        self._wait("sshd", lambda: sshd.answers(self.address, 22))

    def _first_process(self) -> int:
        """The host's process 1, once it has namespaces of its own."""
        for child in leaks.descendants(self.up.pid):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{child.pid}/ns/net") != os.readlink("/proc/self/ns/net"):
                    return child.pid
        return 0

    def _wait(self, what: str, ready) -> int:
        deadline = time.monotonic() + 30
        while not (found := ready()):
            if self.up.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name}: no {what}:\n" + (self.folder / "log").read_text()[-2000:])
            time.sleep(0.01)
        return found

    def _plug(self) -> None:
        """Connects the host's eth0 to the bridge."""
        if self.hosts.shaped:
            command = [str(build_netwire(self.hosts.folder)), f"/proc/{self.pid}/ns/net", "eth0", self.link]
            with open(self.folder / "wire.log", "ab") as log:
                self.wire = subprocess.Popen(
                    ["setpriv", "--pdeathsig", "KILL", *command, str(self.folder / "wire")], stderr=log
                )
            self._wait("link", lambda: ip("link", "show", self.link, check=False).returncode == 0)
        else:
            ip("link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", self.pid)
        ip("link", "set", self.link, "master", f"ergt{self.hosts.k}", "up")
        # The same address after every boot, so that nobody's neighbour table is out of date.
        self.exec("ip", "link", "set", "eth0", "address", f"02:00:0a:4d:{self.hosts.k:02x}:{self.number:02x}")
        for words in (
            f"addr add {self.address}/24 dev eth0",
            "link set eth0 up",
            f"route add default via 10.77.{self.hosts.k}.1",
        ):
            self.exec("ip", *words.split())

    def exec(self, *command: str) -> str:
        """Runs a program inside the host, not through ssh; its output."""
        inside = ["nsenter", "-t", str(self.pid), "--all", "--", *command]
        done = subprocess.run(inside, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{self.name}: {' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def processes(self) -> list[leaks.Process]:
        """What runs on the host apart from the ssh server and its connections."""
        return [p for p in self._all_processes() if p.pid != self.pid and not p.name.startswith("sshd")]

    def _all_processes(self) -> list[leaks.Process]:
        try:
            mine = os.readlink(f"/proc/{self.pid}/ns/pid")
        except OSError:
            return []
        found = []
        for process in leaks.all_processes().values():
            with contextlib.suppress(OSError):
                if process.state != "Z" and os.readlink(f"/proc/{process.pid}/ns/pid") == mine:
                    found.append(process)
        return found

    def kill(self, pid: int, sig: int = signal.SIGKILL) -> None:
        """Sends a signal to a process of the host, by its pid as this machine has it (see `processes`), if it is there."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sig)

    def cut(self) -> None:
        """Takes the link down: packets vanish in silence."""
        ip("link", "set", self.link, "down")

    def heal(self) -> None:
        ip("link", "set", self.link, "up")

    def disconnect(self) -> None:
        """Ends every ssh connection of the host at once; new ones are possible."""
        for process in self._all_processes():
            if process.pid != self.pid and process.name.startswith("sshd"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)

    def shape(self, delay_us: int = 0, jitter_us: int = 0, loss_ppm: int = 0, rate_kbit: int = 0) -> None:
        """Latency in each direction, its jitter, loss, and rate; 0 is none. For hosts made with `shaped`."""
        if self.wire is None:
            raise RuntimeError("make_hosts(shaped=True) makes hosts whose links can be shaped")
        (self.folder / "wire").write_text(f"{delay_us} {jitter_us} {loss_ppm} {rate_kbit}\n")
        self.wire.send_signal(signal.SIGHUP)

    def change_key(self) -> None:
        """Gives the host another key than known_hosts has, from the next `boot` on."""
        self.host_key = f"{self.name}_other"
        if not (self.hosts.folder / self.host_key).exists():
            sshd.make_key(self.hosts.folder / self.host_key)

    def crash(self) -> None:
        """The machine stops without a word: its link goes down, then everything on it is killed. `boot` starts it."""
        if self.up is None:
            return
        ip("link", "set", self.link, "down", check=False)
        left = [process.pid for process in self._all_processes()]
        self.up.kill()
        self.up.wait()
        self.up.stdin.close()
        leaks.wait_gone(left)
        if self.wire is not None:
            self.wire.kill()
            self.wire.wait()
            self.wire = None
        ip("link", "del", self.link, check=False)
        self.up = None


class Hosts:
    """Hosts h1 to hN; `hosts["h2"]` is a `Host`. `config` is the ssh configuration that knows them."""

    def __init__(
        self, folder: pathlib.Path, n: int, shaped: bool = False, with_ergon: bool = True, hide: tuple[str, ...] = ()
    ) -> None:
        self.folder, self.shaped = folder, shaped
        self.config = folder / "ssh_config"
        sshd.open_traversal(folder)
        key = sshd.make_key(folder / "host_ed25519")
        sshd.make_key(folder / "id_ed25519")
        shutil.copy(folder / "id_ed25519.pub", folder / "authorized_keys")
        (folder / "authorized_keys").chmod(0o644)
        (folder / "empty").touch()
        self.k = take_bridge()
        self.address = f"10.77.{self.k}.1"
        self.all = [Host(self, number, with_ergon, hide) for number in range(1, n + 1)]
        self._write(key)
        try:
            for host in self.all:
                host.boot()
        except BaseException:
            self.stop()
            raise

    def _write(self, key: str) -> None:
        me = pwd.getpwuid(os.getuid()).pw_name
        known, config = "", ""
        for host in self.all:
            known += f"{host.name},{host.address} {key}\n"
            config += f"Host {host.name}\n    HostName {host.address}\n    User {me}\n    BatchMode yes\n"
            config += f"Host {host.name}-pw\n    HostName {host.address}\n    User {sshd.GUEST}\n"
            config += "    PubkeyAuthentication no\n    PreferredAuthentications password\n"
        (self.folder / "known_hosts").write_text(known)
        self.config.write_text(config + sshd.CLIENT_DEFAULTS.format(folder=self.folder))

    def __getitem__(self, name: str) -> Host:
        for host in self.all:
            if host.name == name:
                return host
        raise KeyError(name)

    def __iter__(self):
        return iter(self.all)

    def __len__(self) -> int:
        return len(self.all)

    def left_over(self, patience: float = 20.0) -> list[str]:
        """What still runs on the hosts after `patience` seconds, a line each."""
        deadline = time.monotonic() + patience
        while True:
            found = [f"{host.name}: {p.describe()}" for host in self.all for p in host.processes()]
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.05)

    def stop(self) -> None:
        for host in self.all:
            host.crash()
        ip("link", "del", f"ergt{self.k}", check=False)
        for host in self.all:
            shutil.rmtree(host.folder, ignore_errors=True)
