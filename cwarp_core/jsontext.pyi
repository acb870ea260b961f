def json_text(document: bytes, mode: str = "plain") -> str:
    """A BSON document as JSON text, as the core writes it into jsonb.

    mode: "plain" or "canonical" (canonical Extended JSON v2, and ``$text`` and
    ``$literal``). Raises CorruptBSON, ValueError for another mode.
    """
