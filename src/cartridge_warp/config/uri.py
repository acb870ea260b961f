"""Connection strings: which scheme they must have, and how they may be shown."""

from __future__ import annotations

import re
from typing import Final

SOURCE_SCHEMES: Final = ("mongodb://", "mongodb+srv://")
DESTINATION_SCHEMES: Final = ("postgresql://", "postgres://")
HIDDEN: Final = "***"

SECRET_NAME: Final = re.compile(r"password|passwd|pwd|token|secret|properties", re.I)
_PARAMETER: Final = re.compile(r"([^?&;=]+)=([^&;]*)")


def redact(uri: str) -> str:
    """The URI without its password and without secret parameters.

    User, hosts and database stay. Everything up to the last ``@`` counts as user
    information, because a password may hold an ``@``, ``/`` or ``?`` that should have
    been percent-encoded; what is no URI at all is hidden whole.
    """
    scheme, found, rest = uri.partition("://")
    if not found or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        return HIDDEN if uri else ""
    user, at, place = rest.rpartition("@")
    if at:
        name, colon, _ = user.partition(":")
        user = f"{name}:{HIDDEN}" if colon else name
    base, question, query = place.partition("?")
    return f"{scheme}://{user}{at}{base}{question}{_PARAMETER.sub(_hide, query)}"


def _hide(parameter: re.Match[str]) -> str:
    name = parameter[1]
    return f"{name}={HIDDEN}" if SECRET_NAME.search(name) else parameter[0]
