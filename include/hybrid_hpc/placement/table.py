"""A decision as a plain text table, for a task's log."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from hybrid_hpc.placement.words import AT_ONCE_S, duration

if TYPE_CHECKING:
    from hybrid_hpc.placement.decision import Decision, Verdict
    from hybrid_hpc.placement.outlook import PartitionVerdict

WIDTH = 110
NARROWEST_WHY = 24
_HEAD = ("", "cluster", "partition", "fits", "start", "at most USD", "score USD", "why")
_RIGHT = frozenset({5, 6})
_NAME_WIDTH = 20  # longer names of clusters and partitions are cut, so that the reason keeps its room

Row = tuple[str, ...]


def table(decision: Decision) -> str:
    """One row for each partition, the chosen one marked; a cluster that was not asked has one row."""
    rows = [_HEAD, *(row for verdict in decision.verdicts for row in _rows(verdict, decision))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD) - 1)]
    room = max(NARROWEST_WHY, WIDTH - sum(widths) - 2 * len(widths))
    lines = [line for row in rows for line in _lines(row, widths, room)]
    lines.insert(1, "-" * max(len(line) for line in lines))
    return "\n".join(lines)


def _rows(verdict: Verdict, decision: Decision) -> Iterator[Row]:
    if not verdict.partitions:
        yield ("", _cut(verdict.cluster), "-", "no", "-", "-", "-", verdict.why)
    for offer in verdict.partitions:
        chosen = (verdict.cluster, offer.partition) == (decision.cluster, decision.partition)
        yield _row(verdict.cluster, offer, ">" if chosen else "")


def _row(cluster: str, offer: PartitionVerdict, mark: str) -> Row:
    return (
        mark,
        _cut(cluster),
        _cut(offer.partition),
        "yes" if offer.fits else "no",
        _start(offer.starts_in_s),
        _money(offer.cost_usd),
        _money(offer.score_usd),
        offer.why,
    )


def _cut(name: str) -> str:
    return name if len(name) <= _NAME_WIDTH else name[: _NAME_WIDTH - 3] + "..."


def _start(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return "at once" if seconds < AT_ONCE_S else duration(seconds)


def _money(amount: float | None) -> str:
    return "-" if amount is None else f"{amount:,.2f}"


def _lines(row: Row, widths: Sequence[int], room: int) -> Iterator[str]:
    """The row; a long reason goes on in lines of its own under the first."""
    cells = [
        cell.rjust(width) if column in _RIGHT else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=False))
    ]
    reason = textwrap.wrap(row[-1], room) or [""]
    yield "  ".join([*cells, reason[0]]).rstrip()
    indent = " " * (sum(widths) + 2 * len(widths))
    yield from (indent + more for more in reason[1:])
