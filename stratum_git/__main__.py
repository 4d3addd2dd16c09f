"""Runs the command line as ``python -m stratum_git``."""

import sys

from stratum_git.cli.main import main

sys.exit(main())
