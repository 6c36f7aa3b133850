"""Tells a person what is being done, line by line, with the seconds that each step took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape


class Steps:
    """Writes to `console`: each step once it is done; on a terminal also what is being done now."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the first step."""
        return time.monotonic() - self._started

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Shows `what` while the block runs, and with its seconds after."""
        started = time.monotonic()
        with self.console.status(escape(what) + " …"):
            yield
        self.done(what, time.monotonic() - started)

    def done(self, what: str, seconds: float) -> None:
        self.console.print(f"[green]✓[/] {escape(what)} [dim]{seconds:.1f} s[/]", highlight=False, soft_wrap=True)

    def detail(self, what: str) -> None:
        """One line under the step that is being done."""
        self.console.print(f"  {escape(what)}", highlight=False, soft_wrap=True)

    def wrong(self, what: str) -> None:
        """Something that a person should look at; the first line says what."""
        first, _, rest = what.partition("\n")
        self.console.print(f"[red]✗ {escape(first)}[/]", highlight=False, soft_wrap=True)
        if rest:
            self.console.print(escape(rest), highlight=False, soft_wrap=True, style="dim")
