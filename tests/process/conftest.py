"""Fixtures for tests that use Ergon as it is installed: `destdir`, `prefix` and `pkg_config`."""

import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from install import BUILD, run  # noqa: E402


@pytest.fixture(scope="session")
def destdir(tmp_path_factory):
    if not (BUILD / "build.ninja").exists():
        pytest.skip(f"no build in {BUILD}: make build")
    place = tmp_path_factory.mktemp("dest")
    run("meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir", place)
    return place


@pytest.fixture(scope="session")
def prefix(destdir):
    (config,) = destdir.rglob("ergon.pc")
    words = dict(line.split("=", 1) for line in config.read_text().splitlines() if "=" in line and ":" not in line)
    return destdir / words["prefix"].lstrip("/")


@pytest.fixture(scope="session")
def pkg_config(destdir):
    (config,) = destdir.rglob("ergon.pc")
    env = {**os.environ, "PKG_CONFIG_PATH": str(config.parent), "PKG_CONFIG_SYSROOT_DIR": str(destdir)}

    def ask(*options):
        return run("pkg-config", *options, "ergon", env=env).split()

    return ask
