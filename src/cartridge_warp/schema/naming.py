"""Names that PostgreSQL accepts, one for each path and each collection, for ever.

A name is kept as it is wherever that is possible (it is always quoted, so ``Name``
and ``name`` are two columns). Otherwise it becomes a prefix, ``_`` and 8 hex digits of
a hash of the whole path: when it is longer than 63 bytes, empty, reserved, or taken.
Given the same paths in the same order and the same names taken, the result is the
same on every machine.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from hashlib import sha256
from itertools import count
from typing import Final

from cartridge_warp.model import OWN_COLUMNS, RESERVED_PREFIX, SYSTEM_COLUMNS

Path = tuple[str, ...]

#: NAMEDATALEN - 1; a longer identifier is cut by PostgreSQL without an error.
MAX_BYTES: Final = 63

_HASH_DIGITS: Final = 8
_SEPARATOR: Final = "_"
_NOT_A_WORD: Final = re.compile(r"\W+")


def snake(name: str) -> str:
    """``createdAt`` -> ``created_at``, ``HTTPServer`` -> ``http_server``."""
    parts: list[str] = []
    for at, letter in enumerate(name):
        if letter.isupper() and at:
            before = name[at - 1]
            starts_word = at + 1 < len(name) and name[at + 1].islower()
            if (
                before.islower()
                or before.isdigit()
                or (before.isupper() and starts_word)
            ):
                parts.append(_SEPARATOR)
        parts.append(letter)
    return _NOT_A_WORD.sub(_SEPARATOR, "".join(parts).lower())


def assign(
    paths: Iterable[Path], taken: Collection[str] = (), naming: str = "preserve"
) -> dict[Path, str]:
    """A column name for each path; no two share one, and none is in ``taken``.

    naming: "preserve" or "snake". Among paths that want one name the first gets it.
    """
    used = set(taken)
    names: dict[Path, str] = {}
    for path in dict.fromkeys(paths):
        name = _name(path, naming, used, OWN_COLUMNS | SYSTEM_COLUMNS)
        used.add(name)
        names[path] = name
    return names


def table_name(
    collection: str, taken: Collection[str] = (), naming: str = "preserve"
) -> str:
    """The name of a collection's table in a schema where ``taken`` are in use."""
    return _name((collection,), naming, taken, frozenset())


def _name(
    path: Path, naming: str, taken: Collection[str], reserved: frozenset[str]
) -> str:
    joined = _SEPARATOR.join(path)
    wanted = snake(joined) if naming == "snake" else joined
    # A lone surrogate has no UTF-8 form, so no identifier can hold it.
    name = wanted.encode(errors="replace").decode()
    if (
        name
        and name == wanted
        and len(name.encode()) <= MAX_BYTES
        and not name.startswith(RESERVED_PREFIX)
        and name not in reserved
        and name not in taken
    ):
        return name
    prefix = _cut(name, MAX_BYTES - len(_SEPARATOR) - _HASH_DIGITS)
    # A source may hold a field named like our own suffix: go on until one is free.
    candidates = (f"{prefix}{_SEPARATOR}{_digits(path, n)}" for n in count())
    return next(suffixed for suffixed in candidates if suffixed not in taken)


def _digits(path: Path, attempt: int) -> str:
    # BSON keys hold no U+0000, so the joined bytes tell all paths apart.
    material = "\0".join(path).encode(errors="surrogatepass")
    if attempt:
        material += f"\0\0{attempt}".encode()
    return sha256(material).hexdigest()[:_HASH_DIGITS]


def _cut(name: str, size: int) -> str:
    """At most ``size`` bytes of a name, never half a character."""
    return name.encode()[:size].decode(errors="ignore")
