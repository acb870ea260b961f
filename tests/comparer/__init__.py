"""The independent judge: does every row equal its document, type for type?

It decodes BSON itself, reads PostgreSQL as text, and shares no code with the product,
the compiled core or the oracle, so that one mistake cannot hide in two places.
"""

from .compare import Difference, compare
from .definition import Definition, Field, registered

__all__ = ["Definition", "Difference", "Field", "compare", "registered"]
