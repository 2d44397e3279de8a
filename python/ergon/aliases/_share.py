"""A module of Ergon under a second name: the same code, run with that name.

Functions then belong to the alias package (`__module__`, what they import from their package), as programs expect.
"""

import importlib.util


def run(name, namespace):
    """Runs the code of the module `name` in the namespace of the calling module."""
    spec = importlib.util.find_spec(name)
    exec(spec.loader.get_code(name), namespace)
