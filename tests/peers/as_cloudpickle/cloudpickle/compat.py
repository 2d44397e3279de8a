"""What version 2 of cloudpickle has of other Pythons: the standard library's pickle."""

import pickle
from pickle import Pickler

__all__ = ["Pickler", "pickle"]
