#!/usr/bin/env python3
"""Correctness + parallelism harness for `schedule`/`functional` style packages.

  ERGON_PKG=ergon python harness.py [MODULE[:SCHEDULE,FUNCTIONAL]] [options]

MODULE defaults to $ERGON_PKG, decorator names to `schedule,functional`.
Every program in --programs (NNN_*.py) is run twice in a fresh process: plain (undecorated) and
scheduled.  Compared (hard): result, exception type + args, stdout, mutated arguments, listed module
GLOBALS, object sharing inside and between result and arguments, dict order, exact types (so a leaked
placeholder fails).  Compared (soft, reported as `warn`): __cause__/__context__ types and the
line of the program's file in the traceback.  Programs with SOFT = "why" never count as failures.

options: --hook FILE   python file with  setup(pkg, n_workers)  and optionally teardown(pkg)
         -n N          workers (16)          -k SUBSTR     only programs whose name contains it
         --mode M      replace (default): module globals are replaced by decorated objects
                       source: a decorated copy of the file is written and imported
         --repeat R    scheduled runs per program, best time counts (2)
         --timeout S   per program (30)      --json FILE   write all records
         --path DIR    prepended to sys.path (repeatable)   --min-eff E  flag SLOW below (0.5)
         --exclude A,B  --list  -q (only failures)  --python EXE  interpreter for the children
"""

import argparse
import ast
import contextlib
import copy
import faulthandler
import importlib
import importlib.util
import io
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import types

HERE = pathlib.Path(__file__).resolve().parent


# ---------------------------------------------------------------- canonical form of values
class Canon:
    """Structure of a value: types, contents, order, and sharing of mutable objects."""

    def __init__(self, modname):
        self.memo, self.keep, self.modname = {}, [], modname

    def tname(self, t):
        m = t.__module__
        return t.__qualname__ if m in ("builtins", self.modname) else m + "." + t.__qualname__

    def shared(self, x):
        if id(x) in self.memo:
            return ["<same as #%d>" % self.memo[id(x)]]
        self.memo[id(x)] = len(self.memo)
        self.keep.append(x)
        return None

    def __call__(self, x, depth=0):
        t = type(x)
        n = self.tname(t)
        if depth > 60:
            return [n, "<deep>"]
        d = depth + 1
        if x is None or t in (bool, int, str, float, complex, bytes, range, slice, type(Ellipsis)):
            return [n, repr(x)]
        if t is tuple or t is frozenset:
            items = [self(v, d) for v in x]
            return [n, items if t is tuple else sorted(items, key=repr)]
        if isinstance(x, type):
            return ["type", self.tname(x)]
        if isinstance(x, types.ModuleType):
            return ["module", x.__name__]
        if isinstance(x, BaseException):
            return ["exception", n, [self(a, d) for a in x.args], [self(e, d) for e in getattr(x, "exceptions", ())]]
        if (
            isinstance(x, (types.FunctionType, types.BuiltinFunctionType, types.MethodType))
            or getattr(x, "__wrapped__", None) is not None
        ):
            return ["callable", getattr(x, "__qualname__", getattr(x, "__name__", "?"))]
        s = self.shared(x)
        if s:
            return s
        out = [n]
        if hasattr(x, "dtype") and hasattr(x, "tolist"):
            return out + [str(x.dtype), list(getattr(x, "shape", ())), repr(x.tolist())]
        if isinstance(x, dict):
            out.append([[self(k, d), self(v, d)] for k, v in x.items()])
        elif isinstance(x, (set, frozenset)):
            out.append(sorted((self(v, d) for v in x), key=repr))
        elif isinstance(x, (list, tuple)) or n == "collections.deque":
            out.append([self(v, d) for v in x])
        elif isinstance(x, (bytearray, memoryview)):
            out.append(repr(bytes(x)))
        elif hasattr(x, "__next__"):
            return ["iterator", n]
        state = dict(getattr(x, "__dict__", {}) or {})
        for c in t.__mro__:
            sl = c.__dict__.get("__slots__", ())
            for k in [sl] if isinstance(sl, str) else sl:
                if not k.startswith("__") and hasattr(x, k):
                    state[k] = getattr(x, k)
        if state:
            out.append([[k, self(v, d)] for k, v in sorted(state.items())])
        return out


