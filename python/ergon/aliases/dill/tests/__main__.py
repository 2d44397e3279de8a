"""What dill's tests take from their package: the interpreter, and how to start it."""

import glob
import os
import subprocess as sp
import sys

python = sys.executable
shell = False
suite = os.path.dirname(os.path.abspath(__file__))
tests = sorted(glob.glob(os.path.join(suite, "test_*.py")))

if __name__ == "__main__":
    failed = [test for test in tests if sp.call([python, test])]
    print(f"{len(tests)} files, {len(failed)} failed")
    sys.exit(bool(failed))
