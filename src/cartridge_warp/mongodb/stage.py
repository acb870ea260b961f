"""The ``$changeStream`` stage: what the stream tells, wherever it starts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from .link import Link

#: MongoDB 6.0, the first with ``showExpandedEvents`` and with images of documents,
#: speaks this wire version.
IMAGES_WIRE = 17

#: ``source.full_document`` -> the stage's option.
_FULL_DOCUMENT = {
    "lookup": {},
    "post_image": {"fullDocument": "whenAvailable"},
    "update_lookup": {"fullDocument": "updateLookup"},
}

#: Takes away whatever may be large but the key, which the document is looked up by.
_SLIM = {
    "$project": {
        "fullDocument": False,
        "fullDocumentBeforeChange": False,
        "updateDescription": False,
    }
}


class Stage(NamedTuple):
    """The options of one kind of stream, but for its start.

    No other stage follows it: a filter would make its tokens its own. ``slim`` adds
    one that drops no event and leaves each its token (seen on 6.0).
    """

    options: Mapping[str, Any]

    @classmethod
    def of(cls, link: Link, full_document: str) -> Stage:
        """For this server. full_document: a word of ``source.full_document``."""
        options = dict(_FULL_DOCUMENT[full_document])
        expanded = link.wire_version() >= IMAGES_WIRE
        return cls({**options, "showExpandedEvents": True} if expanded else options)

    @property
    def fingerprint(self) -> str:
        """``Position.stream``: the pipeline without the start, as JSON."""
        pipeline = [{"$changeStream": self.options}]
        return json.dumps(pipeline, sort_keys=True, separators=(",", ":"))

    def opening(
        self, start: Mapping[str, Any], batch_size: int, *, slim: bool = False
    ) -> dict[str, Any]:
        """The command that opens the stream. start: the option that says where.

        slim: events come without their documents.
        """
        pipeline: list[Mapping[str, Any]] = [
            {"$changeStream": {**start, **self.options}}
        ]
        return {
            "aggregate": 1,
            "pipeline": [*pipeline, _SLIM] if slim else pipeline,
            "cursor": {"batchSize": batch_size},
        }
