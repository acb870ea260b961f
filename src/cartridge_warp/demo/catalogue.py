"""Documents that every machine has: its installed Python distributions.

Everything is read from this interpreter's own directories; nothing is made up. Four
collections, and among them every common BSON type:

- ``distributions``: string ids; nested metadata, arrays, dates, decimals;
- ``dependencies``: compound ids; booleans, and a field that is often null;
- ``modules``: UUID ids; numbers of three types, binary digests;
- ``files``: ObjectIds; one document a file of every distribution, tens of thousands.

Ids follow from names, so that two runs on one machine make the same documents.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
import re
import site
import sys
import sysconfig
import tokenize
import uuid
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from email.message import Message
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, NamedTuple, cast

from bson import Binary, Decimal128, Int64, ObjectId

Document = dict[str, Any]

#: Enough to be real work, little enough to be over soon.
MOST_FILES = 40_000
MOST_MODULES = 10_000

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://pypi.org/project/")
_REQUIREMENT = re.compile(
    r"^\s*(?P<name>[A-Za-z0-9][\w.-]*)\s*(?:\[(?P<extras>[^]]*)\])?"
    r"\s*\(?(?P<specifier>[^;)]*)\)?\s*(?:;\s*(?P<marker>.*))?$"
)
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")
_WHERE = "https://docs.python.org/"


def collections() -> dict[str, Iterator[Document]]:
    """Each collection's documents, made as they are read."""
    found = _distributions()
    paths = {name: list(_paths(of)) for name, of in found.items()}
    return {
        "distributions": (_distribution(of, paths[n]) for n, of in found.items()),
        "dependencies": _dependencies(found),
        "modules": itertools.islice(_modules(paths), MOST_MODULES),
        "files": itertools.islice(_files(found, paths), MOST_FILES),
    }


class _File(NamedTuple):
    """path: as the distribution names it."""

    path: str
    place: Path
    stat: os.stat_result


class _StandardLibrary(Distribution):
    """Python itself, which has files and a version and no RECORD."""

    def __init__(self) -> None:
        self._root = Path(sysconfig.get_path("stdlib"))

    def read_text(self, filename: str) -> str | None:
        if filename != "METADATA":
            return None
        version = sys.version.split()[0]
        return (
            f"Metadata-Version: 2.1\nName: python\nVersion: {version}\n"
            f"Summary: The standard library\nHome-page: {_WHERE}\n"
        )

    def locate_file(self, path: Any) -> Path:
        return Path(self._root, path)

    def walk(self) -> Iterator[Path]:
        for directory, below, names in os.walk(self._root):
            below[:] = sorted(set(below) - {"site-packages", "dist-packages"})
            yield from (Path(directory, name) for name in sorted(names))


def _distributions() -> dict[str, Distribution]:
    """By normalised name; of several, the first on the path, as an import would."""
    base = sysconfig.get_paths(vars={"base": sys.base_prefix})
    path = [*sys.path, *site.getsitepackages(), base["purelib"], base["platlib"]]
    found: dict[str, Distribution] = {"python": _StandardLibrary()}
    for each in distributions(path=list(dict.fromkeys(path))):
        # A broken installation has metadata without a name.
        if name := _metadata(each).get("Name"):
            found.setdefault(_normal(name), each)
    return found


def _distribution(of: Distribution, files: list[_File]) -> Document:
    metadata = _metadata(of)
    sizes = [file.stat.st_size for file in files]
    nbytes = sum(sizes)
    text = of.read_text("METADATA") or of.read_text("PKG-INFO") or ""
    return {
        "_id": _normal(metadata["Name"]),
        "name": metadata["Name"],
        "version": of.version,
        "summary": _text(metadata.get("Summary")),
        "metadata": {
            "license": _text(metadata.get("License-Expression")),
            "requires_python": metadata.get("Requires-Python"),
            "author": {
                "name": _text(metadata.get("Author")),
                "email": _text(metadata.get("Author-email")),
            },
            "keywords": re.findall(r"[^,\s]+", metadata.get("Keywords") or ""),
            "classifiers": [_text(c) for c in metadata.get_all("Classifier") or ()],
            "links": _links(metadata),
        },
        "entry_points": [
            {"group": each.group, "name": each.name, "value": each.value}
            for each in of.entry_points
        ],
        "files": {
            "count": len(files),
            "bytes": Int64(nbytes),
            "megabytes": Decimal128(Decimal(nbytes).scaleb(-6)),
            "mean_bytes": nbytes / len(sizes) if sizes else None,
            "newest": max((_when(file.stat) for file in files), default=None),
        },
        "digest": Binary(hashlib.sha256(text.encode(errors="replace")).digest()),
        "typed": any(file.path.endswith("py.typed") for file in files),
    }


