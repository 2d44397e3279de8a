"""The interface of Pydron on Ergon: `@pydron.schedule`, `@pydron.functional`, and its configuration file."""

import ergon as _ergon
from ergon import functional, schedule  # noqa: F401
from ergon.aliases._legal import LICENSE as __license__  # noqa: F401
from ergon.aliases._legal import license  # noqa: F401

__version__ = "0.1"
__author__ = "the Ergon developers"
__all__ = ["citation", "functional", "license", "schedule"]

_CITATION = """\
Ergon: parallel Python on a C engine, version {version}.

The interface of this package is that of Pydron. If you use it in research, please cite its authors:

    Stefan C. Mueller, Gustavo Alonso, Adam Amara, Andre Csillaghy,
    "Pydron: Semi-Automatic Parallelization for Multi-Core and the Cloud",
    11th USENIX Symposium on Operating Systems Design and Implementation (OSDI), 2014
"""


def citation():
    """Print what to cite."""
    print(_CITATION.format(version=_ergon.__version__))
