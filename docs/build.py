"""Write the pages of ``docs/reference``, which are made from the code.

``python docs/build.py`` writes them; with ``--check`` it writes nothing, names the
stale ones, and exits 1 when there are any.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from cartridge_warp.cli import cwarp
from cartridge_warp.cli.failures import EXIT_CODES
from cartridge_warp.config import catalog
from cartridge_warp.config.cascade import CASCADING
from cartridge_warp.config.check import variable
from cartridge_warp.metrics import METRICS
from cartridge_warp.schema import types

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.core.hazards import HAZARDS, Hazard, Row  # noqa: E402

REFERENCE = Path(__file__).with_name("reference")
MADE = "<!-- Written by docs/build.py: change the code, then run `make docs`. -->"


def table(heads: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    """A Markdown table; a pipe inside a cell is escaped."""
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |"
        for line in lines
    )


def cli_page() -> str:
    """Every verb's help, word for word as the program prints it."""
    parts = [
        "# The command line",
        "`cwarp` and `cartridge-warp` are the same program. Data goes to stdout, logs "
        "and errors to stderr. Where a setting can be given in several places, the "
        "order is: command line, environment, env file, configuration file, default.",
        "## Exit codes",
        table(
            ("code", "meaning"),
            ((f"`{code}`", meaning) for code, meaning in EXIT_CODES),
        ),
    ]
    for path, text in verbs(cwarp, None, "cwarp"):
        parts += [f"## {path}", f"```text\n{text}\n```"]
    return "\n\n".join(parts)


def verbs(
    command: click.Command, parent: click.Context | None, name: str
) -> Iterator[tuple[str, str]]:
    """(path, help) of a command and of all below it; the width is always the same."""
    context = click.Context(
        command,
        info_name=name,
        parent=parent,
        terminal_width=84,
        **command.context_settings,
    )
    yield context.command_path, command.get_help(context).rstrip()
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            if found is not None and not found.hidden:
                yield from verbs(found, context, below)


def metrics_page() -> str:
    """The list from which the exporter itself is made."""
    return "\n\n".join(
        [
            "# Metrics",
            "What `/metrics` serves, in Prometheus' text format. Counters move only "
            "after the COMMIT that made them true. A figure that is not known yet has "
            "no sample. No label is taken from data.",
            table(
                ("metric", "kind", "labels", "what"),
                (
                    (
                        f"`{metric.full_name}`",
                        metric.kind,
                        ", ".join(f"`{label}`" for label in metric.labels) or "none",
                        metric.help,
                    )
                    for metric in METRICS
                ),
            ),
        ]
    )


LEVELS = {"": "top", "schemas[]": "schema", "schemas[].tables[]": "table"}


def config_page() -> str:
    """Every setting, read off the classes that the loader checks files against."""
    settings = list(catalog.settings())
    parts = [
        "# Configuration",
        "A file in YAML or JSON. The order is: command line, environment, env file, "
        "configuration file, default. A name that is not listed here is an error, with "
        "its line. A setting with nothing after its colon has its default.",
        "`${VAR}` and `${VAR:-default}` in a value stand for a variable, "
        "`${file:/path}` for what a file holds; `$${` is a plain `${`. The variable "
        f"`{variable('a.b')}` sets `a.b`, and `{variable('a.b')}_FILE` names a file "
        "that holds it; schemas and tables are set in the file. Lists in a variable "
        "are separated by commas.",
        "A collection is synced when the global filter and its schema's filter both "
        "let it pass. Names in filters and under `tables` may be globs (`*`, `?`, "
        "`[abc]`); for a table its own name goes before globs, the first glob that "
        "matches before the others.",
        "## At several levels",
        "The nearest level wins: table, schema, then global (the top of the file, or "
        "the group that is named).",
        config_table(_cascading(settings), settings),
    ]
    for path, meaning in catalog.groups():
        own = [s for s in settings if s.group == path and s.name not in CASCADING]
        title = f"`{path}`" if path else "At the top of the file"
        parts += [f"## {title}", meaning, config_table(own)]
    return "\n\n".join(parts)


def _cascading(settings: list[catalog.Setting]) -> list[catalog.Setting]:
    """One of each name, as its widest level has it."""
    found: dict[str, catalog.Setting] = {}
    for setting in settings:
        if setting.name in CASCADING and setting.group.count("[") < 2:
            if setting.group == "schemas[]" and setting.name in found:
                continue
            found[setting.name] = setting
    return list(found.values())


def config_table(
    rows: list[catalog.Setting], settings: list[catalog.Setting] | None = None
) -> str:
    """A row for each setting; with ``settings``, also the levels of its name."""
    heads = ("setting", "type", "default", "meaning")
    if settings is None:
        return table(heads, (_setting(row) for row in rows))
    return table(
        (*heads, "levels"),
        (
            (
                *_setting(row),
                ", ".join(
                    LEVELS.get(each.group, f"`{each.group}`")
                    for each in settings
                    if each.name == row.name
                ),
            )
            for row in rows
        ),
    )


def _setting(row: catalog.Setting) -> tuple[str, ...]:
    default = "required" if row.default is None else f"`{row.default}`"
    default = "unset" if row.default == "unset" else default
    return f"`{row.name}`", row.type, default, row.description


