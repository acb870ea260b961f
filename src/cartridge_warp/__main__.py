"""``python -m cartridge_warp`` is ``cwarp``."""

import sys

from cartridge_warp.cli import main

sys.exit(main())
