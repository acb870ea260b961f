"""Real documents, end to end, judged by the comparer that shares no code with us."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
from pymongo.database import Database

from cartridge_warp import embedded
from cartridge_warp.demo import files
from tests.command import sync
from tests.comparer import compare


def test_every_document_of_every_file(
    real_data: Path,
    mongo_db: Database[dict[str, Any]],
    mongo_uri: str,
    postgres_uri: str,
) -> None:
    sizes = {}
    for name, path in files.collections(real_data).items():
        documents = list(files.documents(path))
        mongo_db[name].insert_many(documents)
        sizes[name] = len(documents)
    source = embedded.with_database(mongo_uri, mongo_db.name)
    for _ in range(2):
        # The second run finds everything done, and leaves it so.
        ended = sync(source, postgres_uri, "--schema", "real", "--once")
        assert ended.code == 0, ended.err
        with psycopg.connect(postgres_uri) as connection:
            for name, size in sizes.items():
                assert compare(mongo_db[name], connection, "real", name) == []
                query = psycopg.sql.SQL("SELECT count(*) FROM {}")
                table = psycopg.sql.Identifier("real", name)
                assert connection.execute(query.format(table)).fetchone() == (size,)