def types_page() -> str:
    """The lattice, as inference and evolution use it."""
    kinds = {
        type_: [kind for kind, natural in types.NATURAL.items() if natural == type_]
        for type_ in types.TYPES
    }
    return "\n\n".join(
        [
            "# Types",
            "Which column type holds a field. The kinds are MongoDB's `$type` aliases; "
            "`uuid` is binary subtype 4 and `uuidLegacy` binary subtype 3, both of 16 "
            "bytes. A field that was only ever `null`, or a sub-document always "
            "empty, makes no column yet.",
            "## From BSON to a column",
            table(
                ("column", "BSON kinds"),
                (
                    (f"`{type_}`", ", ".join(f"`{kind}`" for kind in found))
                    for type_, found in kinds.items()
                ),
            ),
            "With `legacy_uuid` set, `uuidLegacy` becomes a `uuid`. Where this page "
            "says `jsonb`, `json_columns` may say `json` or `text`. A sub-document "
            "above `max_document_depth` becomes columns of its own and has no type.",
            "## When a field has several kinds",
            "The type of the column is the join of their types. The order in which "
            "they were seen does not matter. Text cannot hold binary, so binary with "
            "any other scalar is JSON.",
            table(
                ("", *(f"`{type_}`" for type_ in types.TYPES)),
                (
                    (f"`{one}`", *(types.join(one, two) for two in types.TYPES))
                    for one in types.TYPES
                ),
            ),
            "This join is made once, when the sample of a new table is read. A value "
            "that comes later and does not fit its column changes nothing: it is kept "
            "in `_cwarp_extra`, under its path, in canonical Extended JSON. The same "
            "form stands there beside a cell that alone would not tell what the value "
            "was, for example a number in a `text` column. Numbers in a wider number "
            "column and values in a JSON column have no such form beside them: in "
            "`json_mode: plain` a date, a UUID or an ObjectId reads like a string "
            "there, and `json_mode: canonical` keeps the kinds apart.",
            "## The key",
            "`_id` is the primary key. Its type comes from the smallest, the greatest "
            "and the sampled ids. MongoDB holds numbers of one value equal whatever "
            "their kind, so 3, 3.0 and `Decimal128('3.00')` are one key in every type "
            "that holds them, and -0.0 is 0.",
            table(
                ("`_id`s", "key"),
                (
                    ("`objectId`", '`text collate "C"`, 24 hex digits'),
                    ("`string`", '`text collate "C"`'),
                    ("`uuid`", "`uuid`"),
                    (
                        "`int`, `long`; later also `double` and `decimal` of an "
                        "integer's value",
                        "`bigint`",
                    ),
                    ("numbers with `double` or `decimal` among them", "`numeric`"),
                    (
                        "any other kind, or a mix",
                        '`text collate "C"`, canonical: Extended JSON in the order of '
                        'the fields, numbers by value: `"x"`, `3.5`, `{"a":1,"b":2}`, '
                        '`{"$oid":"..."}`, `null`',
                    ),
                ),
            ),
            "When an `_id` comes that the key does not hold, the column is rewritten "
            "once: `bigint` to `numeric` for another number, anything else to "
            "canonical text, in one transaction with the structure's new version. "
            "Readers of the table wait while that lasts, and they find another type "
            "of key after it. What depends on the column (a view, a foreign key, a "
            "trigger) makes PostgreSQL refuse; see [A row is missing]"
            "(../troubleshooting.md#a-row-is-missing).",
        ]
    )


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
        "observation, further paths are not told apart.",
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
        "As it stands in a `jsonb` column, for people and tests.",
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
    ("`too_large`", "the row passes PostgreSQL's 1 GB", "-1"),
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
        "`(seconds << 32) | increment`, 0 for none. No object may be used by two "
        "threads at once except a plan and key ranges. Texts are `str`, BSON is "
        "`bytes`.",
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
        "## Errors",
        "A document that becomes no row is data, a `Reject`; its neighbours are not "
        "touched, and not a byte of it is left in the payload. One that has several "
        "faults is `corrupt` if it is broken at all.",
        table(("code", "when", "offset"), iter(REJECTS)),
        "`CorruptBSON` (a ValueError with `offset`) says that bytes given alone, or a "
        "reply, cannot be read; `KeyKindError` (a ValueError) that an `_id` does not "
        "fit the encoding asked for; ValueError that a plan makes no sense. "
        "MemoryError leaves an encoder as it was before the document that met it, and "
        "`take` without having taken anything; `add_document` and `take` can be called "
        "again.",
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


PAGES: dict[str, Callable[[], str]] = {
    "cli.md": cli_page,
    "config.md": config_page,
    "core.md": core_page,
    "metrics.md": metrics_page,
    "types.md": types_page,
}


def main(arguments: list[str]) -> int:
    stale = []
    for name, write in PAGES.items():
        title, _, rest = write().partition("\n")
        text = f"{title}\n\n{MADE}\n{rest.rstrip()}\n"
        page = REFERENCE / name
        if page.is_file() and page.read_text("utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in arguments:
            page.parent.mkdir(exist_ok=True)
            page.write_text(text, "utf-8")
            print(f"wrote {page.name}")
    if "--check" in arguments and stale:
        print(f"stale: {', '.join(stale)}; run `make docs`")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
