"""The .pyi files say what the package really has: mypy's stubtest, with the exceptions in stubs-allowed.txt."""

from __future__ import annotations

import pathlib
import subprocess
import sys

ALLOWED = pathlib.Path(__file__).with_name("stubs-allowed.txt")


def check(root: pathlib.Path) -> list[str]:
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy.stubtest",
            "ergon",
            "--concise",
            "--ignore-missing-stub",
            "--ignore-unused-allowlist",
            "--allowlist",
            str(ALLOWED),
            "--mypy-config-file",
            str(root / "pyproject.toml"),
        ],
        capture_output=True,
        text=True,
        cwd=root / "python",
        check=False,
    )
    if run.returncode == 0:
        return []
    lines = [line for line in (run.stdout + run.stderr).splitlines() if line.strip()]
    return [f"stubtest: {line}" for line in lines] or ["stubtest failed without a word"]