def _dependencies(found: dict[str, Distribution]) -> Iterator[Document]:
    for name, of in found.items():
        for number, text in enumerate(of.requires or ()):
            if not (match := _REQUIREMENT.match(text)):
                continue
            needed = _normal(match["name"])
            marker = match["marker"] or None
            extra = _EXTRA.search(marker or "")
            there = found.get(needed)
            yield {
                "_id": {"of": name, "on": needed, "line": number},
                "requirement": text,
                "specifier": match["specifier"].strip(),
                "extras": [e.strip() for e in (match["extras"] or "").split(",") if e],
                "marker": marker,
                "optional": extra is not None,
                "extra": extra[1] if extra else None,
                "installed": {
                    "present": there is not None,
                    "version": there.version if there else None,
                },
            }


def _modules(paths: dict[str, list[_File]]) -> Iterator[Document]:
    for name, files in paths.items():
        for path, location, stat in files:
            if not path.endswith(".py") or stat.st_size > 2_000_000:
                continue
            try:
                source = location.read_bytes()
            except OSError:
                continue
            lines = source.count(b"\n")
            dotted = path[:-3].replace("/", ".").removesuffix(".__init__")
            yield {
                "_id": Binary.from_uuid(uuid.uuid5(_NAMESPACE, f"{name}/{path}")),
                "module": dotted,
                "distribution": name,
                "package": path.endswith("__init__.py"),
                "lines": lines,
                "bytes": Int64(len(source)),
                "crc32": Int64(zlib.crc32(source)),
                "md5": Binary(hashlib.md5(source, usedforsecurity=False).digest(), 5),
                "text": {
                    "encoding": _encoding(source),
                    "mean_line": len(source) / lines if lines else None,
                    "functions": source.count(b"\ndef "),
                    "classes": source.count(b"\nclass "),
                },
            }


def _files(
    found: dict[str, Distribution], paths: dict[str, list[_File]]
) -> Iterator[Document]:
    for name, of in found.items():
        digests = {
            str(file): file.hash.value
            for file in of.files or ()
            if file.hash and file.hash.mode == "sha256"
        }
        for path, _, stat in paths[name]:
            digest = digests.get(path)
            directory, _, last = path.rpartition("/")
            yield {
                "_id": ObjectId(
                    hashlib.sha256(f"{name}/{path}".encode()).digest()[:12]
                ),
                "distribution": name,
                "path": path,
                "location": {
                    "directory": directory,
                    "name": last,
                    "suffix": os.path.splitext(last)[1] or None,
                    "parts": path.split("/"),
                },
                "size": Int64(stat.st_size),
                "blocks": stat.st_size // 4096 + 1,
                "modified": _when(stat),
                "mode": {
                    "octal": f"{stat.st_mode & 0o7777:04o}",
                    "executable": bool(stat.st_mode & 0o100),
                },
                "sha256": Binary(_unpadded(digest)) if digest else None,
            }


def _paths(of: Distribution) -> Iterator[_File]:
    """Every file that is really there."""
    if isinstance(of, _StandardLibrary):
        root = of.locate_file("")
        pairs = ((str(path.relative_to(root)), path) for path in of.walk())
    else:
        pairs = ((str(f), Path(str(of.locate_file(f)))) for f in of.files or ())
    for path, place in pairs:
        try:
            yield _File(_text(path) or "", place, place.stat())
        except (OSError, ValueError):
            continue


def _metadata(of: Distribution) -> Message:
    """importlib's own type promises less than the email message that it is."""
    return cast(Message, of.metadata)


def _links(metadata: Message) -> Document:
    links = {}
    if home := metadata.get("Home-page"):
        links["home"] = _text(home)
    for line in metadata.get_all("Project-URL") or ():
        label, _, url = line.partition(",")
        links[re.sub(r"\W+", "_", label.strip().lower())] = _text(url.strip())
    return links


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _text(text: str | None) -> str | None:
    """A file name may hold bytes that are no UTF-8; BSON may not."""
    return None if text is None else text.encode(errors="backslashreplace").decode()


def _when(stat: os.stat_result) -> datetime:
    """To the millisecond, which is what a BSON date holds."""
    seconds, rest = divmod(stat.st_mtime_ns // 1_000_000, 1000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1000)


def _encoding(source: bytes) -> str:
    try:
        return tokenize.detect_encoding(iter(source.splitlines(True)[:2]).__next__)[0]
    except (SyntaxError, StopIteration):
        return "unknown"


def _unpadded(digest: str) -> bytes:
    return base64.urlsafe_b64decode(digest + "=" * (-len(digest) % 4))
