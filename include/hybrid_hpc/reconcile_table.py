"""A reconciliation as a plain text table, for a task's log."""

from __future__ import annotations

from collections.abc import Iterable
from io import StringIO
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hybrid_hpc.placement.words import duration, one_line

if TYPE_CHECKING:
    from hybrid_hpc.findings import Finding

WIDTH = 140
MOST_SHOWN = 200
_HEAD = ("cluster", "job", "name", "found", "done", "age")


def findings_table(findings: Iterable[Finding]) -> str:
    """One row for each finding, of very many the first two hundred; no colour codes."""
    some = list(findings)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, expand=True)
    for name in _HEAD:
        wide = name in ("found", "done")
        table.add_column(name, ratio=1 if wide else None, justify="right" if name == "age" else "left")
    for finding in some[:MOST_SHOWN]:
        table.add_row(*(Text(cell) for cell in _cells(finding)))
    written = StringIO()
    Console(file=written, width=WIDTH, color_system=None, emoji=False).print(table)
    lines = [line.rstrip() for line in written.getvalue().splitlines() if line.strip()]
    if len(some) > MOST_SHOWN:
        lines.append(f"and {len(some) - MOST_SHOWN:,} more")
    return "\n".join(lines)


def _cells(finding: Finding) -> tuple[str, ...]:
    """Other people's words are cut and printable: they must break neither the table nor the log."""
    told = "an alert" if finding.alert else "nothing: a person decides"
    return (
        one_line(finding.cluster, 20),
        finding.native_id or finding.token or "-",
        one_line(finding.name, 24) or "-",
        one_line(finding.why, 400),
        one_line(finding.result, 400) or told,
        "-" if finding.age_s is None else duration(finding.age_s),
    )
