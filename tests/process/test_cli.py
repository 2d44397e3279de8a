"""The `ergon` command: the table of commands, run and doctor."""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import zipfile

import ergon.aliases
import pytest

COMMAND = pathlib.Path(sys.prefix) / "bin" / "ergon"
PYTHON = COMMAND.with_name("python3")
MANUAL = pathlib.Path(__file__).resolve().parents[2] / "docs" / "man"
COMMANDS = ("run", "explain", "report", "top", "hosts", "server", "agent", "tunnel", "ports", "doctor")
ALIASES = ergon.aliases.folder()


def call(*arguments: object, text: str = "", **options: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [options.pop("command", COMMAND), *map(str, arguments)],
        input=text, capture_output=True, text=True, timeout=120, check=False, **options,
    )  # fmt: skip


@pytest.fixture
def script(tmp_path: pathlib.Path):
    def write(source: str, name: str = "script.py") -> pathlib.Path:
        path = tmp_path / name
        path.write_text(source)
        return path

    return write


# --- the table --------------------------------------------------------------------------------------------------


def test_help_lists_the_commands() -> None:
    for arguments in (["--help"], ["-h"], ["help"]):
        done = call(*arguments)
        assert done.returncode == 0 and not done.stderr
        shown = re.findall(r"^  ([a-z]+) +\S", done.stdout.partition("Commands:\n")[2].partition("\n\n")[0], re.M)
        assert sorted(shown) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    for arguments in ([command, "--help"], [command, "-h"], ["help", command]):
        done = call(*arguments)
        assert done.returncode == 0 and done.stdout.startswith(f"Usage: ergon {command}") and not done.stderr


def in_section(page: str, name: str) -> str:
    """The text of a section of a manual page, with hyphens as a reader sees them."""
    return page.replace("\\-", "-").replace("\\f", " \\f").partition(f".SH {name}\n")[2].partition("\n.SH ")[0]


def options(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w.-])--?[a-zA-Z][\w-]*", text))


@pytest.mark.parametrize("command", COMMANDS)
def test_manual_pages_and_help_have_the_same_options(command: str) -> None:
    usage, _, explained = call(command, "--help").stdout.partition("\nOptions:\n")
    usage = usage.partition("\n\n")[0]
    page = (MANUAL / f"ergon-{command}.1").read_text()
    heads = re.findall(r"^\.TP\n(.*)", in_section(page, "OPTIONS"), re.M)
    listed = re.findall(r"^ {2,6}((?:-[\w-]+(?: [A-Z]+)?(?:, | {2,}|$| ))+)", explained, re.M)
    assert listed and options(" ".join(listed)) == options(" ".join(heads))
    if "[options]" not in usage:
        assert options(usage) == options(in_section(page, "SYNOPSIS"))


def test_the_manual_leads_to_every_command() -> None:
    page = (MANUAL / "ergon.1").read_text()
    shown = re.findall(r"^  ([a-z]+) +", call("--help").stdout.partition("Commands:\n")[2], re.M)
    assert len(shown) > 8
    for section in ("COMMANDS", "SEE ALSO"):
        assert {f"ergon-{name}" for name in shown} <= set(re.findall(r"ergon-[a-z]+", in_section(page, section)))


def test_version() -> None:
    assert call("--version").stdout == f"ergon {ergon.__version__}\n" == call("-V").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which command?"),
        (["rport"], "did you mean 'report'?"),
        (["dotor"], "did you mean 'doctor'?"),
        (["x"], "no command 'x'\n"),
        (["help", "rnu"], "did you mean 'run'?"),
        (["census.py"], "ergon run census.py"),
        (["--loud"], "unknown option '--loud'"),
        (["y" * 5000], "no command 'yyy"),
    ],
)
def test_wrong_commands(arguments: list[str], message: str) -> None:
    done = call(*arguments)
    assert done.returncode == 2 and message in done.stderr and not done.stdout
    assert "Try 'ergon --help'." in done.stderr


