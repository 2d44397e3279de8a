"""The census: what it says of code whose measures are known, and that every way to run it finds the same."""

from __future__ import annotations

import itertools
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CENSUS = ROOT / "examples" / "census"
COMMAND = pathlib.Path(sys.prefix) / "bin" / "ergon"


@pytest.fixture(scope="module")
def parts():
    """The modules of the example, imported as the example imports them."""
    sys.path.insert(0, str(CENSUS))
    try:
        import analysis
        import duplicates
        import findings

        yield analysis, duplicates, findings
    finally:
        sys.path.remove(str(CENSUS))
        for name in ("analysis", "duplicates", "findings"):
            sys.modules.pop(name, None)


SAMPLE = '''\
"""A module."""
import os  # a comment


class Outer:
    def plain(self):
        return 1

    def busy(self, a, b):
        """Nine: one, if, and, or, for, while, except, comprehension and its if."""
        if a and b or os:
            for x in a:
                while x:
                    x -= 1
        try:
            return [y for y in b if y]
        except OSError:
            pass

    class Inner:
        async def deep(self):
            def local():
                return 1 if self else 2
            return local
'''


@pytest.fixture
def sample(tmp_path: pathlib.Path) -> str:
    (tmp_path / "sample.py").write_text(SAMPLE)
    return str(tmp_path / "sample.py")


def test_measures_of_a_file(parts, sample: str) -> None:
    found = parts[0].analyse(sample)
    assert (found.lines, found.comments, found.classes, found.error) == (24, 1, 2, "")
    assert found.size == len(SAMPLE)
    measured = [(f.name, f.line, f.end, f.complexity) for f in found.functions]
    assert measured == [
        ("Outer.plain", 6, 7, 1),
        ("Outer.busy", 9, 18, 9),
        ("Outer.Inner.deep", 21, 24, 1),
        ("Outer.Inner.deep.local", 22, 23, 2),
    ]
    assert found.identifiers["self"] == 4 and found.identifiers["x"] == 3 and "for" not in found.identifiers


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (b"def f(:\n", "SyntaxError"),
        (b"x = '\n", "SyntaxError"),
        (b"# coding: no-such\n", "SyntaxError"),
        (b"x = '\xff'\n", "SyntaxError"),
        (b"if 1:\n  x\n y\n", "IndentationError"),
        (b"x = (1,\n", "SyntaxError"),
        (b"", ""),
        (b"x = 1", ""),
        (b"\xef\xbb\xbfx = 'gr\xc3\xb6\xc3\x9fe'\n", ""),
    ],
)
def test_files_of_every_kind(parts, tmp_path: pathlib.Path, source: bytes, error: str) -> None:
    path = tmp_path / "odd.py"
    path.write_bytes(source)
    found = parts[0].analyse(str(path))
    assert found.error == error
    assert found.size == len(source)


def lines(count: int, tweak: int | None = None) -> str:
    body = [f"    value_{i} = compute_{i}(first, second) + offset_{i}" for i in range(count)]
    if tweak is not None:
        body[tweak] = f"    other = something(first) * {tweak}"
    return "\n".join(body)


def census_of(parts, folder: pathlib.Path) -> tuple[list, list]:
    analysis, duplicates, _ = parts
    files = [analysis.analyse(str(path)) for path in sorted(folder.glob("*.py"))]
    groups = duplicates.copies(files)
    pairs = duplicates.candidates(groups)
    return files, duplicates.families(groups, pairs, [duplicates.similarity(pair) for pair in pairs])


