"""Packages under the names of the libraries Ergon replaces.

The folder of this file, put first on ``PYTHONPATH`` (or ``sys.path``), makes ``import pathos`` and its
relatives resolve to Ergon. ``python -m ergon.aliases`` prints the folder; ``ergon run`` puts it there itself.
"""

import os

# ``python -m ergon.aliases`` is in a folder of its own: a __main__.py here would be found by ``python FOLDER`` for any folder
# that has none.
__path__.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "_command"))


def folder():
    """The folder to put in front of the import path."""
    return os.path.dirname(os.path.abspath(__file__))
