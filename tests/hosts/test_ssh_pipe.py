"""ergon.ssh.Pipe and Copier: commands and files on hosts."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import leaks
import pytest
from ergon import hosts as registry
from ergon import ssh
from ergon.errors import ConfigError, SshError

pytestmark = pytest.mark.slow


def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def gone(pid):
    process = leaks.read_process(pid)
    return process is None or process.state == "Z"


@pytest.fixture(params=["local", "node"])
def host(request, sshd):
    return None if request.param == "local" else request.param


def test_the_output_of_a_command(host):
    assert ssh.Pipe(host, "echo one; echo two >&2; echo three")() == "one\nthree\n"
    pipe = ssh.Pipe(host, ["printf", "%s|", "a b", "'c'", "$d"])
    assert pipe() == "a b|'c'|$d|"
    assert pipe.status() == 0
    assert ssh.Pipe(host, "printf '\\377'", text=False)() == b"\xff"


def test_standard_error_and_status(host):
    pipe = ssh.Pipe(host, "echo words >&2; exit 7")
    assert pipe.response() == "" and pipe.status() == 7 and pipe.errors == "words\n"
    with pytest.raises(SshError, match="status 7: words"):
        pipe()


def test_standard_input(host):
    data = os.urandom(1 << 20)
    assert ssh.Pipe(host, "sha1sum", stdin=data)().split()[0] == __import__("hashlib").sha1(data).hexdigest()
    assert ssh.Pipe(host, "cat", stdin="one\ntwo")() == "one\ntwo"
    assert ssh.Pipe(host, "cat")() == ""
    assert ssh.Pipe(host, "head -c 3", stdin=data, text=False)() == data[:3]


def test_much_output(host):
    assert len(ssh.Pipe(host, "head -c 5000000 /dev/zero", text=False)()) == 5_000_000


def test_in_the_background(host):
    with ssh.Pipe(host, "sleep 0.5; echo done", background=True) as pipe:
        assert pipe.pid is None and pipe.status() is None
        pipe.launch()
        assert pipe.status() is None and leaks.read_process(pipe.pid).name in ("sh", "dash", "bash")
        with pytest.raises(TimeoutError):
            pipe.response(timeout=0.05)
        assert pipe.response() == "done\n" and pipe.status() == 0
    assert gone(pipe.pid)


def test_killing_ends_all_it_started(host, tmp_path):
    pids = tmp_path / "pids"
    pipe = ssh.Pipe(host, f"sleep 100 & echo $! > {pids}; sleep 101; true", background=True)
    pipe.launch()
    until(lambda: pids.exists() and pids.read_text())
    child = int(pids.read_text())
    assert not gone(child)
    pipe.kill()
    assert pipe.status() == 128 + signal.SIGTERM
    until(lambda: gone(child) and gone(pipe.pid))


def test_what_ignores_the_first_signal_gets_another(host):
    pipe = ssh.Pipe(host, "trap '' TERM; echo up; while :; do sleep 0.1; done", background=True, grace=0.3)
    pipe.launch()
    pid = pipe.pid
    pipe.kill()
    assert pipe.status() not in (None, 0)
    until(lambda: gone(pid))


def test_other_signals(host):
    pipe = ssh.Pipe(host, "trap 'echo usr; exit 3' USR1; echo up; while :; do sleep 0.05; done", background=True)
    pipe.launch()
    until(lambda: b"up" in pipe._output)
    pipe.kill(signal.SIGUSR1)
    assert pipe.response(20) == "up\nusr\n" and pipe.status() == 3
    pipe = ssh.Pipe(host, "sleep 100", background=True)
    pipe.launch()
    pipe.kill(signal.SIGKILL)
    assert pipe.status() == 128 + signal.SIGKILL


def test_the_command_ends_with_the_program_that_started_it(host, tmp_path):
    noted = tmp_path / "pid"
    program = (
        "import sys, time\nfrom ergon import ssh\n"
        f"pipe = ssh.Pipe({host!r}, 'sleep 100', background=True)\npipe.launch()\n"
        f"open({str(noted)!r}, 'w').write(str(pipe.pid))\nprint('up', flush=True)\ntime.sleep(100)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as owner:
        assert owner.stdout.readline() == b"up\n"
        pid = int(noted.read_text())
        assert not gone(pid)
        owner.kill()
    until(lambda: gone(pid))


def test_the_command_ends_with_its_link(sshd):
    pipe = ssh.Pipe("node", "sleep 100", background=True)
    pipe.launch()
    pid = pipe.pid
    sshd.cut()
    until(lambda: gone(pid) and pipe.status() is not None)
    assert pipe.status() == 255


def test_a_detached_command_goes_on(host):
    pipe = ssh.Pipe(host, "sleep 100", detached=True)
    pipe.launch()
    assert pipe.response() is None and pipe.status() is None and not gone(pipe.pid)
    pipe.close()
    assert not gone(pipe.pid)
    pipe.kill()
    until(lambda: gone(pipe.pid))
    assert pipe.status() == 0


def test_a_host_that_cannot_be_reached(sshd):
    with pytest.raises(SshError, match="(?s)nowhere.example.invalid: .*resolve"):
        ssh.Pipe("nowhere.example.invalid", "true").launch()
    with pytest.raises(SshError, match="node-pw: .*Permission denied"):
        ssh.Pipe("node-pw" if sshd.root else "no-user@node", "true").launch()


@pytest.mark.parametrize("name", ["", "-oProxyCommand=touch /tmp/x", "a b", "u:p@node"])
def test_names_that_are_none(name, sshd):
    with pytest.raises(ConfigError):
        ssh.Pipe(name, "true").launch()


def test_a_password_is_seen_by_nobody(sshd):
    if not sshd.root:
        pytest.skip("a user with a password needs root")
    pipe = ssh.Pipe("node-pw", "whoami; sleep 1", password=sshd.password, background=True)
    pipe.launch()
    local = pipe._process.pid
    for what in ("cmdline", "environ"):
        assert sshd.password.encode() not in pathlib.Path(f"/proc/{local}/{what}").read_bytes()
    folder = pathlib.Path(pipe._askpass.folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert pipe.response() == "guest\n"
    assert not folder.exists()
    with pytest.raises(SshError, match="Permission denied"):
        ssh.Pipe("node-pw", "true", password="wrong").launch()


def test_the_profile_of_a_host(sshd):
    home = pathlib.Path(ssh.Pipe("node", "pwd")().strip())
    (home / "my_profile").write_text("export SEASON=winter\n")
    try:
        assert ssh.Pipe("node", "echo $SEASON")() == "\n"
        registry.register("node", "my_profile")
        assert ssh.Pipe("node", "echo $SEASON")() == "winter\n"
        assert ssh.Pipe("node", "echo $SEASON", profile="")() == "\n"
        registry.register("node", "missing_profile")
        assert ssh.Pipe("node", "echo $SEASON")() == "\n"
    finally:
        registry.unregister("node")
        (home / "my_profile").unlink()


def test_a_login_shell_that_talks(sshd):
    home = pathlib.Path(ssh.Pipe("node", "pwd")().strip())
    (home / ".bashrc").write_text("echo welcome\n")
    try:
        assert ssh.Pipe("node", "echo me")() == "me\n"
    finally:
        (home / ".bashrc").unlink()


@pytest.mark.parametrize("launcher", ["scp", "sftp"])
def test_copying(sshd, tmp_path, launcher):
    data = os.urandom(300_000)
    (tmp_path / "a file").write_bytes(data)
    ssh.Copier(tmp_path / "a file", f"node:{tmp_path}/there", launcher=launcher)()
    assert (tmp_path / "there").read_bytes() == data
    ssh.Copier(f"node:{tmp_path}/there", tmp_path / "back again", launcher=launcher)()
    assert (tmp_path / "back again").read_bytes() == data
    with pytest.raises(SshError, match="missing"):
        ssh.Copier(f"node:{tmp_path}/missing", tmp_path / "x", launcher=launcher)()


def test_copying_folders_and_between_hosts(sshd, tmp_path):
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "folder" / "inner" / "file").write_text("text")
    (tmp_path / "other:file").write_text("colon")
    (tmp_path / "there").mkdir()
    ssh.Copier([tmp_path / "folder", tmp_path / "other:file"], f"node:{tmp_path}/there")()
    assert (tmp_path / "there" / "folder" / "inner" / "file").read_text() == "text"
    ssh.Copier(f"node:{tmp_path}/there/other:file", f"other:{tmp_path}/across")()
    assert (tmp_path / "across").read_text() == "colon"
    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        copy = ssh.Copier("across", "node:" + str(tmp_path / "relative"), background=True)
        copy.launch()
        copy.response()
    finally:
        os.chdir(here)
    assert copy.status() == 0 and (tmp_path / "relative").read_text() == "colon"


def test_copying_with_a_password(sshd, tmp_path):
    if not sshd.root:
        pytest.skip("a user with a password needs root")
    (tmp_path / "file").write_text("text")
    for launcher in ("scp", "sftp"):
        ssh.Copier(tmp_path / "file", f"node-pw:{sshd.tmp}/{launcher}", launcher=launcher, password=sshd.password)()
        assert (sshd.tmp / launcher).read_text() == "text"
        assert (sshd.tmp / launcher).stat().st_uid != os.getuid()


def test_what_cannot_be_copied():
    with pytest.raises(ConfigError, match="one host"):
        ssh.Copier("a:x", "b:y", launcher="sftp").launch()
    with pytest.raises(ConfigError, match="launcher"):
        ssh.Copier("a:x", "y", launcher="rsync")
    with pytest.raises(ValueError, match="nothing"):
        ssh.Copier([], "y")