def test_output_that_cannot_be_written() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([COMMAND, "--help"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1 and b"cannot write" in done.stderr


# --- run --------------------------------------------------------------------------------------------------------

SHOW = """
import json, os, sys
main = sys.modules["__main__"]
print(json.dumps({
    "argv": sys.argv, "path": sys.path, "name": __name__, "file": globals().get("__file__"),
    "spec": main.__spec__ and main.__spec__.name, "loader": type(main.__loader__).__name__,
    "names": sorted(vars(main)), "depth": len(__import__("inspect").stack()), "orig": sys.orig_argv[1:],
    "executable": sys.executable, "flags": str(sys.flags), "stdin": sys.stdin.read() if sys.argv[-1] == "in" else "",
}))
"""


def seen(done: subprocess.CompletedProcess) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def without_aliases(found: dict) -> dict:
    assert ALIASES in found["path"]
    return {**found, "path": [entry for entry in found["path"] if entry != ALIASES]}


@pytest.mark.parametrize(
    "arguments",
    [
        ["script.py"],
        ["script.py", "--trace", "x", "-m", "", "a b", "in"],
        ["-c", SHOW, "one", "-x"],
        ["-m", "script", "two"],
        ["-u", "-X", "dev", "-O", "script.py"],
        ["./script.py"],
    ],
)
def test_a_program_sees_what_it_sees_under_python(script, tmp_path: pathlib.Path, arguments: list[str]) -> None:
    script(SHOW)
    ours = seen(call("run", *arguments, text="hello", cwd=tmp_path))
    plain = seen(call(*arguments, text="hello", cwd=tmp_path, command=PYTHON))
    assert without_aliases(ours) == plain


def test_a_program_on_standard_input(tmp_path: pathlib.Path) -> None:
    ours = seen(call("run", "-", "x", text=SHOW, cwd=tmp_path))
    plain = seen(call("-", "x", text=SHOW, cwd=tmp_path, command=PYTHON))
    assert without_aliases(ours) == plain


def with_path(*entries: str) -> dict[str, str]:
    """The environment, with these in front of PYTHONPATH."""
    path = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*entries, *([path] if path else [])])}


@pytest.mark.parametrize("entries", [["/x", "/y"], ["", "/x"], ["/x", ""], [ALIASES, "/x"]])
def test_the_path_of_the_environment_stays(script, tmp_path: pathlib.Path, entries: list[str]) -> None:
    path = script("import sys; print(sys.path)")
    ours = call("run", path, cwd=tmp_path, env=with_path(*entries)).stdout
    plain = call(
        path, command=PYTHON, cwd=tmp_path, env=with_path(ALIASES, *(e for e in entries if e != ALIASES))
    ).stdout
    assert ours == plain != ""


def test_aliases_come_after_the_script_and_before_the_rest(script, tmp_path: pathlib.Path) -> None:
    script("import sys, pathos; print(sys.path[:2]); print(pathos.__file__)")
    other = tmp_path / "other"
    other.mkdir()
    (other / "pathos.py").write_text("")
    done = call("run", tmp_path / "script.py", env=with_path(str(other)))
    path, file = done.stdout.splitlines()
    assert path == str([str(tmp_path), ALIASES]) and file.startswith(ALIASES)


def test_programs_it_starts_find_the_aliases_too(script) -> None:
    path = script(
        "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import pathos; print(pathos.__file__)'])"
    )
    assert call("run", path).stdout.startswith(ALIASES)


def test_exit_status_and_traceback(script, tmp_path: pathlib.Path) -> None:
    for source in ("raise SystemExit(7)", "import sys; sys.exit('words')", "def f(): 1 / 0\nf()", "if x:\nfoo", ""):
        path = script(source)
        ours, plain = call("run", path), call(path, command=PYTHON)
        assert (ours.returncode, ours.stdout, ours.stderr) == (plain.returncode, plain.stdout, plain.stderr)
    ours = call("run", tmp_path / "none.py")
    assert ours.returncode == 2 and "No such file" in ours.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_signals(script, number: int) -> None:
    path = script(
        f"import os, resource\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))\nos.kill(os.getpid(), {number})"
    )
    assert call("run", path).returncode == -number


def test_interactive(tmp_path: pathlib.Path) -> None:
    done = call("run", "-i", "-q", "-", text="1 + 41\nimport pathos\npathos.__file__\n", cwd=tmp_path)
    assert "42" in done.stdout and ALIASES in done.stdout


