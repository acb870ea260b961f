"""Names of collections in settings: plain ones, and globs."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from fnmatch import fnmatchcase

Patterns = tuple[str, ...]


def is_plain(name: str) -> bool:
    """Does it stand for the collection of this very name, and for no other?"""
    return not set(name) & set("*?[")


def likely(name: str, known: Iterable[str]) -> str:
    """``did you mean ...?`` where a known name is close to this one, else nothing."""
    by_fold = {each.casefold(): each for each in sorted(known)}
    close = difflib.get_close_matches(name.casefold(), by_fold, n=1)
    return f"did you mean {by_fold[close[0]]}?" if close else ""


def passes(name: str, whitelist: Patterns, blacklist: Patterns) -> bool:
    """One level of filters; a whitelist makes the blacklist beside it moot."""
    if whitelist:
        return any(fnmatchcase(name, pattern) for pattern in whitelist)
    return not any(fnmatchcase(name, pattern) for pattern in blacklist)
