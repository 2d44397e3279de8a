"""Runs a test file of CPython's own with every function scheduled, and functionals called in it, and prints the verdicts.

    python tests/flow/cpython.py test_grammar                every function decorated, a functional called at its start
    python tests/flow/cpython.py --plain test_grammar        as it is

The last line is JSON: test -> "ok", "skipped", or the kind of failure. The functional does nothing but take a moment in a
worker, so that each function of the file is run ahead of from its first line.
"""

from __future__ import annotations

import ast
import builtins
import importlib.util
import json
import sys
import time
import types
import unittest

# What Python makes a static or class method of, or looks at as a plain function, by its name.
SPECIAL = frozenset({"__new__", "__init_subclass__", "__class_getitem__", "__prepare__"})


class Scheduling(ast.NodeTransformer):
    """Decorates functions and puts a call of the probe at their start."""

    def __init__(self):
        self.count = 0

    def function(self, node):
        self.generic_visit(node)
        self.count += 1
        call = ast.parse(f"__ergon_probe__({self.count})").body[0]
        first = node.body[0]
        skip = (
            isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
        )
        for inner in ast.walk(call):
            ast.copy_location(inner, first)
        node.body.insert(1 if skip else 0, call)
        if node.name not in SPECIAL:
            name = ast.copy_location(ast.Name("__ergon_schedule__", ast.Load()), node)
            node.decorator_list.append(name)
        return node

    visit_FunctionDef = function

    def visit_AsyncFunctionDef(self, node):
        self.generic_visit(node)
        node.decorator_list.append(ast.copy_location(ast.Name("__ergon_schedule__", ast.Load()), node))
        return node


def probe(k):
    time.sleep(0.0003)
    return k


def load(name, transform):
    spec = importlib.util.find_spec(f"test.{name}")
    with open(spec.origin, "rb") as file:
        tree = ast.parse(file.read(), spec.origin)
    if transform:
        tree = ast.fix_missing_locations(Scheduling().visit(tree))
    module = types.ModuleType(spec.name)
    module.__file__, module.__spec__, module.__package__ = spec.origin, spec, "test"
    sys.modules[spec.name] = module
    exec(compile(tree, spec.origin, "exec", dont_inherit=True), module.__dict__)
    return module


class Verdicts(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.found, self.words = {}, {}

    def note(self, test, verdict, error=None):
        name = test.id() if hasattr(test, "id") else str(test)
        if self.found.get(name, "ok") in ("ok", "skipped"):
            self.found[name] = verdict
        if error is not None:
            self.words[name] = self._exc_info_to_string(error, test)

    def addSuccess(self, test):
        self.note(test, "ok")

    def addSkip(self, test, reason):
        self.note(test, "skipped")

    def addExpectedFailure(self, test, error):
        self.note(test, "ok")

    def addFailure(self, test, error):
        self.note(test, "failure", error)

    def addError(self, test, error):
        self.note(test, "error", error)

    def addSubTest(self, test, subtest, error):
        if error is not None:
            self.note(test, "failure", error)


def main(argv):
    plain = "--plain" in argv
    verbose = "-v" in argv
    names = [a for a in argv if not a.startswith("-")]
    if not plain:
        import ergon

        ergon.configure(workers=[{"type": "multicore", "cores": 2}])
        functional = ergon.functional(probe)
        functional._remote_only = 1
        builtins.__ergon_probe__ = functional
        builtins.__ergon_schedule__ = ergon.schedule
    result = Verdicts()
    for name in names:
        module = load(name, not plain)
        unittest.defaultTestLoader.loadTestsFromModule(module).run(result)
    if verbose:
        for name, words in result.words.items():
            print(f"--- {name}\n{words}", file=sys.stderr)
    if not plain:
        from ergon._schedule import stats

        print(stats(), file=sys.stderr)
        ergon.shutdown()
    print(json.dumps(result.found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
