"""A notebook: pools over functions of its cells, the widget, await, errors."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest

for name in ("nbformat", "nbclient", "ipykernel", "ipywidgets", "tqdm"):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed: make test installs it", allow_module_level=True)

# In a process of its own: the client keeps an event loop and sockets.
RUN = """
import json, sys
import nbclient, nbformat
book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in json.load(sys.stdin)])
client = nbclient.NotebookClient(book, timeout=120, allow_errors=True)
client.create_kernel_manager()
client.km.kernel_cmd = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
client.execute()
json.dump(book, sys.stdout)
"""

CELLS = [
    "import sys, time, ergon\ndef f(x):\n    time.sleep(0.005)\n    return x * x",
    "with ergon.ProcessPool(2) as pool:\n    found = pool.map(f, range(100), progress='squares')\nsum(found)",
    "def g(x):\n    return f(x) + 1\npool = ergon.ProcessPool(2)\npool.map(g, range(3))",
    "f = lambda x: 7\npool.map(g, range(2))",
    "await pool.submit(g, 3)",
    "pool.map(lambda x: 1 / x, [1, 0])",
    "try:\n    pool.map(lambda x: 1 / x, [1, 0], progress='bad')\nexcept ZeroDivisionError:\n    print('caught')",
    "pool.close(); pool.join(); ergon.shutdown(); print('over')",
]


@pytest.mark.slow
def test_a_notebook() -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN], input=json.dumps(CELLS), capture_output=True, text=True, timeout=200, check=True
    )
    book = json.loads(done.stdout)

    def results(number: int) -> list[str]:
        outputs = book["cells"][number]["outputs"]
        return [
            "".join(out["text"]) if "text" in out else out.get("ename") or out["data"]["text/plain"] for out in outputs
        ]

    def widgets() -> list[dict]:
        saved = book["metadata"]["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
        return [model["state"] for model in saved.values() if "max" in model["state"]]

    assert results(1)[-1] == "328350" and "application/vnd.jupyter.widget-view+json" in str(
        book["cells"][1]["outputs"][0]
    )
    assert results(2) == ["[1, 2, 5]"] and results(3) == ["[8, 8]"] and results(4) == ["8"]
    assert results(5) == ["ZeroDivisionError"] and results(6)[-1] == "caught\n" and results(7) == ["over\n"]
    good, bad = widgets()
    assert (good["value"], good["bar_style"]) == (100, "success") and bad["bar_style"] == "danger"
