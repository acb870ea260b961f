"""``cwarp demo``: real servers, real documents, a real sync, every row compared."""
