#!/usr/bin/env python3
"""Review FastAPI code: `python audit.py --help`. Needs the folder `fastapi_audit` beside it; Python 3.10 or newer."""

import sys

if sys.version_info < (3, 10):
    print("audit.py: needs Python 3.10 or newer", file=sys.stderr)
    sys.exit(2)

from fastapi_audit.cli import main

if __name__ == "__main__":
    sys.exit(main())
