class CorruptBSON(ValueError):
    """BSON that cannot be read. ``offset`` is the byte where that was seen."""

    offset: int

    def __init__(self, message: str, offset: int = -1) -> None: ...

def check(document: bytes) -> None:
    """Walk a document, nested ones too; raise CorruptBSON where it is broken."""
