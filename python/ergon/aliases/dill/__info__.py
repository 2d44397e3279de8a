"""The alias of dill on Ergon: serialization of all of Python, with dill's rules and dill's streams.

What it is, and where it differs, stands in the documentation of Ergon (docs/aliases.md, docs/serialization.md).
"""

from ergon.aliases._legal import LICENSE as __license__

__all__ = ["__author__", "__license__", "__version__"]

__version__ = "0.4.1"
__author__ = "the Ergon developers"
