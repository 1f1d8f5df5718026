"""The ledger's rows as pandas frames, and time cut into days, weeks and months (pure).

A frame of jobs has a line per life, with the columns of `UsageRow` and ``core_h``, ``cpu_h``, ``gpu_h`` and
``wait_s``. Its hours are of the whole life: `spread` gives what of them lies in a piece of time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Literal

import pandas as pd

from hybrid_hpc.usage.rows import UsageRow
from hybrid_hpc.usage.windows import Window

Period = Literal["day", "week", "month"]
DERIVED = ("core_h", "cpu_h", "gpu_h", "wait_s")
SPREAD = ("core_h", "cpu_h", "gpu_h", "cost_usd")


def jobs_frame(rows: Iterable[UsageRow]) -> pd.DataFrame:
    """A line per life; states as words, moments in UTC."""
    return frame_of(UsageRow, rows, DERIVED)


def frame_of(kind: type[Any], rows: Iterable[Any], derived: Sequence[str] = ()) -> pd.DataFrame:
    """A frame of any of the ledger's rows: a column per field, and per ``derived`` number of its.

    The columns have their types also when there is no row, or no value: moments are UTC, numbers that may be
    missing are floats.
    """
    types = {each.name: _dtype(str(each.type)) for each in fields(kind)} | dict.fromkeys(derived, "float")
    frame = pd.DataFrame(map(attrgetter(*types), rows), columns=list(types))
    return frame.astype({name: dtype for name, dtype in types.items() if dtype})


def _dtype(annotation: str) -> str:
    """'' for what pandas keeps as it is."""
    if annotation.startswith("datetime"):
        return "datetime64[us, UTC]"
    if annotation.startswith("float") or annotation == "int | None":
        return "float"
    return annotation if annotation == "int" else ""


def spread(jobs: pd.DataFrame, pieces: Sequence[Window]) -> pd.DataFrame:
    """A line per life and piece of time that it touches, in the order of the pieces, of which there is one.

    The columns `SPREAD` hold the part that lies in the piece. New columns: ``piece``, its beginning, and
    ``ended_here``, true in the piece in which the life ended. So the lines of all pieces add up to the whole.
    """
    began = jobs["started_at"].fillna(jobs["ended_at"]).fillna(jobs["submitted_at"])
    until = jobs["ended_at"].fillna(began + pd.to_timedelta(jobs["elapsed_s"], unit="s"))
    return pd.concat([_part(jobs, began, until, piece) for piece in pieces], ignore_index=True)


def _part(jobs: pd.DataFrame, began: pd.Series, until: pd.Series, piece: Window) -> pd.DataFrame:
    """A life that took no time lies where it was; one that ended just when the piece begins ended in it."""
    length_s = (until - began).dt.total_seconds()
    here_s = inside_s(began, until, piece)
    ended_here = _within(jobs["ended_at"], piece)
    begun_here = _within(began, piece) & (length_s <= 0) & jobs["ended_at"].isna()
    here = (here_s > 0) | ended_here | begun_here
    share = (here_s.clip(lower=0.0) / length_s).where(length_s > 0, 1.0)
    part = jobs.assign(piece=pd.Timestamp(piece.since), ended_here=ended_here)
    return part.assign(**{name: part[name] * share for name in SPREAD})[here]


def inside_s(since: pd.Series, until: pd.Series, piece: Window) -> pd.Series:
    """How many seconds of each span of time lie in the piece, below 0 for none; NaN without a beginning."""
    first, last = (pd.Series(pd.Timestamp(edge), index=since.index) for edge in (piece.since, piece.until))
    return (until.clip(upper=last) - since.clip(lower=first)).dt.total_seconds()


def _within(moments: pd.Series, piece: Window) -> pd.Series:
    return (moments >= pd.Timestamp(piece.since)) & (moments < pd.Timestamp(piece.until))


def pieces_of(window: Window, period: Period) -> list[Window]:
    """The calendar's days, weeks (from Monday) or months in the window, UTC; the outer ones may be cut."""
    pieces = []
    since = window.since
    while since < window.until:
        until = min(_next(since, period), window.until)
        pieces.append(Window(since, until))
        since = until
    return pieces


def _next(moment: datetime, period: Period) -> datetime:
    """When the day, week or month after this moment's begins."""
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "month":
        return (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return day + timedelta(days=1 if period == "day" else 7 - day.weekday())
