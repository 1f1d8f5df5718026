"""``python -m hybrid_hpc focus``: a month's cost rows as CSV, for cron."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.command_connections import connections_give
from hybrid_hpc.errors import HybridHpcError
from hybrid_hpc.ledger.database import utc_now
from hybrid_hpc.months import month_before, month_window
from hybrid_hpc.usage.export import focus_export


def focus_command(
    month: Annotated[str | None, typer.Argument(help="Such as 2026-03; left out: the last one.")] = None,
    output: Annotated[Path | None, typer.Option(help="The file to write; left out: the terminal.")] = None,
) -> None:
    """Writes a month's cost rows, FOCUS 1.2, as CSV."""
    try:
        window = month_window(month or month_before(utc_now()))
        pieces = focus_export(connections_give("open_ledger")(), load_clusters(), window)
        _write("".join(pieces), output)
    except (HybridHpcError, OSError) as error:
        typer.secho(str(error), fg="red", err=True)
        raise typer.Exit(1) from error


def _write(text: str, output: Path | None) -> None:
    """A file is replaced as a whole: who reads it meanwhile reads the old one."""
    if output is None:
        typer.echo(text, nl=False)
        return
    new = output.with_name(f".{output.name}.new")
    new.write_text(text, encoding="utf-8", newline="")
    new.replace(output)
