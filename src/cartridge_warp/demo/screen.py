"""What a person sees: one line a step, a table, a query. Plain where nobody watches."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.syntax import Syntax
from rich.table import Table

_NAME_WIDTH = 11


class Step:
    """A step under way. ``say`` replaces what its line tells."""

    def __init__(self, name: str, status: Status | None) -> None:
        self.name = name
        self.text = ""
        self._status = status

    def say(self, text: str) -> None:
        self.text = text
        if self._status:
            self._status.update(f"{self.name:<{_NAME_WIDTH}} {escape(text)}")


class Screen:
    """Writes to one console; a spinner only where there is a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = console.is_terminal and not console.is_dumb_terminal

    def title(self, text: str) -> None:
        self._console.print(f"[bold]{escape(text)}[/]")
        self._console.print()

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """The line of a step: moving while it lasts, one mark and its time after."""
        began = time.monotonic()
        status = None
        if self._live:
            status = self._console.status(f"{name:<{_NAME_WIDTH}}")
            status.start()
        step = Step(name, status)
        mark = "[red]✘[/]" if self._live else "failed"
        try:
            yield step
            mark = "[green]✔[/]" if self._live else "ok"
        finally:
            if status:
                status.stop()
            seconds = time.monotonic() - began
            self._console.print(
                f"{mark} [bold]{step.name:<{_NAME_WIDTH}}[/] {escape(step.text)} "
                f"[dim]({seconds:.1f} s)[/]",
                soft_wrap=not self._live,
            )

    def table(
        self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]
    ) -> None:
        """The first column is a name; numbers stand to the right."""
        table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD)
        for number, name in enumerate(columns):
            whole = all(isinstance(row[number], int) for row in rows)
            table.add_column(name, justify="right" if whole else "left")
        for row in rows:
            table.add_row(*(_cell(each) for each in row))
        self._console.print()
        self._console.print(table)

    def sql(self, query: str) -> None:
        self._console.print()
        if self._live:
            syntax = Syntax(query, "sql", background_color="default", word_wrap=True)
            self._console.print(syntax)
        else:
            self._console.print(escape(query), soft_wrap=True)

    def lines(self, title: str, pairs: Sequence[tuple[str, str]]) -> None:
        """Things to copy: never wrapped, so that they stay whole."""
        self._console.print()
        self._console.print(f"[bold]{escape(title)}[/]")
        width = max(len(name) for name, _ in pairs)
        for name, text in pairs:
            self._console.print(
                f"  {escape(name):<{width}}  {escape(text)}", soft_wrap=True
            )

    def say(self, text: str) -> None:
        self._console.print(escape(text), soft_wrap=True)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else escape(str(value))
