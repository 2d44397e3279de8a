"""How an agent comes to be on another host: what is sent there, what is kept, who outlives whom."""

import glob
import os
import pathlib
import re
import signal
import sys
import time

import link
import pytest
import sshd as sshd_server
from ergon import _boot, _seed
from link import Link, daemons, gone

SHELL = 'exec:sh -c "$ERGON_AGENT"'


@pytest.fixture
def bare(tmp_path):
    """The environment of a host that has this Python and nothing else: no ergon, an empty cache."""
    folder = tmp_path / "bin"
    path = f"{sshd_server.bare_python(folder)}:/usr/bin:/bin"
    return {"PATH": path, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)}


def end(session):
    for pid in daemons(session):
        os.kill(pid, signal.SIGTERM)
    gone(session)


def seeds(bare):
    folder = pathlib.Path(bare["XDG_CACHE_HOME"]) / "ergon" / "seeds"
    return sorted(folder.iterdir()) if folder.exists() else []


def test_a_seed_is_made_once():
    path, digest = _seed.archive()
    before = os.stat(path)
    assert _seed._find_archive() == (path, digest)
    assert os.stat(path).st_mtime_ns == before.st_mtime_ns
    assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700


def test_a_host_without_ergon_gets_it_once(bare):
    first = Link(SHELL, environ=bare)
    assert first.seeded
    (seed,) = seeds(bare)
    assert seed.name == _seed.archive()[1]
    second = Link(SHELL, environ=bare)
    assert not second.seeded
    for one in (first, second):
        end(one.session)
        one.close()


def test_a_host_with_ergon_uses_its_own(bare):
    environ = {**bare, "PYTHONPATH": str(pathlib.Path(_seed._PACKAGE).parent)}
    one = Link(SHELL, environ=environ)
    assert not one.seeded and not seeds(bare)
    end(one.session)
    one.close()


def test_a_seed_somebody_could_have_changed_is_not_used(bare):
    first = Link(SHELL, environ=bare)
    end(first.session)
    first.close()
    (seed,) = seeds(bare)
    seed.chmod(0o777)
    second = Link(SHELL, environ=bare)
    assert second.seeded
    assert seed.stat().st_mode & 0o777 == 0o700
    end(second.session)
    second.close()


def test_half_an_installation_is_no_installation(bare):
    first = Link(SHELL, environ=bare)
    end(first.session)
    first.close()
    (seed,) = seeds(bare)
    (seed / ".complete").unlink()
    second = Link(SHELL, environ=bare)
    assert second.seeded
    end(second.session)
    second.close()


def test_old_seeds_are_removed(bare):
    old = pathlib.Path(bare["XDG_CACHE_HOME"]) / "ergon" / "seeds" / "0123"
    recent = old.with_name("4567")
    for folder, days in ((old, _boot.KEEP_DAYS + 1), (recent, _boot.KEEP_DAYS - 1)):
        folder.mkdir(parents=True)
        (folder / ".complete").touch()
        then = time.time() - days * 86400
        os.utime(folder / ".complete", (then, then))
    for folder in (old.parent, old.parent.parent):
        folder.chmod(0o700)
    one = Link(SHELL, environ=bare)
    assert recent in seeds(bare) and old not in seeds(bare)
    end(one.session)
    one.close()


def test_tmp_dir(bare, tmp_path):
    one = Link(f"{SHELL}?tmp_dir={tmp_path}/x", environ=bare)
    assert one.seeded and not seeds(bare)
    assert list((tmp_path / "x").glob("ergon-*/seeds/*/ergon/__init__.py"))
    end(one.session)
    one.close()


def test_a_full_disk_is_named(bare):
    if os.getuid() != 0:
        pytest.skip("a small file system needs root")
    small = os.path.join(bare["HOME"], "small")
    os.mkdir(small)
    environ = {**bare, "XDG_CACHE_HOME": small, "TMPDIR": small}
    mount = f'mount -t tmpfs -o size=200k none {small} && exec sh -c "$0"'
    with pytest.raises(RuntimeError, match="No space left on device.*tmp_dir"):
        Link(f"exec:unshare -m sh -c '{mount}' \"$ERGON_AGENT\"", environ=environ)


