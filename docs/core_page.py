"""The page of the core: its stubs, and the table that its tests run."""

from __future__ import annotations

import sys
from pathlib import Path

from markdown import table

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.core.hazards import HAZARDS, Hazard, Row  # noqa: E402

CORE_PARTS = (
    (
        "plan",
        "The plan of a table",
        "One plan serves any number of encoders, in any thread. It is compiled once "
        "and never changes: a table that changes gets another plan.",
    ),
    (
        "encoder",
        "From documents to rows",
        "A batch is the payload of one `COPY ... (FORMAT BINARY)`, between "
        "`COPY_HEADER` and `COPY_TRAILER`. What is added goes on until `take`.",
    ),
    (
        "batch",
        "What an encoder gives",
        "The rows, what became no row, and what was kept outside its column.",
    ),
    (
        "reply",
        "Replies of the server",
        "The raw bytes of a reply are read where they lie; a document is copied when "
        "it is asked for.",
    ),
    (
        "event",
        "Change events",
        "What decides the order and the fate of an event is read; the document in it "
        "stays bytes for the encoder.",
    ),
    (
        "observe",
        "What is in the documents",
        "From this the columns of a new table are inferred. Past 4,096 paths in one "
        "observation, further paths are not counted, and neither are paths of more "
        "than 4,096 bytes: they make no column, and their values live in "
        "`_cwarp_extra`.",
    ),
    (
        "key",
        "Keys",
        "An `_id` element is its type byte, then the bytes of its value: as "
        "`Reply.key` and `ChangeEvent.key` give it. Every part of the program that "
        "writes a key calls the one encoder behind these functions.",
    ),
    (
        "order",
        "The order of keys",
        "As the index on `_id` has it: what a copy in ranges and the changes beside it "
        "must agree on.",
    ),
    (
        "jsontext",
        "JSON text",
        "As it stands in a `jsonb` column, for people and tests. Names of fields keep "
        "their order and their duplicates.",
    ),
    ("bson", "Checking", "`check` asks for more than a row does: every text is UTF-8."),
)
REJECTS = (
    ("`corrupt`", "the BSON cannot be read, whatever else is wrong", "of the fault"),
    ("`missing_id`", "there is no `_id`", "-1"),
    ("`key_kind`", "the `_id` does not fit the key's encoding", "of the `_id`'s value"),
    (
        "`misfit`",
        "a value does not fit, and the plan does not rescue it",
        "of the value",
    ),
    (
        "`too_large`",
        "the row passes PostgreSQL's 1 GB, or `_cwarp_extra` the 256 MiB of a `jsonb`; "
        "no more than that is ever built",
        "-1",
    ),
)
CORE_EXAMPLE = """\
import bson
from cwarp_core import COPY_HEADER, COPY_TRAILER, BatchEncoder, PlanColumn, RowPlan

plan = RowPlan(
    "objectId",
    [
        PlanColumn(("name",), "text", "string"),
        PlanColumn(("address", "zip"), "integer", "int"),
    ],
)
encoder = BatchEncoder(plan)
encoder.add_document(bson.encode({"_id": bson.ObjectId(), "name": "Ada"}), source_ts=0)
batch = encoder.take()
with connection.cursor().copy("COPY people FROM STDIN (FORMAT BINARY)") as copy:
    copy.write(COPY_HEADER + batch.payload + COPY_TRAILER)
"""


