"""The trace and the report of a pool with hosts behind ssh show the hosts, and what travelled."""

import json
import os
import re
import time

import ergon
import pytest
from browser import browse, in_browser, words
from ergon import trace

pytestmark = pytest.mark.slow
SENT, FETCHED = 3_000_000, 200_000
HOSTS = ("ssh://node?slots=2", "ssh://other?slots=1")


def work(i):
    time.sleep(0.003)
    return os.urandom(FETCHED // 100)


def measure(data):
    return os.urandom(FETCHED)


@pytest.fixture(scope="module")
def recorded(sshd, tmp_path_factory):
    """The trace and the page of a run on this machine and two hosts."""
    path = tmp_path_factory.mktemp("report") / "run.trace.json"
    trace.clear()
    with trace.record(path), ergon.Pool("local:1", *HOSTS, require="all") as pool:
        for name in HOSTS:
            assert len(pool.options(resources={"host": name}).pipe(measure, os.urandom(SENT))) == FETCHED
        assert len(pool.map(work, range(300), chunksize=1)) == 300
    page = path.with_suffix(".html")
    assert trace.report(path, page) == str(page)
    return path, page


def numbers(text):
    """Of texts such as `3.0 MB`, in bytes."""
    units = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}
    return [float(n) * units[unit] for n, unit in re.findall(r"([\d.]+) (B|kB|MB|GB)\b", text)]


def test_the_trace_has_a_row_a_host_with_what_it_moved(recorded):
    events = json.loads(recorded[0].read_text())["traceEvents"]
    lanes = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert set(lanes.values()) >= {f"host {name}" for name in HOSTS}
    for name in HOSTS:
        (one,) = [e for e in events if e["name"] == "measure" and e["ph"] == "X" and lanes[e["tid"]] == f"host {name}"]
        assert SENT <= one["args"]["bytes_in"] < 1.01 * SENT
        assert FETCHED <= one["args"]["bytes_out"] < 1.01 * FETCHED
        assert [e for e in events if e["name"] == "work" and e["ph"] == "X" and lanes[e["tid"]] == f"host {name}"]


def check_page(text):
    table = text.partition("Other hosts ")[2].partition(" Functions ")[0]
    for name in HOSTS:
        tasks, sent, fetched = re.search(
            rf"host {re.escape(name)} (\d+) [\d.]+ % ([\d.]+ \w+) ([\d.]+ \w+)", table
        ).groups()
        assert 1 < int(tasks) < 302
        assert numbers(sent)[0] == pytest.approx(SENT, rel=0.05)
        # the large result, and those of the map
        assert numbers(fetched)[0] == pytest.approx(FETCHED + (int(tasks) - 1) * FETCHED / 100, rel=0.1)
    workers = text.partition(" Workers Share of")[2].partition(" How long tasks took ")[0]
    assert all(f"host {name}" in workers for name in HOSTS) and "process " in workers


def test_the_page_says_so(recorded):
    check_page(words(recorded[1].read_text()))


@in_browser
def test_a_browser_shows_it(recorded, tmp_path):
    shown = browse(tmp_path, recorded[1], "--dump-dom").decode()
    assert 'data-drawn="302"' in shown  # the timeline was drawn to its end
    check_page(words(shown))