def test_what_is_missing_is_said(bare, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "sh").symlink_to("/bin/sh")
    with pytest.raises(RuntimeError, match=r"no python3\.\d+ and no python3 on PATH: .*python=PATH"):
        Link(SHELL, environ={**bare, "PATH": str(empty)})
    with pytest.raises(RuntimeError, match="no /no/such/python: name another"):
        Link(f"{SHELL}?python=/no/such/python", environ=bare)


def other_pythons():
    """Of other versions, on this machine. Not by PATH: pyenv's shims are there whether or not they run, and slow."""
    root = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    own = f"python3.{sys.version_info.minor}"
    for pattern in ("/usr/bin/python3.*", "/usr/local/bin/python3.*", f"{root}/versions/*/bin/python3.*"):
        for found in glob.glob(pattern):
            name = os.path.basename(found)
            if re.fullmatch(r"python3\.(8|9|1\d)", name) and name != own:
                yield found


def test_another_python_is_said(bare, tmp_path):
    """One that says it is another, and one that is where this machine has it."""
    pretends = tmp_path / "pretends"
    pretends.mkdir()
    (pretends / "sitecustomize.py").write_text("import sys\nsys.version_info = (3, 9, 2, 'final', 0)\n")
    words = r"Python 3\.(\d+) runs there \(.*\) and 3\.\d+ here.*python=PATH"
    with pytest.raises(RuntimeError, match=words.replace(r"(\d+)", "9")):
        Link(SHELL, environ={**bare, "PYTHONPATH": str(pretends)})
    for python in list(other_pythons())[:1]:
        with pytest.raises(RuntimeError, match=words):
            Link(f"{SHELL}?python={python}", environ=bare)


def test_what_a_shell_says_first_is_skipped(bare):
    one = Link("exec:echo Welcome; " + SHELL[5:], environ=bare)
    end(one.session)
    one.close()


# --- who outlives whom ---------------------------------------------------------------------------------------


def test_an_agent_outlives_its_link_and_is_found_again(bare):
    first = Link(SHELL, environ=bare)
    (daemon,) = daemons(first.session)
    first.hang_up()
    second = Link(SHELL, session=first.session, environ=bare)
    assert daemons(first.session) == [daemon]
    end(first.session)
    assert second.close() == 0


def test_a_later_link_takes_the_place_of_an_earlier_one(bare):
    first = Link(SHELL, environ=bare)
    second = Link(SHELL, session=first.session, environ=bare)
    with pytest.raises(link.Ended):
        first.frame()
    first.close()
    end(second.session)
    second.close()


def test_a_killed_agent_leaves_nothing(bare):
    first = Link(SHELL, environ=bare)
    for pid in daemons(first.session):
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(link.Ended):
        first.frame()
    first.close()
    gone(first.session)


# --- through ssh ---------------------------------------------------------------------------------------------


def ssh(sshd, name):
    return lambda spec: ["ssh", "-F", str(sshd.config), "-o", "BatchMode=yes", name, spec["command"]]


@pytest.mark.slow
def test_an_agent_through_ssh(sshd):
    first = Link("ssh://node", command=ssh(sshd, "node"))
    (daemon,) = daemons(first.session)
    sshd.cut()
    with pytest.raises(link.Ended):
        first.frame()
    first.close()
    second = Link("ssh://node", session=first.session, command=ssh(sshd, "node"))
    assert daemons(first.session) == [daemon]
    end(first.session)
    second.close()


@pytest.mark.slow
def test_a_host_that_lacks_every_library_of_ours(make_hosts):
    libraries = [path for _, path in _seed._sources() if "/lib" in path and ".so." in path]
    libraries = [path for path in libraries if "liblz4" not in path]  # Debian's sshd itself needs that one
    assert libraries  # libuv and libsodium
    hosts = make_hosts(1, with_ergon=False, hide=[os.path.realpath(path) for path in libraries])
    name = next(iter(hosts)).name

    def command(spec):
        return ["ssh", "-F", str(hosts.config), "-o", "BatchMode=yes", name, spec["command"]]

    python = os.path.realpath(sys.executable)
    first = Link(f"ssh://{name}?python={python}", command=command)
    assert first.seeded
    second = Link(f"ssh://{name}?python={python}", session=first.session, command=command)
    assert not second.seeded
    (agent,) = [p.pid for p in hosts[name].processes() if p.name == "ergon-agent"]
    os.kill(agent, signal.SIGTERM)
    first.close()
    assert second.close() == 0