# ---------------------------------------------------------------- one execution
def load(name, directory):
    sys.modules.pop(name, None)
    importlib.invalidate_caches()
    spec = importlib.util.spec_from_file_location(name, os.path.join(directory, name + ".py"))
    mod = importlib.util.module_from_spec(spec)
    sys.modules[name] = mod
    spec.loader.exec_module(mod)
    return mod


def call_main(mod):
    args, kwargs = copy.deepcopy((mod.ARGS, getattr(mod, "KWARGS", {})))
    buf, rec, exc, res = io.StringIO(), {}, None, None
    t0 = time.perf_counter()
    try:
        with contextlib.redirect_stdout(buf):
            res = mod.main(*args, **kwargs)
            if hasattr(res, "__next__"):
                res = {"<yielded>": list(res)}
    except Exception as e:
        exc = e
    rec["elapsed"] = time.perf_counter() - t0
    canon = Canon(mod.__name__)

    def c(x):
        try:
            return canon(x)
        except Exception as e:
            return ["<cannot be inspected: %r>" % e]

    rec["result"] = c(res)
    rec["args"] = c([args, kwargs])
    rec["globals"] = c({g: getattr(mod, g, "<missing>") for g in getattr(mod, "GLOBALS", [])})
    rec["stdout"] = buf.getvalue()
    rec["exc"] = None
    if exc is not None:
        ctx = exc.__context__ if not exc.__suppress_context__ else None
        lines = [
            f.line
            for f in traceback.extract_tb(exc.__traceback__)
            if os.path.basename(f.filename) == mod.__name__ + ".py"
        ]
        rec["exc"] = [type(exc).__name__, c(list(exc.args))]
        rec["exc_soft"] = {
            "cause": type(exc.__cause__).__name__,
            "context": type(ctx).__name__,
            "line": lines[0] if lines else None,
        }
        rec["traceback"] = "".join(traceback.format_exception(exc))[-3000:]
    return rec


def decorated_copy(name, directory, dest, pkg, sched, func, mod):
    """mode `source`: put the decorators into a copy of the file."""
    src = pathlib.Path(directory, name + ".py").read_text()
    lines = src.split("\n")
    deco = {f: func for f in mod.FUNCTIONAL}
    deco.update({f: sched for f in getattr(mod, "SCHEDULED", ["main"])})
    tree = ast.parse(src)
    for node in reversed(tree.body):
        if isinstance(node, ast.FunctionDef) and node.name in deco:
            at = (node.decorator_list[0].lineno if node.decorator_list else node.lineno) - 1
            lines.insert(at, "@_h_pkg.%s" % deco[node.name])
    first = 1 if isinstance(tree.body[0], ast.Expr) else 0  # keep the docstring first
    at = tree.body[0].end_lineno if first else 0
    lines.insert(at, "import %s as _h_pkg" % pkg)
    pathlib.Path(dest, name + ".py").write_text("\n".join(lines))


