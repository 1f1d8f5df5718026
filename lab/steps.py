"""Progress for a terminal: the step that runs, turning, and a line with its seconds for each that is done."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.markup import escape


class Steps:
    """A callback for ``progress`` arguments; ends the last step when the ``with`` block ends."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._spinner = console.status("")
        self._step = ""
        self._since = 0.0

    def __call__(self, step: str) -> None:
        """Begin the next step; a sentence, with its full stop, is a note and no step."""
        if step.endswith("."):
            self._console.print(f"[yellow]![/] {escape(step)}", highlight=False, soft_wrap=True)
            return
        self._finish("[green]✓[/]")
        self._step, self._since = step, time.monotonic()
        self._spinner.update(step)

    def __enter__(self) -> Steps:
        self._spinner.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spinner.stop()
        self._finish("[green]✓[/]" if kind is None else "[red]✗[/]")

    def _finish(self, sign: str) -> None:
        if self._step:
            seconds = time.monotonic() - self._since
            self._console.print(f"{sign} {self._step} [dim]{seconds:.1f} s[/]", highlight=False)
        self._step = ""
