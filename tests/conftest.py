"""What every Python test runs under: a private temporary folder, the tiers, and the leak check.

Tiers: a test without a marker is quick. `@pytest.mark.slow` runs in `make test` too, `@pytest.mark.full` only in
`make test-full`. Choose with --tier quick|default|full.

After each test module ergon is shut down and nothing may be left behind (leaks.py); what is left fails the module.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pathlib
import shutil
import signal
import sys
import tempfile

import hypothesis
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import leaks  # noqa: E402

# Libraries that start threads of their own for good when they are imported: not ours, so before any snapshot.
with contextlib.suppress(ImportError):
    import numpy  # noqa: F401

TIERS = ("quick", "default", "full")

# Everything we start inherits this folder for its temporary files and sockets, so that what is left is ours.
# Short, because the path of a Unix socket holds 107 characters.
_folder = tempfile.mkdtemp(prefix=leaks.RUN_PREFIX, dir="/tmp")
_outer_tmpdir = os.environ.get("TMPDIR")


# A shell's background jobs and nohup's have these ignored; the programs we start would inherit that.
for _signal, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_signal) == signal.SIG_IGN:
        signal.signal(_signal, _handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--tier", choices=TIERS, default="default", help="quick: unmarked tests; default: and slow; full: all"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes seconds; not in the quick tier")
    config.addinivalue_line("markers", "full: takes minutes, or needs much of the machine; only in the full tier")
    config.addinivalue_line("markers", "keeps_pools: the leak check after this module does not shut ergon down first")
    os.environ["TMPDIR"] = tempfile.tempdir = _folder
    # No deadlines: a busy machine is no failure.
    examples = {"quick": 50, "default": 100, "full": 1000}[config.getoption("--tier")]
    hypothesis.settings.register_profile("ergon", deadline=None, print_blob=True, max_examples=examples)
    hypothesis.settings.load_profile("ergon")


def pytest_unconfigure(config: pytest.Config) -> None:
    tempfile.tempdir = None
    if _outer_tmpdir is None:
        os.environ.pop("TMPDIR", None)
    else:
        os.environ["TMPDIR"] = _outer_tmpdir
    shutil.rmtree(_folder, ignore_errors=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    tier = TIERS.index(config.getoption("--tier"))
    kept, dropped = [], []
    for item in items:
        needs = 2 if item.get_closest_marker("full") else 1 if item.get_closest_marker("slow") else 0
        (kept if needs <= tier else dropped).append(item)
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


def pytest_report_header(config: pytest.Config) -> str:
    import ergon

    return f"ergon {ergon.__version__} from {pathlib.Path(ergon.__file__).parent}, tier {config.getoption('--tier')}"


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> range:
    """How often a test repeats what is up to chance: once, and five times in the full tier."""
    return range(5 if request.config.getoption("--tier") == "full" else 1)


def _shutdown() -> None:
    """Ends everything ergon keeps warm between pools."""
    ergon = sys.modules.get("ergon")
    shutdown = getattr(ergon, "shutdown", None)
    if shutdown is not None:
        shutdown()
    gc.collect()


@pytest.fixture(scope="session", autouse=True)
def _what_a_process_keeps():
    """What is opened once in a process's life (libuv's pipe for signals) is no leak of the module that came first."""
    import ergon

    with ergon.ThreadPool(1) as pool:
        pool.pipe(abs, 1)
    _shutdown()


_ending = pytest.StashKey[pytest.Item]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    item.session.stash[_ending] = item


def _let_go(session: pytest.Session) -> None:
    """pytest keeps what a module's last test was given, and what the last failure came through, beyond the module's end: a pool in it
    would keep its table."""
    item = session.stash.get(_ending, None)
    if getattr(item, "funcargs", None):
        item.funcargs.clear()
    for name in ("last_exc", "last_type", "last_value", "last_traceback"):
        vars(sys).pop(name, None)


@pytest.fixture(scope="module", autouse=True)
def _nothing_left_behind(request: pytest.FixtureRequest):
    import ergon  # noqa: F401  what importing opens is not a leak

    _shutdown()
    before = leaks.Snapshot(_folder)
    yield
    _let_go(request.session)
    if not request.node.get_closest_marker("keeps_pools"):
        _shutdown()
    found = before.leaks()
    assert not found, f"{request.node.name} left behind:\n  " + "\n  ".join(found)