def core_page() -> str:
    """The stubs of the core word for word, and the table that its tests run."""
    parts = [
        "# The core",
        "`cwarp_core` is the compiled half: bytes in, bytes out. It imports no driver "
        "and knows no socket, file, clock or thread, so it can be used alone:",
        f"```python\n{CORE_EXAMPLE}```",
        "Everything is named in `cwarp_core` itself. Sizes and offsets are bytes, "
        "counted from the start of what was given. A cluster time is BSON's own: "
        "`(seconds << 32) | increment`, 0 for none. Texts are `str`, BSON is `bytes`. "
        "Replies, events, plans and key ranges never change, so any threads may share "
        "them. An encoder and an observation are for one thread at a time: a second "
        "one that comes while the first is inside gets RuntimeError. No class can be "
        "subclassed, and one that is initialized again stays what it is.",
        "Sources: [BSON 1.1](https://bsonspec.org/spec.html); [Extended JSON v2, the "
        "BSON corpus and Decimal128](https://github.com/mongodb/specifications); "
        "[COPY, binary format](https://www.postgresql.org/docs/current/"
        "sql-copy.html); for the cells the `*_recv` functions of PostgreSQL's "
        "`src/backend/utils/adt`.",
    ]
    for name, title, meaning in CORE_PARTS:
        stub = (ROOT / "cwarp_core" / f"{name}.pyi").read_text("utf-8")
        lines = [
            line.partition("  # type: ignore")[0]
            for line in stub.splitlines()
            if not line.startswith(("from ", "import "))
        ]
        text = "\n".join(lines).strip()
        parts += [f"## {title}", meaning, f"```python\n{text}\n```"]
    parts += [
        "## The columns of a row",
        "After the key and the plan's columns come up to two of our own.",
        table(
            ("column", "type", "what"),
            iter(
                (
                    (
                        "`_cwarp_source_ts`",
                        "`timestamptz`",
                        "the cluster time given with the document: its seconds, and "
                        "its increment as microseconds (one of a million or more "
                        "runs into the seconds); NULL for 0; there if `source_ts`",
                    ),
                    (
                        "`_cwarp_extra`",
                        "`jsonb`",
                        "an object of what has no column, or is told by its column in "
                        "part: the path, a dot or a backslash inside a name with a "
                        "backslash before it, and the value in canonical form; NULL if "
                        "there is none",
                    ),
                )
            ),
        ),
        "`_cwarp_synced_at` and the columns of soft deletes are the destination's: no "
        "payload has them.",
        "## Canonical form",
        "Canonical Extended JSON v2, in `_cwarp_extra`, in keys, and in JSON columns "
        "under `json_mode: canonical`, with two additions. A text that no `jsonb` "
        'holds (U+0000, or bytes that are not UTF-8) is `{"$text":{"base64":"..."}}`. '
        "Extended JSON cannot tell a number from a document that happens to be "
        '`{"$numberInt":"5"}`; here a document whose first field is named as one of '
        'the forms begins stands inside `{"$literal":...}`, so that each text stands '
        "for one value (of a NaN the bits are not told). `$ref` and other names with "
        "a dollar stay as they are. In "
        "keys, ids that MongoDB holds equal have one text: a number is its exact "
        "value in plain digits, and a symbol is a string.",
        "`json_mode: plain` is for reading and does not keep kinds apart: an "
        "ObjectId, a UUID, a date or a symbol reads like a string, int32 like int64, "
        "and a document may look like a form.",
        "## Errors",
        "A document that becomes no row is data, a `Reject`; its neighbours are not "
        "touched, and not a byte of it is left in the payload. One that has several "
        "faults is `corrupt` if it is broken at all.",
        table(("code", "when", "offset"), iter(REJECTS)),
        "`CorruptBSON` (a ValueError with `offset`) says that bytes given alone, or a "
        "reply, cannot be read; `KeyKindError` (a ValueError) that an `_id` does not "
        "fit the encoding asked for; ValueError that a plan makes no sense, that a "
        "word is unknown, or that a reply or a filter would pass 2 GiB; TypeError, "
        "OverflowError and IndexError what they say in Python. MemoryError leaves an "
        "encoder as it was before the document that met it, and `take` without having "
        "taken anything; `add_document` and `take` can be called again.",
        "## Broken and odd documents",
        "What becomes of each, exactly: the cell, what `_cwarp_extra` holds beside it, "
        "or the reject. These rows are run as tests. The document is "
        "`{_id: 1, v: ...}` with one column for `v` of the type shown, the misfit "
        "policy is `rescue`; the element of `v` begins at byte 13. Cells of a "
        "`timestamptz` are microseconds since 2000-01-01.",
    ]
    for kind in dict.fromkeys(hazard.hazard for hazard in HAZARDS):
        rows = (hazard_row(each) for each in HAZARDS if each.hazard == kind)
        title = f"### {kind[0].upper()}{kind[1:]}"
        parts += [title, table(("case", "column", "outcome"), rows)]
    return "\n\n".join(parts)


def hazard_row(hazard: Hazard) -> tuple[str, str, str]:
    outcome = hazard.outcome
    if isinstance(outcome, Row):
        said = "NULL" if outcome.cell is None else shortened(outcome.cell)
        if outcome.extra is not None:
            said += f"; `_cwarp_extra` {shortened(outcome.extra)}"
    else:
        said = f"reject `{outcome.code}` at {outcome.offset}"
    return hazard.case, f"`{hazard.column}`", said


def shortened(text: str) -> str:
    """As code; a long one by its two ends and its length."""
    if len(text) > 120:
        return f"`{text[:24]}` ... `{text[-16:]}` ({len(text):,} characters)"
    return f"`{text}`"
