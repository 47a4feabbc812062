"""``python -m edgecost``: the same door as the command ``edgecost``."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
