"""Every setting there is, read off the classes: for look-ups, errors and the docs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import FieldInfo

from .patterns import Patterns
from .written import LATER, Written


class Setting(Struct, frozen=True):
    """One leaf. path: ``schemas[].tables[].layout``.  default: None if required."""

    path: str
    type: str
    default: str | None
    description: str

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]

    @property
    def group(self) -> str:
        """The path of what it belongs to; "" is the top of the file."""
        return self.path.rpartition(".")[0]


def settings(shape: type[Struct] = Written, base: str = "") -> Iterator[Setting]:
    """Every leaf below a shape, groups after the leaves that stand beside them."""
    groups: list[tuple[type[Struct], str]] = []
    for field in msgspec.structs.fields(shape):
        path = f"{base}{field.name}"
        if (group := group_of(field)) is not None:
            groups.append((group, f"{path}."))
        elif (item := item_of(field)) is not None:
            groups.append((item, f"{path}[]."))
        else:
            yield Setting(path, words(field.type), _default(field), _description(field))
    for group, inside in groups:
        yield from settings(group, inside)


def groups(shape: type[Struct] = Written, base: str = "") -> Iterator[tuple[str, str]]:
    """Path and first sentence of every group, the top of the file first."""
    yield base, str(shape.__doc__).split("\n", 1)[0]
    inside = f"{base}." if base else ""
    for field in msgspec.structs.fields(shape):
        if (group := group_of(field)) is not None:
            yield from groups(group, f"{inside}{field.name}")
        elif (item := item_of(field)) is not None:
            yield from groups(item, f"{inside}{field.name}[]")


def later(shape: type[Struct] = Written, base: str = "") -> Iterator[str]:
    """The paths of the settings that this version refuses by name."""
    yield from (f"{base}{name}" for name in sorted(LATER[shape]))
    for field in msgspec.structs.fields(shape):
        if (group := group_of(field)) is not None:
            yield from later(group, f"{base}{field.name}.")


def bare(type_: Any) -> Any:
    """The type without its Annotated."""
    return get_args(type_)[0] if get_origin(type_) is Annotated else type_


def group_of(field: FieldInfo) -> type[Struct] | None:
    """The shape of a field that is a group of settings."""
    return _struct(bare(field.type))


def item_of(field: FieldInfo) -> type[Struct] | None:
    """The shape of the items of a field that is a list of groups."""
    type_ = bare(field.type)
    return _struct(get_args(type_)[0]) if get_origin(type_) is tuple else None


def choices(type_: Any) -> tuple[str, ...]:
    """The words a Literal allows; none for another type."""
    type_ = bare(type_)
    for part in (type_, *get_args(type_)):
        if get_origin(part) is Literal:
            return get_args(part)
    return ()


def takes_text(type_: Any) -> bool:
    """Some of its values are text."""
    plain = bare(type_)
    return plain is str or plain == Patterns or bool(choices(type_))


def words(type_: Any) -> str:
    """A leaf's type and limits in words, as an error and the docs say it."""
    if allowed := [word for word in choices(type_) if word]:
        return " or ".join(filter(None, [", ".join(allowed[:-1]), allowed[-1]]))
    plain = bare(type_)
    if plain == Patterns:
        return "a list of names"
    if get_origin(plain) is dict:
        return "settings by name"
    if plain is bool or bool in get_args(plain):
        return "true or false"
    name = {int: "a whole number", float: "a number", str: "text"}[plain]
    return f"{name}{_limits(type_)}"


def _limits(type_: Any) -> str:
    for meta in _metas(type_):
        low = meta.ge if meta.ge is not None else meta.gt
        if low is not None and meta.le is not None:
            return f" {'from' if meta.gt is None else 'above'} {low} to {meta.le}"
        if meta.pattern is not None:
            return f" that starts with {meta.pattern.lstrip('^')}"
        if meta.min_length:
            return ", not empty"
    return ""


def _metas(type_: Any) -> list[Meta]:
    return [mark for mark in get_args(type_)[1:] if isinstance(mark, Meta)]


def _struct(type_: Any) -> type[Struct] | None:
    return type_ if isinstance(type_, type) and issubclass(type_, Struct) else None


def _default(field: FieldInfo) -> str | None:
    if field.required:
        return None
    value = field.default
    if value is None or value in ("", ()) or value is msgspec.NODEFAULT:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _description(field: FieldInfo) -> str:
    texts = (meta.description for meta in _metas(field.type))
    return " ".join(text for text in texts if text)
