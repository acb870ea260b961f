"""A sentence of the contract, and what to say when a connector breaks it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


class Promise:
    """One sentence of the contract.

    where: the class or method whose docstring has it, in ``protocols`` or ``model``.
    words: as they stand there. A test compares them, so that the suites never ask for
    what the contract does not promise.
    """

    def __init__(self, where: str, words: str) -> None:
        self.where = where
        self.words = words

    def kept(self, condition: object, found: str = "") -> None:
        """Raises AssertionError, with the promise and what was found instead."""
        __tracebackhide__ = True
        if not condition:
            self.broken(found)

    def equal(self, found: object, expected: object) -> None:
        """The same for two values that have to be equal."""
        __tracebackhide__ = True
        if found != expected:
            self.broken(f"expected {expected!r:.2000}, found {found!r:.2000}")

    @contextmanager
    def raises(self, *kinds: type[Exception]) -> Iterator[None]:
        """The block has to raise one of these, and nothing else."""
        __tracebackhide__ = True
        names = " or ".join(kind.__name__ for kind in kinds)
        try:
            yield
        except kinds:
            return
        except Exception as error:
            raise AssertionError(
                self._text(f"expected {names}, got {type(error).__name__}: {error}")
            ) from error
        self.broken(f"expected {names}, and nothing was raised")

    @contextmanager
    def allows(self) -> Iterator[None]:
        """The block may raise nothing but what the suite itself says."""
        __tracebackhide__ = True
        try:
            yield
        except Exception as error:
            if isinstance(error, AssertionError):
                raise
            raise AssertionError(
                self._text(f"it raises {type(error).__name__}: {error}")
            ) from error

    def broken(self, found: str) -> NoReturn:
        __tracebackhide__ = True
        raise AssertionError(self._text(found))

    def _text(self, found: str) -> str:
        return f'the contract says of {self.where}: "{self.words}"\n  {found}'
