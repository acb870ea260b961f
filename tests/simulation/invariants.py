"""What has to hold when all is quiet: rows are documents, and the sums add up."""

from __future__ import annotations

from collections.abc import Collection

import bson

from cartridge_warp.engine.progress import Progress
from cwarp_core import key_text

from .source import PASSING
from .store import Store, StoredTable
from .tablerows import POISON, Broken, Row, encoder_of, rows_of
from .workload import HIDDEN
from .world import World, version_of


def differences(
    world: World,
    store: Store,
    *,
    strict: bool,
    without: Collection[str] = (),
    on_drop: str = "keep",
) -> list[str]:
    """I1, I2 and I3: what is not as it has to be.

    strict: no document is a dead letter any more because of its key.  without: these
    collections, which nobody follows for now.
    """
    found = []
    for name in sorted(world.names):
        documents = _documents(world, name)
        stored = store.of_collection(name)
        if name in without:
            continue
        if name == HIDDEN or name.startswith(PASSING):
            if stored is not None:
                found.append(f"{name} has a table")
            continue
        if stored is None:
            if documents:
                found.append(f"I1: {name} has {len(documents)} documents and no table")
            continue
        found += _compare(world, name, documents, stored, on_drop, strict=strict)
    return found


def _documents(world: World, name: str) -> dict[str, bytes]:
    here = world.collection(name, world.newest)
    if here is None:
        return {}
    return {
        key_text(key, "canonical"): document
        for key, document in here.documents(world.newest)
    }


def _compare(
    world: World,
    name: str,
    documents: dict[str, bytes],
    stored: StoredTable,
    on_drop: str,
    *,
    strict: bool,
) -> list[str]:
    found = []
    rows = {key_text(row.key, "canonical"): row for row in stored.rows.values()}
    for text, row in stored.rows.items():
        if key_text(row.key, stored.table.key) != text:
            found.append(f"I1: {name} has {text} as the key of {row.key!r}")
    for canonical, document in documents.items():
        fault = _fault(stored, document, rows.get(canonical), canonical, strict=strict)
        if fault:
            found.append(f"{name} {canonical}: {fault}")
    for canonical in rows.keys() - documents.keys():
        if not _is_kept(world, name, canonical, on_drop):
            row = rows[canonical]
            found.append(f"I2: {name} {canonical}: extra row, state {row.version}")
    for canonical in stored.letters.keys() - documents.keys():
        if not _is_kept(world, name, canonical, on_drop):
            found.append(f"I3: {name} {canonical}: a dead letter of no document")
    if stored.planned and any(each.state != "done" for each in stored.chunks.values()):
        found.append(f"{name}: its copy is not complete")
    return found


def _fault(
    stored: StoredTable,
    document: bytes,
    row: Row | None,
    canonical: str,
    *,
    strict: bool,
) -> str:
    letter = stored.letters.get(canonical)
    if letter is not None:
        if letter.document != document:
            return (
                f"I3: the dead letter is of state {version_of(letter.document)}, not "
                f"{version_of(document)}"
            )
        if letter.code != "refused" and row is not None:
            return f"I1: a row of state {row.version} beside a dead letter"
        refused = POISON in bson.decode(document) or _rejected(stored, document)
        if refused or (letter.code == "key_kind" and not strict):
            return ""
        return f"I3: a dead letter for {letter.code}, and not poison"
    if POISON in bson.decode(document):
        return "I3: poison, and no dead letter"
    if row is None:
        return f"I1: no row for state {version_of(document)}"
    if row.version != version_of(document):
        return f"I1: the row has state {row.version}, not {version_of(document)}"
    expected = _encoded(stored, document, row.structure)
    if expected is None or expected.cells != row.cells:
        return f"I1: the cells differ in state {row.version}"
    return ""


def _encoded(stored: StoredTable, document: bytes, structure: int) -> Row | None:
    """The row of a document in one version of its table; None for a reject."""
    table = stored.versions[structure]
    encoder = encoder_of(table)
    encoder.add_document(document, 0)
    return next((row for _, row in rows_of(encoder.take(), table)), None)


def _rejected(stored: StoredTable, document: bytes) -> bool:
    return any(_encoded(stored, document, each) is None for each in stored.versions)


def _is_kept(world: World, name: str, canonical: str, on_drop: str) -> bool:
    """May there be something of a document that is not there?

    Where nothing has the name any more, and what had it last was renamed, or dropped
    with the policy that keeps rows. A resync that it ended has not seen all of it, so
    the row may be of any document that ever was there.
    """
    if world.collection(name, world.newest) is not None:
        return False
    incarnations = [each for _, each in world.names[name] if each is not None]
    ended = [ends for former, _, ends in incarnations[-1].left if former == name][-1]
    if ended and on_drop != "keep":
        return False
    return any(canonical in each.versions for each in incarnations)


def check_counts(progress: Progress) -> None:
    """I5: what was read went somewhere, once."""
    for schema in progress.snapshot().schemas:
        for table in schema.tables:
            counts = table.counts
            told = (
                counts.copied,
                counts.applied,
                counts.superseded,
                counts.dead_letters,
                counts.ignored,
            )
            if counts.read != sum(told) or min(told) < 0:
                raise Broken(f"I5: {table.collection} {counts}")
