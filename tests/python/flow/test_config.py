"""The configuration file, configure(), and the alias pydron."""

import os
import subprocess
import sys

import ergon
import pytest
from ergon import config
from ergon.errors import ConfigError


def test_where_it_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ERGON_CONF", raising=False)
    monkeypatch.delenv("PYDRON_CONF", raising=False)
    (tmp_path / "home").mkdir()
    if not os.path.exists("/etc/ergon.conf") and not os.path.exists("/etc/pydron.conf"):
        assert config.find() is None
    (tmp_path / "home" / "pydron.conf").write_text("{}")
    assert config.find() == str(tmp_path / "home" / "pydron.conf")
    (tmp_path / "ergon.conf").write_text('{"workers": [{"type": "multicore", "cores": 2},]}')
    assert os.path.samefile(config.find(), "ergon.conf")
    assert config.resources(config.workers()) == ["local:2"]
    (tmp_path / "other").write_text("{}")
    monkeypatch.setenv("PYDRON_CONF", str(tmp_path / "other"))
    assert config.find() == str(tmp_path / "other")
    monkeypatch.setenv("ERGON_CONF", str(tmp_path / "missing"))
    with pytest.raises(ConfigError, match="ERGON_CONF"):
        config.find()


def test_words_name_the_place(tmp_path):
    path = tmp_path / "ergon.conf"
    path.write_text('{\n  "workers": [{"type": "multicore", "tmp_dir": "C:\\work"}]\n}')
    with pytest.raises(ConfigError, match="line 2, column .*backslash"):
        config.load(path)
    path.write_text('{"note": "a, ]", "workers": [1, ], }')
    assert config.load(path) == {"note": "a, ]", "workers": [1]}


@pytest.mark.parametrize("entry", [{"type": "moon"}, {"type": "multicore", "cores": 0}, {"cores": 2}, 5])
def test_wrong_entries(entry):
    with pytest.raises(ConfigError, match=r"workers\[0\]"):
        ergon.configure(workers=[entry])


def test_alias_pydron_with_its_file(tmp_path):
    (tmp_path / "pydron.conf").write_text('{"workers": [{"type": "multicore", "cores": 2},]}')
    (tmp_path / "program.py").write_text(
        "import pydron\n"
        "@pydron.functional\n"
        "def f(x):\n    return x * x\n"
        "@pydron.schedule\n"
        "def main(n):\n"
        "    out = []\n"
        "    for x in range(n):\n        out = out + [f(x)]\n"
        "    return out\n"
        "print(main(5))\n"
        "from ergon._schedule import _pool\nprint(_pool().processes)\n"
    )
    folder = os.path.join(os.path.dirname(ergon.__file__), "aliases")
    environment = {k: v for k, v in os.environ.items() if k not in ("ERGON_CONF", "PYDRON_CONF")}
    environment["PYTHONPATH"] = os.pathsep.join([folder, environment.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "[0, 1, 4, 9, 16]\n2\n", done.stderr
