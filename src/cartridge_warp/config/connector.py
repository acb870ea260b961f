"""A connector's own settings: ``options`` of its group, as a class of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from cartridge_warp.errors import ConfigError

from . import catalog
from .check import nearest
from .model import DestinationSettings, SourceSettings
from .node import shown
from .uri import SECRET_NAME

T = TypeVar("T", bound=Struct)


def options(settings: SourceSettings | DestinationSettings, shape: type[T]) -> T:
    """The options as ``shape``, a msgspec Struct with defaults. Raises ConfigError.

    An option that the shape does not know is an error, and so is one of another type;
    no error quotes a value.
    """
    group = "source" if isinstance(settings, SourceSettings) else "destination"
    setting, named = f"{group}.options", settings.type
    fields = {field.name: field for field in msgspec.structs.fields(shape)}
    for name in settings.options:
        if name not in fields:
            raise ConfigError(
                f"{named} has no option {shown(name)}{nearest(name, fields)}",
                hint=f"it has {', '.join(fields) or 'none'}",
                setting=setting,
            )
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name not in settings.options:
            if field.required:
                raise ConfigError(f"{named} needs the option {name}", setting=setting)
            continue
        try:
            values[name] = msgspec.convert(
                settings.options[name], field.type, strict=False
            )
        except msgspec.ValidationError:
            raise ConfigError(
                f"{name} must be {_words(field.type)}", setting=setting
            ) from None
    return shape(**values)


def _words(type_: Any) -> str:
    try:
        return catalog.words(type_)
    except KeyError:
        return "of another kind"


def secrets(settings: SourceSettings | DestinationSettings) -> Iterator[str]:
    """The options whose names say that nobody may see them."""
    return _secrets(settings.options, secret=False)


def _secrets(value: Any, *, secret: bool) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            hidden = secret or bool(SECRET_NAME.search(str(name)))
            yield from _secrets(inner, secret=hidden)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _secrets(inner, secret=secret)
    elif secret and value is not None:
        yield str(value)
