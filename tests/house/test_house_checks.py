"""Each house check finds what it is there for, and is content with what is right."""

import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from checks import banned, layers, links, names, sizes, words  # noqa: E402
from checks import format as format_check  # noqa: E402


def write(root, name, text):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("file", "line", "says"),
    [
        ("src/base/list.c", '#include "os/clock.h"', "os comes after base"),
        ("src/os/fd.c", '#include "engine/engine.h"', "engine comes after os"),
        ("src/sched/lease.c", '#include "os/clock.h"', "sched is pure"),
        ("src/sched/lease.c", '#include "table/record.h"', "sched is pure"),
        ("src/engine/pool.c", '#include "cli/run.h"', "cli comes after engine"),
        ("src/engine/pool.c", "#include <Python.h>", "knows nothing of Python"),
        ("src/base/list.c", '#include "../os/clock.h"', "write it as"),
        ("python/core/pool/pool.c", '#include "cli/cli.h"', "it may use"),
        ("include/ergon/pool.h", '#include "base/list.h"', "public headers include"),
        ("include/ergon/pool.h", "#include <Python.h>", "public header includes Python.h"),
    ],
)
def test_layers_finds(tmp_path, file, line, says):
    write(tmp_path, file, f"/* x */\n{line}\n")
    (found,) = layers.check(tmp_path)
    assert found.startswith(f"{file}:2: ")
    assert says in found


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("src/engine/pool.c", '#include "sched/place.h"'),
        ("src/sched/place.c", '#include "base/heap.h"'),
        ("src/sched/place.c", "#include <stdint.h>"),
        ("src/sched/place.c", '#include "place.h"'),
        ("src/base/error.h", "#include <ergon/error.h>"),
        ("python/core/pool/pool.c", '#include "table/record.h"'),
        ("python/core/pool/pool.c", '#include "pickle/pickle.h"'),
        ("include/ergon/ergon.h", "#include <ergon/error.h>"),
    ],
)
def test_layers_accepts(tmp_path, file, line):
    write(tmp_path, file, f"{line}\n")
    assert layers.check(tmp_path) == []


@pytest.mark.parametrize(
    ("file", "line", "says"),
    [
        ("src/base/a.c", "    abort();", "abort()"),
        ("src/os/a.c", '    fprintf(stderr, "x %d", 1);', "standard stream"),
        ("src/engine/a.c", "    exit (1);", "exit()"),
        ("python/core/a.c", "    sprintf(text, format);", "sprintf()"),
        ("src/table/a.h", "    n = atoi(text);", "atoi()"),
    ],
)
def test_banned_finds(tmp_path, file, line, says):
    write(tmp_path, file, f"/* x */\n{line}\n")
    (found,) = banned.check(tmp_path)
    assert found.startswith(f"{file}:2: ")
    assert says in found


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("src/base/a_test.c", "    abort();"),
        ("src/cli/main.c", "    exit(1);"),
        ("src/os/a.c", "    _exit(1); erg_exit(2); x->abort(); x.exit();"),
        ("src/os/a.c", '    /* abort(); */ f("exit(1)"); // puts("x")'),
        ("src/os/a.c", "    snprintf(text, size, format);"),
    ],
)
def test_banned_accepts(tmp_path, file, line):
    write(tmp_path, file, f"{line}\n")
    assert banned.check(tmp_path) == []


def body(lines):
    return "".join("    x();\n" for _ in range(lines))


@pytest.mark.parametrize(
    ("file", "text", "name", "line"),
    [
        ("src/a.c", "static int big(int a,\n               int b) {\n" + body(119) + "}\n", "big", 1),
        ("src/a.c", "struct s {\n    int a;\n};\nint after(void) {\n" + body(119) + "}\n", "after", 4),
        ("src/a.c", "int big(void)\n{\n" + body(119) + "}\n", "big", 1),
        ("a.py", "def big():\n" + "    x()\n" * 120, "big", 1),
        ("a.py", "class A:\n    async def big(self):\n" + "        x()\n" * 120, "big", 2),
    ],
)
def test_sizes_finds_long_functions(tmp_path, file, text, name, line):
    write(tmp_path, file, text)
    (found,) = sizes.check(tmp_path)
    assert f"{file}:{line}: {name}() has" in found


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("src/a.c", "int fits(void) {\n" + body(118) + "}\n"),
        ("src/a.c", "static const struct row rows[] = {\n" + "    {1, 2},\n" * 300 + "};\n"),
        ("src/a.c", "struct s {\n" + "    int (*f)(int);\n" * 300 + "};\n"),
        ("src/a.c", "static int one(void) { return 1; }\nstatic int t[] = {\n" + "    1,\n" * 300 + "};\n"),
        ("a.py", 'def fits():\n    """Long.\n' + "    words\n" * 200 + '    """\n    x()\n'),
    ],
)
def test_sizes_accepts(tmp_path, file, text):
    write(tmp_path, file, text)
    assert sizes.check(tmp_path) == []


def test_sizes_limits_files_and_notes_long_ones(tmp_path):
    write(tmp_path, "src/a.c", "int x;\n" * 1201)
    write(tmp_path, "src/b.c", "int x;\n" * 801)
    write(tmp_path, "src/c.c", "int x;\n" * 800)
    (found,) = sizes.check(tmp_path)
    assert found.startswith("src/a.c: 1201 lines")
    (note,) = sizes.notes(tmp_path)
    assert note.startswith("src/b.c: 801 lines")