def test_modules_beside_it_do_not_get_in_the_way(script, tmp_path: pathlib.Path) -> None:
    for name in ("ergon.py", "os.py", "runpy.py"):
        script("raise SystemExit('the wrong module')", name)
    place = tmp_path / "elsewhere"
    place.mkdir()
    (place / "good.py").write_text("print('fine')")
    assert call("run", place / "good.py", cwd=tmp_path).stdout == "fine\n"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "nothing to run"),
        (["--trace"], 2, "--trace needs a file"),
        (["--trace="], 2, "--trace needs a file"),
        (["--trace", "x"], 2, "nothing to run"),
        (["--fast", "x.py"], 2, "unknown option '--fast'"),
    ],
)
def test_wrong_runs(arguments: list[str], status: int, message: str) -> None:
    done = call("run", *arguments)
    assert done.returncode == status and message in done.stderr and "Try 'ergon run --help'." in done.stderr


def test_folders_and_archives(script, tmp_path: pathlib.Path) -> None:
    """As python does: what has no __main__ is not a program, although the alias folder is on the path."""
    for name in ("empty", "full"):
        (tmp_path / name).mkdir()
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.writestr("__main__.py" if name == "full" else "other.py", "print('ran')")
    (tmp_path / "full" / "__main__.py").write_text("print('ran')")
    for command in ("run", "explain"):
        for kind in ("", ".zip"):
            assert call(command, tmp_path / f"full{kind}").stdout == "ran\n"
            done = call(command, tmp_path / f"empty{kind}")
            assert done.returncode == 1 and "can't find '__main__' module in" in done.stderr, done
            assert done.stdout == "" and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["/nowhere/x.py"], 2, "can't open file '/nowhere/x.py': [Errno 2] No such file or directory"),
        (["-m", "nowhere_.x"], 1, "No module named 'nowhere_'"),
        (["-m", "nowhere_"], 1, "No module named nowhere_"),
        (["-m", "os.x"], 1, "__path__ attribute not found on 'os'"),
    ],
)
def test_programs_that_are_not_there(arguments: list[str], status: int, message: str) -> None:
    for command in ("run", "explain"):
        done = call(command, *arguments)
        assert done.returncode == status and message in done.stderr and "Traceback" not in done.stderr, done


def test_explain_shows_the_tracebacks_of_the_program_alone(script) -> None:
    for source in ("def f():\n    1 / 0\nf()", "1 +"):
        path = script(source)
        plain, explained = call("run", path), call("explain", path)
        assert explained.returncode == plain.returncode == 1
        assert explained.stderr.removesuffix("no scheduled function called a functional\n") == plain.stderr


def alone(tmp_path: pathlib.Path) -> pathlib.Path:
    """The command in a folder without an interpreter."""
    import shutil

    place = tmp_path / "alone"
    place.mkdir()
    shutil.copy(COMMAND, place / "ergon")
    return place / "ergon"


def test_another_interpreter(script, tmp_path: pathlib.Path) -> None:
    command, path = alone(tmp_path), script("import sys; print(sys.prefix)")
    by_variable = call("run", path, command=command, env={"ERGON_PYTHON": sys.executable})
    by_path = call("run", path, command=command, env={"PATH": f"/none::{pathlib.Path(sys.executable).parent}"})
    assert by_variable.stdout == by_path.stdout == f"{sys.prefix}\n"
    done = call("run", path, command=command, env={"ERGON_PYTHON": "/none"})
    assert done.returncode == 1 and "ERGON_PYTHON=/none is not a program" in done.stderr
    done = call("run", path, command=command, env={"PATH": "/none"})
    assert done.returncode == 1 and "set ERGON_PYTHON" in done.stderr


def test_through_a_link(script, tmp_path: pathlib.Path) -> None:
    (tmp_path / "link").symlink_to(COMMAND)
    assert call("run", script("import ergon; print(1)"), command=tmp_path / "link").stdout == "1\n"


POOL = """
import json, os, subprocess, sys
import ergon

def work(x):
    return os.environ.get("ERGON_TRACE"), os.environ.get("ERGON_RUN_TRACE")

os.chdir("/")
with ergon.ProcessPool(2) as pool:
    assert set(pool.map(work, range(10), chunksize=1)) == {(None, None)}
assert "ERGON_TRACE" not in os.environ
subprocess.run([sys.executable, "-c", "import ergon, os; assert 'ERGON_TRACE' not in os.environ"], check=True)
raise SystemExit(5)
"""


