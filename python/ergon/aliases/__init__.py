"""Packages under the names of the libraries Ergon replaces.

The folder of this file, put first on ``PYTHONPATH`` (or ``sys.path``), makes ``import pathos`` and its
relatives resolve to Ergon. ``python -m ergon.aliases`` prints the folder; ``ergon run`` puts it there itself.
"""

import os


def folder():
    """The folder to put in front of the import path."""
    return os.path.dirname(os.path.abspath(__file__))
