"""The mapping's specification as plain Python: slow, obvious, independent.

It shares no code with ``cwarp_core``; the tests compare the two byte for byte.
Where the two differ, the mapping as documented for users decides which is wrong.
"""

from .jsontext import json_text
from .key import KeyKind, key_encoding, key_text
from .order import order_key
from .row import Column, DriftKey, Encoded, Plan, Rejected, encode
from .walk import (
    Corrupt,
    Fields,
    Value,
    kind_of,
    read_document,
    read_element,
    texts_are_utf8,
)

__all__ = [
    "Column",
    "Corrupt",
    "DriftKey",
    "Encoded",
    "Fields",
    "KeyKind",
    "Plan",
    "Rejected",
    "Value",
    "encode",
    "json_text",
    "key_encoding",
    "key_text",
    "kind_of",
    "order_key",
    "read_document",
    "read_element",
    "texts_are_utf8",
]
