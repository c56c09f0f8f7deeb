"""``python -m causalmix``."""

from __future__ import annotations

import sys

from causalmix.cli import main

sys.exit(main())
