"""How much of the stream is asked for at once, around an event that is too large."""

from __future__ import annotations


class Portion:
    """Full batches; after a failure single events; at last one without its document.

    A reply holds 16 MB, its token included, and a token holds the key twice over. An
    event that does not fit fails the request with all those before it. Single events
    lead up to it without fetching any of them in vain, and the one itself comes
    ``slim``. What follows is read as before.

    batch_size: events of a full batch.  size: events to ask for.  slim: leave their
    documents away.
    """

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._singles = 0
        self.size = batch_size
        self.slim = False

    def smaller(self) -> bool:
        """Ask for less; False when that cannot be."""
        if self.slim:
            return False
        self.slim = self.size == 1
        self.size = 1
        self._singles = self._batch_size
        return True

    def received(self, events: int) -> bool:
        """Count the events of a reply. True: the cursor cannot go on, open a new one.

        Single events end where the batch that failed would have, or where there is no
        other: nothing was too large then.
        """
        slim, self.slim = self.slim, False
        self._singles -= events
        if slim or not events or self._singles <= 0:
            self.size = self._batch_size
        return slim
