"""Nothing is read past the end of what the core is given, in the build users run.

AddressSanitizer sees an over-read in a build of its own; here the bytes end at a page
whose first byte is fatal (guard.py), and CPython's hidden NUL is no help either.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import cwarp_core
from cwarp_core import BatchEncoder, CorruptBSON, KeyKindError, Observation, Reply
from tests.core.build import document, obj
from tests.core.differential import encode, row_plan
from tests.core.guard import GuardedPages
from tests.core.samples import SAMPLES
from tests.core.test_hostile import EVERY_KIND, PLAN
from tests.fix_data import corpus_cases
from tests.fuzz.seeds import RAW_REPLY

_MAPS = Path("/proc/self/maps")
pytestmark = pytest.mark.skipif(
    _MAPS.exists() and "libasan" in _MAPS.read_text(),
    reason="the sanitizers object to an unaligned object, and see an over-read anyway",
)
ENCODER = BatchEncoder(row_plan(PLAN))
PAYLOAD = encode([EVERY_KIND] * 2, PLAN).payload


@pytest.fixture(scope="module")
def pages() -> GuardedPages:
    return GuardedPages()


def read(raw: bytes) -> None:
    """By every entry that takes a document."""
    for entry in (cwarp_core.check, cwarp_core.json_text):
        try:
            entry(raw)
        except CorruptBSON as error:
            # Its traceback holds frames, and they hold the bytes.
            error.__traceback__ = None
    ENCODER.add_document(raw, 1)
    ENCODER.take()
    Observation(6).add_document(raw)


def read_reply(raw: bytes) -> None:
    try:
        reply = Reply(raw)
        for index in range(len(reply)):
            reply.key(index)
        ENCODER.add_reply(reply, 1)
        cwarp_core.parse_events(reply)
    except CorruptBSON as error:
        error.__traceback__ = None
    ENCODER.take()


def read_key(raw: bytes) -> None:
    for encoding in ("objectId", "string", "uuid", "bigint", "numeric", "canonical"):
        try:
            cwarp_core.key_encoding(raw)
            cwarp_core.key_text(raw, encoding)
            cwarp_core.in_filter([raw])
        except (CorruptBSON, KeyKindError) as error:
            error.__traceback__ = None


def read_order(raw: bytes) -> None:
    for entry in (
        lambda: cwarp_core.compare_keys(raw, raw),
        lambda: cwarp_core.asked_alone(raw),
        lambda: cwarp_core.KeyRanges([raw]).find(raw),
    ):
        try:
            entry()
        except CorruptBSON as error:
            error.__traceback__ = None


def read_rows(raw: bytes) -> None:
    try:
        cwarp_core.row_offsets(raw)
    except ValueError as error:
        error.__traceback__ = None


def cut(raw: bytes) -> Iterator[bytes]:
    """Whole, cut anywhere, and cut with an outer length that is true."""
    yield raw
    for size in range(len(raw)):
        yield raw[:size]
        if size >= 5:
            yield size.to_bytes(4, "little") + raw[4 : size - 1] + b"\0"


_VALUES = [value for values in SAMPLES.values() for value in values]
CASES: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "documents": (read, [*cut(EVERY_KIND)]),
    "values": (
        read,
        [
            each
            for value in _VALUES
            if len(value[1]) < 200
            for each in cut(document(("_id", value), ("v", obj(("w", value)))))
        ],
    ),
    "replies": (read_reply, [*cut(RAW_REPLY)]),
    "keys": (
        read_key,
        [
            value.key[:size]
            for value in _VALUES
            if len(value.key) < 200
            for size in range(len(value.key) + 1)
        ],
    ),
    "payloads": (read_rows, [PAYLOAD[:size] for size in range(len(PAYLOAD) + 1)]),
}
CASES["order"] = (read_order, CASES["keys"][1])


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_read_past_the_end(
    pages: GuardedPages, case: str, say: Callable[[str], None]
) -> None:
    entry, inputs = CASES[case]
    for raw in inputs:
        pages.hand(raw, entry)
    say(f"guard page: {case} {len(inputs)}")


def test_corpus_is_not_read_past_its_end(
    pages: GuardedPages, bson_corpus: object
) -> None:
    for section, field in (("valid", "canonical_bson"), ("decodeErrors", "bson")):
        for _, case in corpus_cases(section):
            pages.hand(bytes.fromhex(case[field]), read)


def test_a_read_past_the_end_is_fatal() -> None:
    """The page does guard: reading one byte more ends the process."""
    program = (
        "import ctypes; from tests.core.guard import GuardedPages\n"
        "pages = GuardedPages()\n"
        "pages.hand(b'abc', lambda given: print(given == b'abc', flush=True))\n"
        "ctypes.string_at(pages.end, 1)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert done.stdout == b"True\n"
    assert done.returncode == -signal.SIGSEGV, done.stderr
