"""What can go wrong outside a row: one small tree, each error with its way out.

A row that cannot be stored is data (a reject, a dead letter), never one of these.
"""


class WarpError(Exception):
    """Base of every error a user may see.

    hint: the one thing to do about it.  retryable: the same call may succeed later
    without anybody doing anything.  exit_code: what the process returns.
    """

    exit_code = 1
    retryable = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(WarpError):
    """A setting or an argument is wrong; nothing was started.

    setting: the path of the one at fault, for a fault that shows only later; whoever
    knows where it was written names that place instead.  fault: the message alone.
    """

    exit_code = 2

    def __init__(self, message: str, *, hint: str = "", setting: str = "") -> None:
        super().__init__(f"{setting}: {message}" if setting else message, hint=hint)
        self.setting = setting
        self.fault = message


class PreconditionError(WarpError):
    """A server does not offer what the work needs; nothing was started."""

    exit_code = 3


class SourceError(WarpError):
    """The source refused in a way that waiting does not mend."""


class SourceUnavailable(SourceError):
    """The source cannot be reached, or is between two primaries."""

    retryable = True


class HistoryLost(SourceError):
    """The position is older than the oldest change the source still has."""

    exit_code = 6


class DestinationError(WarpError):
    """The destination refused in a way that waiting does not mend."""


class DestinationUnavailable(DestinationError):
    """The destination cannot be reached, or has no room or no connection to spare."""

    retryable = True


class LockTimeout(DestinationUnavailable):
    """A structure change waited too long for a table lock; the data goes on."""


class StructureChanged(DestinationUnavailable):
    """A table's key is in another encoding than the rows; nothing of them was kept.

    The work succeeds with rows that were encoded for the newest structure.
    """


class StructureRefused(DestinationError):
    """A structure change can never be made as things are; the data goes on."""


class RowsRefused(DestinationError):
    """PostgreSQL refused a row, not the work; nothing of this commit was kept.

    The same work succeeds with ``careful`` set, which makes dead letters of such rows.
    """


class MisfitError(WarpError):
    """A value does not fit its column, and ``on_misfit: fail`` ends the work there."""


class OutcomeUnknown(DestinationError):
    """A COMMIT's answer was lost, and what is stored could not be read since."""


class Owned(DestinationError):
    """Another process owns the schema and is alive; wait, and ask again."""


class Unowned(DestinationError):
    """No process owns the schema, so there is none to help; wait, and ask again."""


class Fenced(WarpError):
    """This process may not write any more; nothing of this commit was kept.

    Another one owns the schema now, or the server is not the one it wrote to.
    """

    exit_code = 7
