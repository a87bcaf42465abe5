"""`python -m moxlib` is the command `moxlib`."""

import sys

from moxlib.cli import main

sys.exit(main())
