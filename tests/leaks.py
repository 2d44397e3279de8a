"""What a test run leaves behind: processes, descriptors, threads, shared memory, sockets, temporary files.

Used by conftest.py around every test module, and by fault tests on what a killed program left. Works on
/proc alone and knows nothing about how pools are built.

A process counts as ours when it descends from the process that asks, or when it started after the
snapshot and has something of this source tree mapped (the extension module, the command, a test
program): that finds daemons and orphans too. Those of another test run, which may go on beside this one in
the same tree, are told by their environment: each run has a temporary folder of its own, see conftest.py.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import re
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROC = pathlib.Path("/proc")
SHM = pathlib.Path("/dev/shm")
RUN_PREFIX = "ergt-"  # of the temporary folder of a test run, right below /tmp
RUN = re.compile(rf"/tmp/{RUN_PREFIX}\w+".encode())


@dataclasses.dataclass(frozen=True)
class Process:
    """One line of /proc/PID/stat. `start` is in clock ticks since boot: with the pid it names a process for good."""

    pid: int
    parent: int
    state: str
    start: int
    name: str

    def describe(self) -> str:
        try:
            line = (PROC / str(self.pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            line = ""
        return f"pid {self.pid} ({self.name}, state {self.state}, parent {self.parent}) {line[:200]}"


def read_process(pid: int) -> Process | None:
    """The process as it is now; None when there is none."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    name = text[text.index("(") + 1 : text.rindex(")")]
    fields = text[text.rindex(")") + 2 :].split()
    return Process(pid, int(fields[1]), fields[0], int(fields[19]), name)


def all_processes() -> dict[int, Process]:
    found = {}
    for entry in os.listdir(PROC):
        if entry.isdigit():
            process = read_process(int(entry))
            if process:
                found[process.pid] = process
    return found


def descendants(root: int, processes: dict[int, Process] | None = None) -> list[Process]:
    """Children of `root`, their children, and so on."""
    processes = all_processes() if processes is None else processes
    children: dict[int, list[Process]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process)
    found, todo = [], [root]
    while todo:
        for child in children.get(todo.pop(), ()):
            found.append(child)
            todo.append(child.pid)
    return found


def _maps_this_tree(pid: int, root: str) -> bool:
    try:
        with open(PROC / str(pid) / "maps", errors="replace") as maps:
            return any(root in line and (".so" in line or "r-xp" in line) for line in maps)
    except OSError:
        return False


def _of_another_run(pid: int, own: bytes | None) -> bool:
    """Was it started with the temporary folder of another test run, and not with ours?"""
    try:
        runs = set(RUN.findall((PROC / str(pid) / "environ").read_bytes()))
    except OSError:
        return False
    return own is not None and bool(runs) and own not in runs


def _descriptors(pid: int | str = "self") -> dict[int, str]:
    found = {}
    folder = PROC / str(pid) / "fd"
    for entry in os.listdir(folder):
        with contextlib.suppress(OSError):
            target = os.readlink(folder / entry)
            if "/sanitizer." not in target:  # a sanitizer's report: scripts/sanitized.sh reads it
                found[int(entry)] = target
    return found


def _names(folder: pathlib.Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()


def _held_by_somebody(path: str) -> bool:
    """Is the file mapped or open in any process? Then somebody who lives owns it."""
    for pid in filter(str.isdigit, os.listdir(PROC)):
        with contextlib.suppress(OSError):
            if any(target == path for target in _descriptors(pid).values()):
                return True
            with open(PROC / pid / "maps", errors="replace") as maps:
                if any(line.rstrip().endswith(path) for line in maps):
                    return True
    return False


class Snapshot:
    """The state of this process and machine at one moment; `leaks()` says what came on top since.

    `folder` is a private temporary folder (see conftest.py): whatever lies in it later, beyond names in `keep`,
    was left there by somebody of ours.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None, keep: tuple[str, ...] = ("pytest-of-",)) -> None:
        self.pid = os.getpid()
        self.root = str(ROOT)
        run = RUN.match(os.environ.get("TMPDIR", "").encode())
        self.run = run.group() if run else None
        self.folder = pathlib.Path(folder) if folder is not None else None
        self.keep = keep
        processes = all_processes()
        self.clock = processes[self.pid].start
        self.known = {(p.pid, p.start) for p in processes.values()}
        self.descriptors = _descriptors()
        self.threads = self._count_threads()
        self.shm = _names(SHM)
        self.files = self._files()

    @staticmethod
    def _count_threads() -> int:
        return len(os.listdir("/proc/self/task"))

    def _files(self) -> set[str]:
        return {n for n in _names(self.folder) if not n.startswith(self.keep)} if self.folder else set()

    def processes(self) -> list[Process]:
        """Processes of ours that were not there before; zombies of ours included (somebody must reap them)."""
        now = all_processes()
        mine = {p.pid for p in descendants(self.pid, now)}
        found = []
        for process in now.values():
            if (process.pid, process.start) in self.known or process.pid == self.pid:
                continue
            if process.pid in mine:
                found.append(process)
            elif _maps_this_tree(process.pid, self.root) and not _of_another_run(process.pid, self.run):
                found.append(process)
        return found

    def leaks(self, patience: float = 30.0, threads: bool = True) -> list[str]:
        """One sentence for each thing left behind. What is on its way out gets `patience` seconds."""
        deadline = time.monotonic() + patience
        pause = 0.002
        while True:
            found = self._look(threads)
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(pause)
            pause = min(pause * 2, 0.1)

    def _look(self, threads: bool) -> list[str]:
        found = [f"process left: {p.describe()}" for p in self.processes()]
        for fd, target in _descriptors().items():
            before = self.descriptors.get(fd)
            if before is None and "/proc/" not in target:
                found.append(f"descriptor left open: {fd} -> {target}")
        if threads and self._count_threads() > self.threads:
            found.append(f"threads left: {self._count_threads()} now, {self.threads} before")
        for name in sorted(_names(SHM) - self.shm):
            if name.startswith("erg") and not _held_by_somebody(str(SHM / name)):
                found.append(f"shared memory left: {SHM / name}")
        for name in sorted(self._files() - self.files):
            found.append(f"file left: {self.folder / name}")
        return found


def wait_gone(pids: list[int], patience: float = 10.0) -> list[Process]:
    """Waits until none of the processes runs (zombies count as gone: they are their parent's to reap); returns
    those that still do."""
    before = {pid: read_process(pid) for pid in pids}
    deadline = time.monotonic() + patience
    while True:
        left = []
        for pid, old in before.items():
            now = read_process(pid)
            if now and old and now.start == old.start and now.state not in "ZX":
                left.append(now)
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.01)
