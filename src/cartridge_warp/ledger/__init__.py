"""What a destination remembers beside its rows, and the destination built on that.

For a store that takes one more value into the transaction of its rows.
"""

from .book import SILENT_SECONDS, Ledger
from .destination import LedgerDestination

__all__ = ["SILENT_SECONDS", "Ledger", "LedgerDestination"]
