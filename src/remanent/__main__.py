"""Lets `python -m remanent` be the command."""

import sys

from remanent.cli import main

sys.exit(main())
