"""Pages as a reader meets them: their words, and what a browser makes of them."""

from __future__ import annotations

import html
import pathlib
import re
import shutil
import subprocess

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
in_browser = pytest.mark.skipif(not BROWSER, reason="chromium is not installed: apt-get install chromium")


def browse(tmp_path: pathlib.Path, page: pathlib.Path, *options: str) -> bytes:
    profile = tmp_path / "profile"
    done = subprocess.run(
        [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
         f"--user-data-dir={profile}", "--virtual-time-budget=4000", *options, page.as_uri()],
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    shutil.rmtree(profile, ignore_errors=True)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return done.stdout


def words(page: str) -> str:
    """The text of a page without its markup."""
    page = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).replace("\u202f", " ").split())
