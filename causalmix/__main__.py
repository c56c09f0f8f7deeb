"""``python -m causalmix``."""

import sys

from causalmix.cli import main

sys.exit(main())