def child(a):
    faulthandler.enable()
    faulthandler.dump_traceback_later(max(1, a.timeout - 2), exit=False)
    name, directory = a.child, str(a.programs)
    modname, _, decs = a.package.partition(":")
    sched, func = (decs.split(",") + ["functional"])[:2] if decs else ("schedule", "functional")
    rec = {"name": name}
    for p in [directory] + a.path:
        sys.path.insert(0, os.path.abspath(p))
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [os.path.abspath(p) for p in a.path + [directory]]
        + [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    )
    missing = []
    tree = ast.parse(pathlib.Path(directory, name + ".py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "REQUIRES":
            missing = [m for m in ast.literal_eval(node.value) if importlib.util.find_spec(m) is None]
    if missing:
        rec["status"] = "SKIP"
        rec["why"] = "needs " + ",".join(missing)
        return rec
    mod = load(name, directory)
    calls = [0]

    def counted(f):
        def w(*x, **k):
            calls[0] += 1
            return f(*x, **k)

        w.__name__ = w.__qualname__ = f.__name__
        w.__wrapped__ = f
        return w

    for f in mod.FUNCTIONAL:
        setattr(mod, f, counted(getattr(mod, f)))
    plain = call_main(mod)
    rec.update(
        plain=plain,
        calls=calls[0],
        CALLS=mod.CALLS,
        IDEAL=mod.IDEAL,
        IDEAL_SPEC=getattr(mod, "IDEAL_SPEC", mod.IDEAL),
        SLEEP=getattr(mod, "SLEEP", 0.02),
    )
    meta = []
    if calls[0] != mod.CALLS:
        meta.append("CALLS is %d, counted %d" % (mod.CALLS, calls[0]))
    want = getattr(mod, "EXPECT_EXC", None)
    got = plain["exc"] and plain["exc"][0]
    if want != got:
        meta.append("EXPECT_EXC is %s, plain raised %s\n%s" % (want, got, plain.get("traceback", "")))
    rec["meta"] = meta
    # ---- scheduled
    src_dir = directory
    if a.mode == "source":
        src_dir = tempfile.mkdtemp(prefix="h3src_")
        sys.path.insert(0, src_dir)
        os.environ["PYTHONPATH"] = src_dir + os.pathsep + os.environ["PYTHONPATH"]
        decorated_copy(name, directory, src_dir, modname, sched, func, mod)
    pkg = importlib.import_module(modname)
    hook = None
    if a.hook:
        spec = importlib.util.spec_from_file_location("harness_hook", a.hook)
        hook = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(hook)
        hook.setup(pkg, a.n)
    runs, diffs, warns = [], [], []
    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rss0 = peak()
    try:
        for r in range(a.repeat):
            mod = load(name, src_dir)
            if a.mode == "replace":
                for f in mod.FUNCTIONAL:
                    setattr(mod, f, getattr(pkg, func)(getattr(mod, f)))
                for f in getattr(mod, "SCHEDULED", ["main"]):
                    setattr(mod, f, getattr(pkg, sched)(getattr(mod, f)))
            run = call_main(mod)
            runs.append(run)
            for k in ("exc", "result", "stdout", "args", "globals"):
                if run[k] != plain[k]:
                    diffs.append(
                        "run %d %s:\n    plain     %.400s\n    scheduled %.400s"
                        % (r, k, json.dumps(plain[k]), json.dumps(run[k]))
                    )
                    if k == "exc" and run["exc"]:
                        diffs.append(run["traceback"][-1500:])
                    break
            if run.get("exc_soft") != plain.get("exc_soft") and run["exc"] == plain["exc"]:
                warns.append("exception detail: plain %s scheduled %s" % (plain.get("exc_soft"), run.get("exc_soft")))
            if diffs:
                break
    finally:
        if hook and hasattr(hook, "teardown"):
            hook.teardown(pkg)
    best = min(r["elapsed"] for r in runs)
    soft = getattr(mod, "SOFT", None)
    rec.update(
        elapsed=best,
        diffs=diffs,
        warns=sorted(set(warns)),
        rss_mb=peak() - rss0,
        status="PASS" if not diffs else "SOFT" if soft else "FAIL",
    )
    return rec


# ---------------------------------------------------------------- parent
def figures(rec, n):
    s, best = rec["SLEEP"], rec["elapsed"]
    fl = max(rec["IDEAL"], -(-rec["CALLS"] // n)) * s  # best possible with n workers
    rec["parallelism"] = rec["CALLS"] * s / best if s and rec["CALLS"] else None
    rec["ideal"] = rec["CALLS"] / rec["IDEAL"] if rec["IDEAL"] else None
    rec["eff"] = fl / best if s and rec["CALLS"] else None
    rec["us_per_call"] = best / max(rec["CALLS"], 1) * 1e6
    rec["extra_ms"] = (best - fl) * 1e3
    lo = max(rec["IDEAL_SPEC"], -(-rec["CALLS"] // n)) * s
    rec["below_ideal"] = bool(s and rec["CALLS"] and best < lo * 0.9)


def run_child(name, a, argv):
    with tempfile.NamedTemporaryFile("r", suffix=".json") as tf, tempfile.TemporaryFile("w+") as err:
        cmd = [a.python, str(HERE / "harness.py")] + argv + ["--child", name, "--out", tf.name]
        p = subprocess.Popen(cmd, stdout=err, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            rc = p.wait(a.timeout)
            timed = False
        except subprocess.TimeoutExpired:
            timed, rc = True, None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(p.pid, signal.SIGKILL)  # the child's own session: it and its workers
        p.wait()
        err.seek(0)
        tail = err.read()[-3000:]
        data = tf.read()
    if data and not timed:
        rec = json.loads(data)
    else:
        rec = {"name": name, "status": "TIMEOUT" if timed else "CRASH", "rc": rc, "why": tail}
    rec["log"] = tail
    return rec


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    ap.add_argument("package", nargs="?", default=os.environ.get("ERGON_PKG", "ergon"))
    ap.add_argument("--programs", default=str(HERE / "programs"))
    ap.add_argument("--hook")
    ap.add_argument("-n", type=int, default=16)
    ap.add_argument("-k", default="")
    ap.add_argument("--exclude", default="")
    ap.add_argument("--mode", choices=("replace", "source"), default="replace")
    ap.add_argument("--repeat", type=int, default=2)
    ap.add_argument("--timeout", type=float, default=30)
    ap.add_argument("--json")
    ap.add_argument("--path", action="append", default=[])
    ap.add_argument("--min-eff", type=float, default=0.5)
    ap.add_argument("--python", default=sys.executable)
    ap.add_argument("--list", action="store_true")
    ap.add_argument("-q", action="store_true")
    ap.add_argument("--child")
    ap.add_argument("--out")
    a = ap.parse_args()
    if a.child:
        try:
            rec = child(a)
        except BaseException:
            rec = {"name": a.child, "status": "ERROR", "why": traceback.format_exc()[-3000:]}
        with open(a.out, "w") as f:
            json.dump(rec, f)
        sys.stdout.flush()
        os._exit(0)
    names = sorted(p.stem for p in pathlib.Path(a.programs).glob("[0-9]*.py"))
    skip = [x for x in a.exclude.split(",") if x]
    names = [x for x in names if a.k in x and not any(s in x for s in skip)]
    if a.list:
        for x in names:
            doc = ast.get_docstring(ast.parse(pathlib.Path(a.programs, x + ".py").read_text()))
            print("%-34s %s" % (x, doc.split("\n")[0]))
        return 0
    argv = [x for x in sys.argv[1:]]
    recs, t0 = [], time.time()
    print("%-34s %-7s %6s %6s %6s %5s %8s" % ("program", "status", "calls", "par", "ideal", "eff", "ms"))
    for x in names:
        rec = run_child(x, a, argv)
        recs.append(rec)
        note = ""
        if "elapsed" in rec:
            figures(rec, a.n)
            if rec["status"] == "PASS" and rec["eff"] is not None and rec["eff"] < a.min_eff:
                note = "SLOW"
            if rec["below_ideal"]:
                note += " <IDEAL?"
            if not rec["SLEEP"] or not rec["CALLS"]:
                note += " %.1f us/call, x%.1f of plain" % (
                    rec["us_per_call"],
                    rec["elapsed"] / max(rec["plain"]["elapsed"], 1e-9),
                )
            if rec["rss_mb"] > 30:
                note += " peak RSS +%.0f MB" % rec["rss_mb"]
            if rec["meta"]:
                note += " META: " + "; ".join(rec["meta"])
            f = lambda v, w: ("%*.2f" % (w, v)) if v is not None else " " * (w - 1) + "-"
            line = "%-34s %-7s %6d %s %s %s %8.1f %s" % (
                x,
                rec["status"],
                rec["CALLS"],
                f(rec["parallelism"], 6),
                f(rec["ideal"], 6),
                f(rec["eff"], 5),
                rec["elapsed"] * 1e3,
                note,
            )
        else:
            line = "%-34s %-7s %s" % (x, rec["status"], rec.get("why", "")[-1500:] if rec["status"] != "PASS" else "")
        if not a.q or rec["status"] not in ("PASS", "SKIP") or note.strip():
            print(line, flush=True)
        for d in rec.get("diffs", []):
            print("    " + d.replace("\n", "\n    "))
        for w in rec.get("warns", []):
            print("    warn: " + w)
    by = {}
    for r in recs:
        by[r["status"]] = by.get(r["status"], 0) + 1
    effs = [r["eff"] for r in recs if r.get("status") == "PASS" and r.get("eff")]
    pars = [r for r in recs if r.get("status") == "PASS" and r.get("ideal") and r["SLEEP"] and r["ideal"] >= 2]
    print("\n%s  in %.0f s" % ("  ".join("%s %d" % kv for kv in sorted(by.items())), time.time() - t0))
    if effs:
        effs.sort()
        print(
            "efficiency against the bound max(IDEAL, CALLS/n): median %.2f  min %.2f;  "
            "%d of %d programs with ideal >= 2 reach half of it"
            % (effs[len(effs) // 2], effs[0], sum(r["eff"] >= 0.5 for r in pars), len(pars))
        )
    if a.json:
        with open(a.json, "w") as f:
            json.dump(recs, f, indent=1)
    bad = sum(v for k, v in by.items() if k not in ("PASS", "SKIP", "SOFT"))
    return 1 if bad or any(r.get("meta") for r in recs) else 0


if __name__ == "__main__":
    sys.exit(main())
