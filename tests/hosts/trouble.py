"""What tests share that kill and cut something between a pool and its hosts."""

from __future__ import annotations

import os
import pathlib
import time

import leaks


def note(path, item, seconds=0.005):
    """Leaves a line for each time it runs."""
    time.sleep(seconds)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(fd, b"%d\n" % item)
    os.close(fd)
    return item * item


def ran(path):
    """The items that left a line, sorted; the file is removed."""
    items = sorted(map(int, pathlib.Path(path).read_text().split()))
    os.unlink(path)
    return items


def where(_=None):
    return os.uname().nodename


def nothing_left(machine, seconds):
    """Of the pool on the host, in so many seconds."""
    deadline = time.monotonic() + seconds
    while left := machine.processes():
        assert time.monotonic() < deadline, [p.describe() for p in left]
        time.sleep(0.1)


def victims(machine, client):
    """Who takes part, by name: pids as this machine has them."""
    processes = machine.processes()
    (agent,) = [p for p in processes if p.name == "ergon-agent"]
    (zygote,) = [p for p in processes if p.parent == agent.pid]
    attached = [p for p in processes if p.pid not in (agent.pid, zygote.pid) and p.parent != zygote.pid]
    ssh = [p for p in leaks.descendants(client) if p.name == "ssh"]
    deadline = time.monotonic() + 20  # it comes up beside the agent
    while not (keeper := [p for p in leaks.descendants(client) if p.name == "ergon-keeper"]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return {
        "agent": agent.pid,
        "zygote": zygote.pid,
        "attached": attached[-1].pid,
        "worker": next(p.pid for p in processes if p.parent == zygote.pid),
        "ssh": ssh[-1].pid,
        "keeper": keeper[0].pid,
    }