def test_trace_of_a_whole_program(script, tmp_path: pathlib.Path) -> None:
    path = script(POOL)
    for arguments in (["--trace", "t.json"], ["--trace=t.json"]):
        done = call("run", *arguments, path, cwd=tmp_path)
        assert done.returncode == 5, done.stderr
        events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
        assert [event["name"] for event in events if event["ph"] == "X"] == ["work"] * 10
        (tmp_path / "t.json").unlink()


def test_trace_that_cannot_be_saved(script, tmp_path: pathlib.Path) -> None:
    done = call("run", "--trace", tmp_path / "no" / "t.json", script("import ergon; print('ran')"))
    assert done.returncode == 0 and done.stdout == "ran\n" and "ergon: cannot save the trace" in done.stderr


# --- doctor -------------------------------------------------------------------------------------------------------


def test_doctor() -> None:
    done = call("doctor")
    lines = [line for line in done.stdout.splitlines() if line[:4].strip() in ("OK", "WARN", "FAIL")]
    names = {line[6:22].strip() for line in lines}
    assert {"kernel", "cores", "memory", "shared memory", "open files", "python", "ergon"} <= names
    assert done.returncode == any(line.startswith("FAIL") for line in lines)


def test_doctor_for_programs() -> None:
    done = call("doctor", "--json")
    found = json.loads(done.stdout)
    assert found["ok"] is (done.returncode == 0)
    for check in found["checks"]:
        assert set(check) == {"name", "verdict", "found", "advice"} and check["verdict"] in ("OK", "WARN", "FAIL")
        assert check["verdict"] == "OK" or check["advice"]


def test_doctor_knows_limits() -> None:
    done = call("doctor", preexec_fn=lambda: __import__("resource").setrlimit(7, (64, 64)))
    assert "WARN  open files       64\n" in done.stdout and "ulimit -n" in done.stdout


GROUPS = pathlib.Path("/sys/fs/cgroup")
LIMITS = {  # version 1: controller, file, value; version 2: file, value
    "cpu": (("cpu", "cpu.cfs_quota_us", "50000"), ("cpu.max", "50000 100000"), "WARN  cores", "the time of 0.5"),
    "memory": (
        ("memory", "memory.limit_in_bytes", "800000000"),
        ("memory.max", "800000000"),
        "WARN  memory limit",
        "0.8 GB",
    ),
    "pids": (("pids", "pids.max", "100"), ("pids.max", "100"), "WARN  task limit", "allows 100"),
}


@pytest.mark.parametrize("name", list(LIMITS))
def test_doctor_knows_control_groups(name: str) -> None:
    (controller, file, value), second, line, words = LIMITS[name]
    folder = GROUPS / controller / f"ergon-test-{os.getpid()}"
    if (GROUPS / "cgroup.controllers").exists():
        folder, (file, value) = GROUPS / f"ergon-test-{os.getpid()}", second
    try:
        folder.mkdir()
        (folder / file).write_text(value)
    except OSError as error:
        if folder.exists():
            folder.rmdir()
        pytest.skip(f"cannot make a control group with a limit here: {error}")
    try:
        done = call("doctor", preexec_fn=lambda: (folder / "cgroup.procs").write_text(str(os.getpid())))
    finally:
        folder.rmdir()
    assert any(text.startswith(line) and words in text for text in done.stdout.splitlines()), done.stdout


def test_doctor_without_an_interpreter(tmp_path: pathlib.Path) -> None:
    command = alone(tmp_path)
    done = call("doctor", command=command, env={"PATH": "/none"})
    assert done.returncode == 1 and "FAIL  interpreter" in done.stdout
    fake = tmp_path / "python3"
    fake.write_text("#!/bin/sh\necho warning; echo 'No module named ergon'\nexit 1\n")
    fake.chmod(0o755)
    done = call("doctor", command=command, env={"ERGON_PYTHON": str(fake), "PATH": os.environ["PATH"]})
    assert done.returncode == 1 and f"{fake}: No module named ergon" in done.stdout


def test_doctor_wrongly_called() -> None:
    assert call("doctor", "--fix").returncode == 2
    assert call("doctor", "now").returncode == 2


@pytest.mark.parametrize(
    ("option", "value"), [("port", "abc"), ("port", "-1"), ("port", "65536"), ("idle", "x"), ("idle", "nan")]
)
def test_a_server_names_the_option_that_is_wrong(option: str, value: str) -> None:
    done = call("server", f"--{option}={value}")
    assert done.returncode == 1 and f"--{option} is a" in done.stderr and repr(value) in done.stderr