def test_copies_and_near_copies(parts, tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.py").write_text(f"def one(first, second):\n{lines(30)}\n\ndef odd(x):\n{lines(9)}\n")
    (tmp_path / "b.py").write_text(
        f"import os\n\nclass C:\n    pass\n\ndef one(first, second):\n    '''Says more.'''\n    # and more\n{lines(30)}\n"
    )
    (tmp_path / "c.py").write_text(f"def one(first, second):\n{lines(30, tweak=12)}\n")
    (tmp_path / "d.py").write_text(
        "def unlike():\n" + "\n".join(f"    step_{i}({i}) if flag_{i} else None" for i in range(30)) + "\n"
    )
    _, families = census_of(parts, tmp_path)
    ((members, weakest),) = families
    assert [(pathlib.Path(name).name, f.name) for name, f in members] == [
        ("a.py", "one"),
        ("b.py", "one"),
        ("c.py", "one"),
    ]
    assert 0.8 <= weakest < 1


def test_a_function_is_not_the_duplicate_of_what_it_contains(parts, tmp_path: pathlib.Path) -> None:
    inner = lines(40).replace("\n", "\n    ")
    (tmp_path / "a.py").write_text(f"def outer(first, second):\n    def inner():\n    {inner}\n    return inner\n")
    assert census_of(parts, tmp_path)[1] == []


def test_sketches_estimate_the_similarity(parts) -> None:
    """Bins agree as often as the sets are alike, also in small sets where many bins are empty."""
    analysis = parts[0]
    words = [f"w{i}" for i in range(4000)]
    for size, shared in itertools.product((20, 60, 400), (0.3, 0.6, 0.9)):
        agree = tries = 0
        for start in range(0, 3000, 100):
            common = int(2 * size * shared / (1 + shared))
            one = [*words[start : start + common], *(f"a{start}-{i}" for i in range(size - common))]
            other = [*words[start : start + common], *(f"b{start}-{i}" for i in range(size - common))]
            hashes = [{hash_of(analysis, word) for word in words} for words in (one, other)]
            a, b = (memoryview(analysis.minhash(found)).cast("I") for found in hashes)
            agree += sum(x == y for x, y in zip(a, b, strict=True))
            tries += analysis.SKETCH
        assert agree / tries == pytest.approx(shared, abs=0.08), (size, shared)


def hash_of(analysis, word: str) -> int:
    (found,) = analysis.shingles([word] * analysis.SHINGLE)
    return found


def test_every_similar_pair_is_found(parts, tmp_path: pathlib.Path) -> None:
    """What hashing finds is compared with looking at all pairs."""
    analysis, duplicates, _ = parts
    for i in range(40):
        (tmp_path / f"f{i:02}.py").write_text(f"def f(first, second):\n{lines(12 + i, tweak=i % 5)}\n")
    files = [analysis.analyse(str(path)) for path in sorted(tmp_path.glob("*.py"))]
    groups = duplicates.copies(files)
    found = {(i, j) for *_, i, j in duplicates.candidates(groups)}
    places = [(name, f.line, f.end) for (name, f), *_ in groups]
    alike = {
        (i, j)
        for i, j in itertools.combinations(range(len(groups)), 2)
        if duplicates.similarity((places[i], places[j])) >= duplicates.ALIKE
    }
    assert len(alike) > 50 and len(alike - found) <= len(alike) // 100


def test_results_do_not_depend_on_the_hash_seed(sample: str) -> None:
    program = "import analysis, sys; print(repr(analysis.analyse(sys.argv[1])))"
    said = {
        subprocess.run(
            [sys.executable, "-c", program, sample], env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(CENSUS)},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(said) == 1


# --- the program --------------------------------------------------------------------------------------------------


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [COMMAND, "run", CENSUS / "census.py", *map(str, arguments)],
        capture_output=True, text=True, timeout=300, check=False, **options,
    )  # fmt: skip


def test_the_whole_program(tmp_path: pathlib.Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "bad.py").write_text("def (")
    for i in range(8):
        (source / f"f{i}.py").write_text(SAMPLE + f"\n\ndef long(first, second):\n{lines(20, tweak=i)}\n")
    page = tmp_path / "page.html"
    done = run("--root", source, "--report", page, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = re.findall(
        r"^  (serial|processes|processes and threads) +\d+ +[\d.]+ s +([\d.]+) +(\d+)% +(\w{16})$", done.stdout, re.M
    )
    assert [row[0] for row in table] == ["serial", "processes", "processes and threads"]
    assert len({row[3] for row in table}) == 1 and "All runs found the same." in done.stdout
    assert re.search(r"families of near-duplicates +1\n", done.stdout) and re.search(r"do not parse +1\n", done.stdout)
    assert done.stdout.splitlines()[-1] == f"Report: {page}"
    assert "serial: analyse: 9 in" in done.stderr and "processes: similarity: " in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["page.html", "page.trace.json", "source"]
    runs = [e for e in json.loads((tmp_path / "page.trace.json").read_text())["traceEvents"] if e["ph"] == "X"]
    assert sum(e["args"]["items"] for e in runs if e["name"] == "analyse") == 9
    text = page.read_text()
    for words in ("Most complex functions", "Near-duplicate functions", "bad.py", "Outer.busy", "Times", "census.py"):
        assert words in text


@pytest.mark.slow
def test_part_of_the_standard_library(tmp_path: pathlib.Path) -> None:
    done = run("--quick", "--no-serial", "--no-report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "All runs found the same." in done.stdout and os.listdir(tmp_path) == []


def test_wrong_calls(tmp_path: pathlib.Path) -> None:
    done = run("--root", tmp_path)
    assert done.returncode == 1 and "no Python files under" in done.stderr
    assert run("--fast").returncode == 2
    assert "--no-serial" in run("--help").stdout
