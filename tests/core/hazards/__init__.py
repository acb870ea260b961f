"""Every way in which BSON can be broken or odd, and what becomes of it, exactly.

The table is the test (test_hazards.py) and the documentation (docs/reference/core.md).
Each document is ``{_id: 1, v: <value>}`` unless it is given whole; ``v`` has a column.
So the element of ``v`` begins at byte 13 and its value at byte 16.
"""

from .broken import BROKEN
from .hazard import NATIVE, Hazard, Refused, Row, with_id
from .odd import ODD

HAZARDS = [*BROKEN, *ODD]

__all__ = ["HAZARDS", "NATIVE", "Hazard", "Refused", "Row", "with_id"]
