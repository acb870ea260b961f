"""The compiled half: BSON bytes in, PostgreSQL COPY BINARY bytes out."""

from .batch import (
    COPY_HEADER,
    COPY_TRAILER,
    Drift,
    EncodedBatch,
    Reject,
    row_offsets,
)
from .bson import CorruptBSON, check
from .encoder import BatchEncoder
from .event import ChangeEvent, parse_events
from .jsontext import json_text
from .key import KeyKindError, in_filter, key_encoding, key_text
from .observe import Observation, ObservedPath
from .order import KeyRanges, asked_alone, compare_keys
from .plan import PlanColumn, RowPlan
from .reply import Reply

__all__ = [
    "COPY_HEADER",
    "COPY_TRAILER",
    "BatchEncoder",
    "ChangeEvent",
    "CorruptBSON",
    "Drift",
    "EncodedBatch",
    "KeyKindError",
    "KeyRanges",
    "Observation",
    "ObservedPath",
    "PlanColumn",
    "Reject",
    "Reply",
    "RowPlan",
    "asked_alone",
    "check",
    "compare_keys",
    "in_filter",
    "json_text",
    "key_encoding",
    "key_text",
    "parse_events",
    "row_offsets",
]
