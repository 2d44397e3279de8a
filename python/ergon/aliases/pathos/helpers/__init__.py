"""What the pools are made of, and a few helpers for programs."""

import multiprocess as mp
import ppft as parallelpython
from multiprocess import cpu_count, freeze_support
from multiprocess.dummy import Pool as ThreadPool
from multiprocess.pool import Pool as ProcessPool

from ..pools import _clear as shutdown
from . import mp_helper, pp_helper
