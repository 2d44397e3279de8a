"""The examples in C, compiled against what is installed, as their comments say."""

import os
import pathlib
import subprocess
import sys

import pytest
from install import run

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples" / "c"

pytestmark = pytest.mark.slow


@pytest.fixture
def environment(prefix):
    return {**os.environ, "LD_LIBRARY_PATH": str(next(prefix.rglob("libergon.so")).parent)}


def compile_example(name, to, pkg_config, *options):
    run("cc", "-O2", "-Wall", "-Wextra", "-Werror", *options, "-o", to, EXAMPLES / name,
        *pkg_config("--cflags", "--libs"))  # fmt: skip
    return to


@pytest.mark.parametrize("resources", ["local:2", "threads:2", "local:1 threads:1"])
def test_primes_survive_a_killed_worker(resources, tmp_path, pkg_config, environment):
    primes = compile_example("primes.c", tmp_path / "primes", pkg_config)
    for limit, count in [(20_000_000, 1270607), (80_000_000, 4669382), (320_000_000, 17275206)]:
        said = run(primes, str(limit), resources, env=environment)
        assert f"{count} primes below {limit} by the map, {count} by the graph" in said
        if ("killing worker process" in said) == ("local" in resources):
            return  # on a busy machine all may be done before the program finds a worker at work
    raise AssertionError(said)


def test_bad_resources_are_explained(tmp_path, pkg_config, environment):
    primes = compile_example("primes.c", tmp_path / "primes", pkg_config)
    done = subprocess.run([primes, "10", "locale:2"], capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert '"locale:2" is no resource: known are local' in done.stderr


def test_functions_of_a_shared_object(tmp_path, prefix, pkg_config, environment):
    """From a program that knows nothing of it: a bare Python that loads it."""
    shared = compile_example("shared.c", tmp_path / "shared.so", pkg_config, "-fPIC", "-shared")
    code = (
        "import ctypes, sys\n"
        "shared = ctypes.CDLL(sys.argv[1])\n"
        "total, err = ctypes.c_uint64(), ctypes.create_string_buffer(1024)\n"
        "rc = shared.shared_total(ctypes.c_uint64(1000), sys.argv[2].encode(), ctypes.byref(total), err)\n"
        "print(rc, total.value, err.raw[4:].split(b'\\0')[0].decode())\n"
    )
    said = run(sys.executable, "-c", code, shared, prefix / "bin" / "ergon", env=environment)
    assert said.split()[:2] == ["0", str(sum(n * n for n in range(1, 1001)))]
    rc, _, words = run(sys.executable, "-c", code, shared, "/nonexistent/ergon", env=environment).split(None, 2)
    assert int(rc) < 0
    assert "/nonexistent/ergon" in words


def test_program_in_the_documents(tmp_path, pkg_config, environment):
    text = (EXAMPLES.parents[1] / "docs" / "c.md").read_text()
    code = text.split("```c\n")[1].split("```")[0]
    source = tmp_path / "program.c"
    source.write_text("#include <ergon/ergon.h>\n#include <stdio.h>\n#include <string.h>\n" + code)
    run("cc", "-Wall", "-Wextra", "-Werror", "-o", tmp_path / "program", source, *pkg_config("--cflags", "--libs"))
    done = subprocess.run([tmp_path / "program"], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
