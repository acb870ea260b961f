"""A shop in batch mode, on a replica set and on a standalone mongod."""

from __future__ import annotations

from typing import Any

import pytest
from batch_kit import BatchShop
from pymongo.database import Database


@pytest.fixture
def shop(
    mongo_db: Database[dict[str, Any]], mongo_uri: str, postgres_uri: str
) -> BatchShop:
    return BatchShop(mongo_db, mongo_uri, postgres_uri)


@pytest.fixture
def alone(
    standalone_db: Database[dict[str, Any]], standalone_uri: str, postgres_uri: str
) -> BatchShop:
    """Its source is a standalone mongod."""
    return BatchShop(standalone_db, standalone_uri, postgres_uri)