@pytest.mark.parametrize(
    "word", ["TO" + "DO", "FIX" + "ME", "for " + "now", "place" + "holder", "not implement" + "ed"]
)
def test_words_finds_unfinished_work_in_the_product(tmp_path, word):
    write(tmp_path, "src/a.c", f"int x;\n/* {word}: more */\n")
    write(tmp_path, "docs/a.md", f"{word} is a word people use\n")
    (found,) = words.check(tmp_path)
    assert found.startswith("src/a.c:2: ")


@pytest.mark.parametrize("path", ["/ro" + "ot/x", "/ho" + "me/ann/x", "/wo" + "rk/x", "../sha" + "red/x"])
def test_words_finds_paths_of_one_machine(tmp_path, path):
    write(tmp_path, "docs/a.md", f"see {path}\n")
    write(tmp_path, "docs/b.md", "see https://example.org/home/page and framework/x\n")
    (found,) = words.check(tmp_path)
    assert found.startswith("docs/a.md:1: ")


def test_words_finds_paths_of_one_machine_in_files_that_are_not_text(tmp_path):
    for name in ("a.pickle", "b"):
        (tmp_path / name).write_bytes(b"\x80\x05\xff\x8c0" + b"/ho" + b"me/ann/x\x94.")
    (tmp_path / "c.pickle").write_bytes(b"\x80\x05\xff\x8c\x0amake.py\x94.")
    assert [line.partition(" byte 5: ")[0] for line in words.check(tmp_path)] == ["a.pickle:", "b:"]


def test_the_page_on_building_names_every_library():
    """Those of cmocka apart, which a build without tests does not need."""
    listed = (ROOT / "scripts/debian-packages.txt").read_text().split()
    wanted = {name for name in listed if re.fullmatch(r"lib.*-dev", name)} - {"libcmocka-dev"}
    page = (ROOT / "docs/building.md").read_text()
    assert len(wanted) >= 4
    assert sorted(name for name in wanted if name not in page) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("see [b](b.md)\n", None),
        ("see [b](b.md#a-heading-of-b)\n", None),
        ("see [x](https://example.org/x)\n", None),
        ("```\n[x](gone.md)\n```\n", None),
        ("\nsee [x](gone.md)\n", "a.md:2: link to gone.md: no such file"),
        ("see [b](b.md#other)\n", "a.md:1: link to b.md#other: no such heading"),
        ("![picture](gone.png)\n", "a.md:1: link to gone.png: no such file"),
    ],
)
def test_links(tmp_path, text, says):
    write(tmp_path, "a.md", text)
    write(tmp_path, "b.md", "# A heading, of `b`\n")
    assert links.check(tmp_path) == ([says] if says else [])


def test_format_finds_c_and_python(tmp_path):
    shutil.copy(ROOT / ".clang-format", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    write(tmp_path, "good.c", "int f(void) {\n    return 1;\n}\n")
    write(tmp_path, "good.py", "x = 1\n")
    assert format_check.check(tmp_path) == []
    write(tmp_path, "bad.c", "int f(void){return 1;}\n")
    write(tmp_path, "bad.py", "x = undefined_name\n")
    write(tmp_path, "ugly.py", "x = [1,\n  2]\n")
    found = format_check.check(tmp_path)
    assert [line.split(":")[0] for line in found] == ["bad.c", "bad.py", "ugly.py"]


def test_names_finds_foreign_exported_and_missing_symbols(tmp_path):
    library = tmp_path / "build" / "src"
    library.mkdir(parents=True)
    write(tmp_path, "include/ergon/a.h", "ERG_API int erg_public(void);\nERG_API int erg_missing(const char *x);\n")
    write(tmp_path, "a.c", "int erg_public(void) { return 1; }\nint erg_hidden(void) { return 2; }\nint stray;\n")
    subprocess.run(["cc", "-fPIC", "-c", "a.c", "-o", "a.o"], cwd=tmp_path, check=True)
    subprocess.run(["ar", "rcs", library / "libergon.a", "a.o"], cwd=tmp_path, check=True)
    subprocess.run(["cc", "-shared", "a.o", "-o", library / "libergon.so"], cwd=tmp_path, check=True)
    found = names.check(tmp_path)
    assert any("global symbol stray" in line for line in found)
    assert any("exports erg_hidden" in line for line in found)
    assert any("declares erg_missing" in line for line in found)
    assert not any("erg_public" in line for line in found)


def test_stubs_finds_a_wrong_signature(tmp_path):
    """stubtest itself, run as the check runs it, on a package whose stub lies."""
    write(tmp_path, "python/ergon/__init__.py", "def f(a):\n    return a\n")
    write(tmp_path, "python/ergon/__init__.pyi", "def f(a: int, b: int) -> int: ...\n")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    code = (
        f"import sys, pathlib; sys.path[:0] = [{str(ROOT / 'scripts')!r}]\n"
        "from checks import stubs\n"
        f"print(*stubs.check(pathlib.Path({str(tmp_path)!r})), sep='\\n')"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "ergon.f" in run.stdout
