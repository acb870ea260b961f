"""``cwarp`` with chunks of few documents, so that small collections have several.

SIGUSR1 makes it write every thread's stack to its log.
"""

from __future__ import annotations

import faulthandler
import signal
import sys

from cartridge_warp.cli import main
from cartridge_warp.mongodb import snapshot

_DOCUMENTS = 120

if __name__ == "__main__":
    faulthandler.register(signal.SIGUSR1)
    snapshot.CHUNK_DOCUMENTS = _DOCUMENTS
    sys.exit(main())
