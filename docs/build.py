"""Write the pages of ``docs/reference``, which are made from the code.

``python docs/build.py`` writes them; with ``--check`` it writes nothing, names the
stale ones, and exits 1 when there are any.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from core_page import core_page
from markdown import table

from cartridge_warp.cli.failures import EXIT_CODES
from cartridge_warp.cli.verbs import cwarp
from cartridge_warp.config import catalog
from cartridge_warp.config.cascade import CASCADING
from cartridge_warp.config.check import variable
from cartridge_warp.metrics import METRICS
from cartridge_warp.schema import types

REFERENCE = Path(__file__).with_name("reference")
MADE = "<!-- Written by docs/build.py: change the code, then run `make docs`. -->"


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
            "at a level before `max_document_depth` becomes columns of its own and has "
            "no type.",
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
            "in `_cwarp_extra`, under its path, in canonical Extended JSON, and the "
            "cell is NULL. The same form stands there beside a cell that alone would "
            "not tell what the value was, for example a number in a `text` column.",
            "A `text` column shows strings, symbols, ObjectIds, numbers and booleans. "
            "Dates, timestamps and UUIDs have no one text, so where they are mixed "
            "with other scalars they are in `_cwarp_extra` alone. Where binary joins "
            "the mix the column is JSON and shows all of them.",
            "Values in a JSON column have no form beside them: in `json_mode: plain` "
            "a date, a UUID, an ObjectId or a symbol reads like a string there, and "
            "`json_mode: canonical` keeps the kinds apart. A date of the year 0 (1 "
            'BC) is `"0000-..."` in plain JSON, which PostgreSQL does not cast to a '
            "`timestamptz`; in a column of that type it is right.",
            "A field that is a sub-document in some documents and a scalar in others "
            "has columns for both: one of its own, and one for each field inside it. "
            "Where its other values are JSON (an array, a regex), its column takes "
            "the sub-documents whole, and there are no columns for paths inside it. A "
            "table that has a column for `a.b` gets no JSON column for `a`: what is "
            "no sub-document there is kept in `_cwarp_extra`.",
            "## Numbers",
            "A number has no form beside it where its cell is equal to it, as MongoDB "
            "compares numbers: int32 in a `bigint`, int64 and decimals in a `numeric`. "
            "The places of a decimal are kept (1.10), a positive exponent is not: 1E+3 "
            "reads 1000.",
            "A double in a `numeric` column is written in the shortest digits that "
            "read back as it, so 0.1 reads 0.1. Where these are not its exact value "
            "(0.1, 2^60; not 0.375, and no whole number below 2^53), the double "
            "stands beside it in `_cwarp_extra`, and is told from a decimal or an "
            "integer of the same digits. So is -0.0, which `numeric` does not have.",
            "## The key",
            "`_id` is the primary key. Its type comes from the smallest, the greatest "
            "and the sampled ids. MongoDB holds numbers of one value equal whatever "
            "their kind, so 3, 3.0 and `Decimal128('3.00')` are one key in every type "
            "that holds them, and -0.0 is 0. A symbol is the string of its text, and "
            "the namespace of a DBPointer ends before its first U+0000. The same "
            "holds inside ids that are documents.",
            table(
                ("`_id`s", "key"),
                (
                    ("`objectId`", '`text collate "C"`, 24 hex digits'),
                    ("`string`, `symbol`", '`text collate "C"`'),
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
