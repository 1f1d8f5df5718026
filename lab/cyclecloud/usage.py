"""Core-hours and cost, from the hours that VMs really ran. No I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import BaseModel

from lab.cyclecloud.faults import DeclinedError
from lab.cyclecloud.model import ClusterUsage, UsageDetail, UsageInterval, UsageItem

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MAX_INTERVALS = 10_000


class Life(BaseModel):
    """One VM from start to end, unix seconds; ``ended_at`` None: it still runs.

    ``nodearray`` is '' for the head node, which belongs to none.
    """

    node: str
    nodearray: str
    vm_size: str
    cores: int
    interruptible: bool
    usd_per_hour: float | None
    began_at: float
    ended_at: float | None = None

    def hours(self, interval: Interval, now: float) -> float:
        """Wall-clock hours of this life inside the interval, up to now."""
        ended = now if self.ended_at is None else self.ended_at
        inside = min(ended, interval.end.timestamp()) - max(self.began_at, interval.start.timestamp())
        return max(inside, 0.0) / 3600


@dataclass(frozen=True, slots=True)
class Interval:
    """From ``start`` to ``end``, the end excluded; UTC."""

    start: datetime
    end: datetime


Lived = tuple[Life, float]  # and its hours inside an interval


@dataclass(frozen=True, slots=True)
class Question:
    """A usage query as it came: all text, nothing checked. Times are ISO 8601, UTC when they do not say."""

    timeframe: str = "monthToDate"
    granularity: str = "daily"
    start: str | None = None
    end: str | None = None
    details: bool = False


def cluster_usage(question: Question, lives: Sequence[Life], region: str, now: float) -> ClusterUsage:
    """Answer a usage query. Raises DeclinedError 400 when it makes no sense."""
    return ClusterUsage(
        usage=[
            _interval_usage(interval, lives, region, now, details=question.details)
            for interval in intervals(question, datetime.fromtimestamp(now, UTC))
        ]
    )


def intervals(question: Question, now: datetime) -> list[Interval]:
    """Give the intervals of a query, whole hours or days, oldest first. Raises DeclinedError 400."""
    step = _step(question.granularity)
    start, end = _frame(question, now)
    start, end = _down(start, step or HOUR), _up(end, step or HOUR)
    if end <= start:
        raise DeclinedError(400, "'from' must lie before 'to'")
    if step is None:
        return [Interval(start, end)]
    if (end - start) / step > MAX_INTERVALS:
        raise DeclinedError(400, f"more than {MAX_INTERVALS} intervals; ask for a shorter time")
    return list(_cut(start, end, step))


def _step(granularity: str) -> timedelta | None:
    steps = {"total": None, "daily": DAY, "hourly": HOUR}
    if granularity not in steps:
        raise DeclinedError(400, f"granularity must be one of {', '.join(steps)}")
    return steps[granularity]


def _frame(question: Question, now: datetime) -> tuple[datetime, datetime]:
    today = _down(now, DAY)
    month = today.replace(day=1)
    frames = {
        "monthToDate": (month, now),
        "lastMonth": ((month - DAY).replace(day=1), month),
        "weekToDate": (today - (today.isoweekday() % 7) * DAY, now),  # weeks start on Sunday
    }
    if question.timeframe in frames:
        return frames[question.timeframe]
    if question.timeframe != "custom":
        raise DeclinedError(400, f"timeframe must be one of {', '.join(frames)}, custom")
    return _time("from", question.start), _time("to", question.end)


def _time(name: str, text: str | None) -> datetime:
    try:
        time = datetime.fromisoformat(text or "")
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise DeclinedError(400, f"'{name}' must be a time in ISO 8601") from error


def _down(time: datetime, step: timedelta) -> datetime:
    day = time.replace(hour=0, minute=0, second=0, microsecond=0)
    return day + (time - day) // step * step


def _up(time: datetime, step: timedelta) -> datetime:
    try:
        return _down(time - timedelta(microseconds=1), step) + step
    except OverflowError as error:
        raise DeclinedError(400, f"{time.isoformat()} is out of range") from error


def _cut(start: datetime, end: datetime, step: timedelta) -> Iterator[Interval]:
    while start < end:
        yield Interval(start, start + step)
        start += step


def _interval_usage(
    interval: Interval, lives: Sequence[Life], region: str, now: float, *, details: bool
) -> UsageInterval:
    lived = [(life, hours) for life in lives if (hours := life.hours(interval, now)) > 0]
    parts = _by(lived, lambda life: (life.nodearray, "" if life.nodearray else life.node))
    breakdown = [
        _sum(part, *_name(part[0][0]), _details(part, region) if details else None) for part in parts.values()
    ]
    return UsageInterval(start=interval.start, end=interval.end, total=_sum(lived), breakdown=breakdown)


def _name(life: Life) -> tuple[Literal["node", "nodearray"], str]:
    return ("nodearray", life.nodearray) if life.nodearray else ("node", life.node)


def _by(lived: Sequence[Lived], key: Callable[[Life], tuple[str, str]]) -> dict[tuple[str, str], list[Lived]]:
    parts = defaultdict(list)
    for life, hours in lived:
        parts[key(life)].append((life, hours))
    return dict(sorted(parts.items()))


def _sum(
    lived: Sequence[Lived],
    category: Literal["cluster", "node", "nodearray"] = "cluster",
    node: str | None = None,
    details: list[UsageDetail] | None = None,
) -> UsageItem:
    return UsageItem(
        category=category, node=node, hours=_core_hours(lived), cost=_cost(lived), details=details
    )


def _core_hours(lived: Sequence[Lived]) -> float:
    return round(sum(life.cores * hours for life, hours in lived), 6)


def _cost(lived: Sequence[Lived]) -> float | None:
    """Add up USD; None when the price of any VM is not known, because a part would look like the whole."""
    prices = [(life.usd_per_hour, hours) for life, hours in lived]
    if any(price is None for price, _ in prices):
        return None
    return round(sum((price or 0) * hours for price, hours in prices), 6)


def _details(lived: Sequence[Lived], region: str) -> list[UsageDetail]:
    kinds = _by(lived, lambda life: (life.vm_size, str(life.interruptible)))
    return [_detail(part, part[0][0], region) for part in kinds.values()]


def _detail(lived: Sequence[Lived], kind: Life, region: str) -> UsageDetail:
    return UsageDetail(
        vm_size=kind.vm_size,
        region=region,
        priority="Spot" if kind.interruptible else "Regular",
        core_count=kind.cores,
        hours=_core_hours(lived),
        cost=_cost(lived),
    )
