"""Helpers for functions that are mapped."""

import importlib
import os
import sys
import time


def starargs(f):
    """A function of one argument, a sequence, that calls `f` with the items of it."""

    def call(args):
        return f(*args)

    note = "\nNOTE: all inputs have been compressed into a single argument"
    call.__doc__ = (f.__doc__ or "") + note
    return call


def random_seed(s=None):
    """Seed `random`, and NumPy's generator where NumPy is installed."""
    import random

    random.seed(s)
    try:
        from numpy import random as numpy_random
    except ImportError:
        return
    numpy_random.seed(s)


def random_state(module="random", new=False, seed="!"):
    """A generator of random numbers: that of `module` ('random', 'numpy', or a module), or a `new` one.

    It is seeded with `seed`: None for the system's randomness, '!' leaves it as it is, '*' takes a seed
    that differs between processes.
    """
    if isinstance(module, type(sys)):
        module = module.__name__
    generator = importlib.import_module("numpy.random" if module == "numpy" else module)
    if new:
        kind = getattr(generator, "RandomState", None) or generator.Random
        generator = kind()
    elif not hasattr(generator, "RandomState") and not hasattr(generator, "Random"):
        raise AttributeError(f"module {module!r} has no random number generator")
    if seed == "!":
        return generator
    if seed == "*":
        seed = (os.getpid() + int(time.time() * 1e6)) % 2**32
    generator.seed(seed)
    return generator
