"""Names of collections in settings: plain ones, and globs."""

from __future__ import annotations

from fnmatch import fnmatchcase

Patterns = tuple[str, ...]


def is_plain(name: str) -> bool:
    """Does it stand for the collection of this very name, and for no other?"""
    return not set(name) & set("*?[")


def passes(name: str, whitelist: Patterns, blacklist: Patterns) -> bool:
    """One level of filters; a whitelist makes the blacklist beside it moot."""
    if whitelist:
        return any(fnmatchcase(name, pattern) for pattern in whitelist)
    return not any(fnmatchcase(name, pattern) for pattern in blacklist)
