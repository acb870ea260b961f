"""Why a connection could not be made, and what to do about it.

libpq passes on no SQLSTATE for a connection that never stood, only words. So the words
choose the hint here, and nothing but the hint: what happens next is the same for every
refusal. A server that speaks another language gets the general hint.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Final

import psycopg
from psycopg import sql

#: Words of libpq and of PostgreSQL, and the hint; ``{...}`` are parts of the
#: connection string. The first that is found counts.
_HINTS: Final = tuple(
    (re.compile(words), hint)
    for words, hint in (
        # 28P01, and a role that does not exist where passwords are asked for
        (
            "no password supplied",
            "the server asks for a password: write "
            "postgresql://USER:PASSWORD@HOST:5432/DATABASE",
        ),
        (
            "password authentication failed",
            "check user and password in the connection string; special characters of "
            "the password are written as %XX",
        ),
        # 28000
        (
            'role ".*" does not exist',
            "create the role ({createuser}), or name another user in the connection "
            "string",
        ),
        ('role ".*" is not permitted to log in', "ALTER ROLE {user} LOGIN;"),
        (
            "no pg_hba.conf entry .* no encryption",
            "the server may want TLS: add sslmode=require to the connection string, "
            "or let this host in by a line of pg_hba.conf",
        ),
        (
            "pg_hba.conf",
            "let this host, user and database in by a line of the server's pg_hba.conf",
        ),
        # 3D000
        (
            'database ".*" does not exist',
            "create it ({createdb}), or name another database in the connection string",
        ),
        # 42501
        (
            "permission denied for database",
            "GRANT CONNECT ON DATABASE {database} TO {user};",
        ),
        # 53300
        (
            "too many (connections|clients)|connection slots are reserved",
            "end connections that are not needed, or raise the limit (max_connections, "
            "or CONNECTION LIMIT of the role or the database)",
        ),
        # 57P03
        ("is (starting up|shutting down|in recovery)", "try again in a moment"),
        (
            "does not support SSL",
            "turn TLS on at the server, or take sslmode={sslmode} out of the "
            "connection string",
        ),
        (
            "certificate|SSL error|SSL SYSCALL",
            "check sslmode, sslrootcert, sslcert and sslkey in the connection string "
            "against the server's certificate",
        ),
        (
            "failed to resolve host|could not translate host name",
            "check host and port in the connection string",
        ),
        (
            "refused|timeout|timed out|unreachable|No route|No such file|closed the",
            "check that PostgreSQL is running at {place}, and that no firewall is "
            "between",
        ),
    )
)
_SERVER: Final = re.compile(
    r'server at "([^"]+)".*?, port (\d+)|on socket "([^"]+)/\.s\.PGSQL\.(\d+)"'
)
_GENERAL: Final = (
    "check host, port, user, password, database and sslmode in the connection string, "
    "and the server's log"
)


def reason(error: psycopg.Error, password: object) -> str:
    """The last line libpq wrote, where it says why; it names the server and the user.

    libpq never prints the password, and yet this is the place to be sure of it.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "failed" in line] or lines or ["no answer"]
    # Before this, psycopg names the attempt, and every attempt where there are several.
    text = telling[-1].rpartition("connection failed: ")[2]
    text = text.removeprefix("connection is bad: ")
    return text.replace(str(password), "***") if password else text


def hint(text: str, parts: Mapping[str, object]) -> str:
    """What to do about a reason. parts: those of the connection string."""
    host, port = _place(text, parts)
    # libpq has defaults for both, and the server's words name them.
    user = _named("role|user", text) or str(parts.get("user") or "USER")
    database = _named("database", text) or str(parts.get("dbname") or user)
    at = f"-h {shlex.quote(host)} -p {port}"
    for words, found in _HINTS:
        if words.search(text):
            return found.format(
                place=f"{host}:{port}",
                user=_quoted(user),
                database=_quoted(database),
                createdb=f"createdb {at} {shlex.quote(database)}",
                createuser=f"createuser {at} {shlex.quote(user)}",
                sslmode=parts.get("sslmode", "require"),
            )
    return _GENERAL


def _named(what: str, text: str) -> str:
    found = re.search(f'(?:{what}) "([^"]+)"', text)
    return found[1] if found else ""


def _place(text: str, parts: Mapping[str, object]) -> tuple[str, str]:
    """Host and port of the server that refused; the string may name several."""
    if found := _SERVER.search(text):
        return found[1] or found[3], found[2] or found[4]
    host = parts.get("host") or parts.get("hostaddr") or "localhost"
    return str(host), str(parts.get("port") or 5432)


def _quoted(name: str) -> str:
    return sql.Identifier(name).as_string(None)
