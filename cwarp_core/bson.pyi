class CorruptBSON(ValueError):
    """BSON that cannot be read. ``offset`` is the byte where that was seen."""

    offset: int

def check(document: bytes) -> None:
    """Walk one whole document, nested ones too; raise CorruptBSON where it is broken."""
