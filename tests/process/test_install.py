"""What `meson install` and `pip install .` put in place, used the way strangers use it."""

import os
import pathlib
import shutil
import sys
import venv

import pytest
from install import run

ROOT = pathlib.Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


PROGRAM = r"""
#include <ergon/ergon.h>
#include <stdio.h>

int main(void)
{
    struct erg_error err;
    erg_error_set(&err, ERG_EINVALID, "%s", "words");
    printf("%s %s %d\n", erg_version(), err.text, err.code);
    return 0;
}
"""


def test_library_headers_and_pkgconfig_are_there(prefix):
    library = next(prefix.rglob("libergon.so"))
    assert library.is_symlink() and library.resolve().exists()
    assert (library.parent / "libergon.a").exists()
    headers = {p.name for p in (prefix / "include" / "ergon").iterdir()}
    assert headers == {p.name for p in (ROOT / "include" / "ergon").glob("*.h")}


def test_command_and_man_pages_are_there(prefix):
    command = prefix / "bin" / "ergon"
    assert os.access(command, os.X_OK)
    pages = {p.name.removesuffix(".gz") for p in (prefix / "share" / "man" / "man1").iterdir()}
    assert pages == {p.name for p in (ROOT / "docs" / "man").glob("*.1")}
    assert "ergon.1" in pages


@pytest.mark.parametrize("linked", ["shared", "static"])
def test_c_program_compiles_with_pkg_config_and_runs(linked, tmp_path, prefix, pkg_config):
    (tmp_path / "program.c").write_text(PROGRAM)
    libraries = next(prefix.rglob("libergon.so")).parent
    flags = pkg_config("--cflags", "--libs")
    env = dict(os.environ)
    if linked == "static":
        flags = [
            str(libraries / "libergon.a") if f == "-lergon" else f for f in pkg_config("--cflags", "--libs", "--static")
        ]
    else:
        env["LD_LIBRARY_PATH"] = str(libraries)
    program = tmp_path / "program"
    run("cc", "-Wall", "-Wextra", "-Werror", "-std=c11", "-o", program, tmp_path / "program.c", *flags)
    version, words, code = run(program, env=env).split()
    assert version == pkg_config("--modversion")[0]
    assert (words, code) == ("words", "-2")


@pytest.mark.parametrize("header", sorted(p.name for p in (ROOT / "include" / "ergon").glob("*.h")))
@pytest.mark.parametrize("language", ["c", "c++"])
def test_header_stands_alone(header, language, tmp_path, pkg_config):
    """Each public header compiles by itself, in strict C11 and in C++."""
    source = tmp_path / "alone.c"
    source.write_text(f"#include <ergon/{header}>\n#include <ergon/{header}>\nint alone;\n")
    compiler = "cc"
    standard = "c11" if language == "c" else "c++11"
    if language == "c++":
        compiler = next(filter(shutil.which, ["g++", "clang++"]), None)
        if compiler is None:
            pytest.skip("no C++ compiler")
    run(compiler, "-x", language, f"-std={standard}", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only",
        *pkg_config("--cflags"), source)  # fmt: skip


def test_wheel_works_in_a_clean_environment(tmp_path, request):
    """pip builds a wheel; a bare virtual environment with nothing but that wheel imports it from any folder.

    What is tested is what lies in it and where: but for the full tier it need not be fast.
    """
    full = request.config.getoption("--tier") == "full"
    settings = [] if full else ["--config-settings=setup-args=-Doptimization=0"]
    wheels = tmp_path / "wheels"
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-build-isolation", "--no-deps", *settings, "-w", wheels, ROOT)
    (wheel,) = wheels.glob("ergon-*.whl")
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-index", "--no-deps", wheel)
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    code = "import ergon, importlib.metadata as m; print(m.version('ergon'), ergon.__version__, ergon._core.__file__)"
    said = run(python, "-c", code, cwd=tmp_path, env=clean)
    version, told, module = said.split()
    assert version == told == wheel.name.split("-")[1]
    assert pathlib.Path(module).is_relative_to(tmp_path / "venv")
    installed = {p.relative_to(tmp_path / "venv") for p in (tmp_path / "venv").rglob("ergon/*")}
    assert not [p for p in installed if p.suffix in (".a", ".h", ".c")]
    work = "import ergon\nwith ergon.ProcessPool(1) as pool: print(pool.map(lambda x: x + 1, range(3)))"
    assert run(python, "-c", work, cwd=tmp_path, env=clean) == "[1, 2, 3]\n"
    command = tmp_path / "venv" / "bin" / "ergon"
    assert version in run(command, "--version", env=clean)
    # ... and is tied to that interpreter.
    (tmp_path / "program.py").write_text("import sys; print(sys.prefix, sys.argv[1:])")
    assert run(command, "run", tmp_path / "program.py", "a", env=clean).split() == [str(tmp_path / "venv"), "['a']"]
