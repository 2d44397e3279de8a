"""The Python code in the documents runs as it stands, each block a program of its own.

A block whose first line is `# shown, not run: <why>` is left out; a comment `#> text` after a statement is a line the
program prints, and the lines must come in that order.
"""

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.S | re.M)


def blocks():
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        text = path.read_text()
        for match in BLOCK.finditer(text):
            code = match.group(1)
            if not code.startswith("# shown, not run: "):
                line = text.count("\n", 0, match.start()) + 1
                yield pytest.param(code, id=f"{path.relative_to(ROOT)}:{line}")


@pytest.mark.parametrize("code", list(blocks()))
def test_block_runs(code, tmp_path):
    run = subprocess.run(
        [sys.executable, "-"],
        input=code,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        env=dict(os.environ),
    )
    assert run.returncode == 0, run.stderr
    expected = re.findall(r"#> (.*)", code)
    printed = iter(run.stdout.splitlines())
    for line in expected:
        assert line in printed, f"{line!r} is not printed, or not at that place:\n{run.stdout}"
