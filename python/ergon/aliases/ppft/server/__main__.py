"""`python -m ppft.server` is the command `ppserver`."""

import sys

from . import main

if __name__ == "__main__":
    sys.exit(main())
