"""What programs ask dill about the interpreter."""

import sys

IS_PYPY = sys.implementation.name == "pypy"
