#!/usr/bin/env python3
"""A census of Python's own standard library, first sequentially, then on every core.

Every file is tokenised, parsed and measured; then functions that are near-duplicates of each other are found.
The sequential program is `map`; the parallel ones put `pool.map` in its place and nothing else. The program
checks that all of them found the same, prints a table of times, and writes a report.
"""

import argparse
import os
import sys
import sysconfig
import time

import ergon
from analysis import analyse
from duplicates import candidates, copies, families, similarity
from ergon.progress import track
from findings import digest, findings


def census(map, paths):
    """The whole census. `map` is Python's own or a pool's."""
    files = list(map(analyse, paths))
    groups = copies(files)
    pairs = candidates(groups)
    alike = list(map(similarity, pairs))
    return files, families(groups, pairs, alike)


def main():
    options = arguments()
    paths = sources(options.root, options.quick)
    if not paths:
        sys.exit(f"census: no Python files under {options.root}")
    cores = len(os.sched_getaffinity(0))
    size = sum(os.path.getsize(path) for path in paths)
    print(f"Census of {options.root}: {len(paths):,} files, {size / 1e6:.1f} MB, {cores} cores\n", flush=True)
    warm(paths)

    runs, found = [], None
    for label, workers, open_pool in plan(cores, options.serial):
        recording = label == "processes"
        if recording:
            ergon.trace.start()
        seconds, result = timed(label, open_pool, paths)
        if recording:
            ergon.trace.stop()
            found = result
        runs.append((label, workers, seconds, digest(*result)))

    report = findings(*found, options.root)
    rows = table(runs)
    show(rows, report)
    same = len({run[3] for run in runs}) == 1
    if options.report:
        sections(report, rows, options.root)
        trace = os.path.splitext(options.report)[0] + ".trace.json"
        ergon.trace.save(trace)
        ergon.trace.report(trace, options.report)
        print(f"\nReport: {os.path.abspath(options.report)}")
    if not same:
        sys.exit("census: the runs found different things")


def plan(cores, serial):
    """The runs: name, workers, what opens the pool."""
    mixed = [f"local:{max(1, cores - 1)}", "threads:1"]
    if serial:
        yield "serial", 1, None
    yield "processes", cores, lambda: ergon.ProcessPool(cores)
    yield "processes and threads", max(2, cores), lambda: ergon.Pool(*mixed)


def timed(label, open_pool, paths):
    """One census and the time it took, opening and closing the pool included."""
    start = time.perf_counter()
    if open_pool is None:
        result = census(lambda function, items: map(function, track(items, f"{label}: {function.__name__}")), paths)
    else:
        with open_pool() as pool:
            result = census(
                lambda function, items: pool.map(function, items, progress=f"{label}: {function.__name__}"), paths
            )
    return time.perf_counter() - start, result


def sources(root, quick):
    """All Python files below `root` but installed packages, the largest first so that none is left for the end."""
    paths = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(set(folders) - {"site-packages", "dist-packages", "__pycache__"})
        paths += [os.path.join(folder, name) for name in sorted(names) if name.endswith(".py")]
    paths.sort(key=lambda path: (-os.path.getsize(path), path))
    return paths[3::12] if quick else paths


def warm(paths):
    """Read every file once, so that no run pays for a disk and the others do not."""
    for path in paths:
        with open(path, "rb") as stream:
            stream.read()


def table(runs):
    """Rows of the table of times. Speed-up is against the serial run where there was one."""
    rows = []
    base = runs[0][2] if runs[0][0] == "serial" else None
    for label, workers, seconds, name in runs:
        speedup = base / seconds if base else None
        ratios = (f"{speedup:.2f}", f"{speedup / workers:.0%}") if base else ("–", "–")
        rows.append((label, workers, f"{seconds:.2f} s", *ratios, name))
    return rows


HEADINGS = ("run", "workers", "time", "speed-up", "efficiency", "result")


def show(rows, report):
    """Print the totals and the table of times."""
    print()
    for name, value in report["totals"]:
        print(f"  {name:32}{value:>14,}")
    print("\n  most complex     ", *(name.split()[0] for name, _ in report["complex"][:4]))
    print("  most used        ", *(name for name, _ in report["identifiers"][:10]))
    print()
    widths = [max(len(str(row[i])) for row in [HEADINGS, *rows]) for i in range(len(HEADINGS))]
    for row in [HEADINGS, *rows]:
        cells = [str(row[0]).ljust(widths[0]), *(str(c).rjust(w) for c, w in zip(row[1:], widths[1:]))]
        print("  " + "   ".join(cells))
    same = len({row[-1] for row in rows}) == 1
    print("\n  " + ("All runs found the same." if same else "THE RUNS DIFFER."))


def sections(report, rows, root):
    """What the census adds to the page that `ergon report` makes."""
    add = ergon.trace.section
    add("Census", report["totals"], kind="facts", note=f"Every Python file under {root} but installed packages.")
    add("Times", rows, columns=HEADINGS, note="The timeline above is the run on processes.")
    add(
        "Most complex functions",
        report["complex"],
        kind="bars",
        note="Cyclomatic complexity: one, plus one for every branch.",
    )
    add("How complex functions are", report["complexity"], kind="bars", note="Functions by cyclomatic complexity.")
    add("Most used identifiers", report["identifiers"], kind="bars")
    add("Largest parts of the library", report["parts"], kind="bars", note="Lines.")
    add(
        "Near-duplicate functions",
        report["families"],
        columns=("function", "copies", "tokens to save", "alike", "where"),
        note="Families of functions that share at least 80 % of their shingles of five tokens, each pair verified.",
    )
    if report["unread"]:
        add(
            "Files that do not parse",
            report["unread"],
            columns=("file", "why"),
            note="Most are there to test Python's own errors.",
        )


def arguments():
    parser = argparse.ArgumentParser(description="A census of Python source code, sequential and parallel.")
    parser.add_argument(
        "--root",
        default=os.path.realpath(sysconfig.get_path("stdlib")),
        help="folder to look at (default: the standard library)",
    )
    parser.add_argument("--quick", action="store_true", help="one file in twelve")
    parser.add_argument("--no-serial", dest="serial", action="store_false", help="leave the serial run out")
    parser.add_argument(
        "--report", metavar="FILE", default="census.html", help="where the report goes (default: %(default)s)"
    )
    parser.add_argument("--no-report", dest="report", action="store_const", const=None, help="write no report")
    options = parser.parse_args()
    options.root = os.path.realpath(options.root)
    return options


if __name__ == "__main__":
    main()
