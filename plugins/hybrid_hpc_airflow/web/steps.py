"""The way of one job as bars on one time axis: asked, queued, its nodes booted, ran (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from hybrid_hpc.ledger.rows import JobRow, LifeRow
from hybrid_hpc_airflow.web.views import View

NARROWEST = 0.4  # percent: a step of a second is still to be seen beside one of a day


class StepView(View):
    """One step of the way; ``left`` and ``width`` are percent of the whole way, ``open``: it goes on.

    ``note``: what else there is to tell, as which nodes booted.
    """

    word: str
    begun_at: datetime
    ended_at: datetime
    left: float
    width: float
    open: bool
    note: str = ""

    @property
    def seconds(self) -> float:
        """How long it took so far."""
        return (self.ended_at - self.begun_at).total_seconds()


def steps_of(row: JobRow, now: datetime, lives: Sequence[LifeRow] = ()) -> tuple[StepView, ...]:
    """The steps so far. The cluster's clock may differ from ours: no step ends before it begins.

    ``lives``: of the job's nodes. Those that booted for it, or while it waited, are a bar below the queue's.
    """
    end = row.ended_at or row.settled_at or now
    marks = [("asked", row.intent_at), ("queued", row.released_at), ("ran", row.started_at)]
    begun = [(word, moment) for word, moment in marks if moment]
    borders = _rising([*(moment for _, moment in begun), end])
    goes_on = row.ended_at is None and row.settled_at is None
    axis = (borders[0], borders[-1])
    steps = [
        _step(word, (borders[at], borders[at + 1]), axis, goes_on=goes_on and at == len(begun) - 1)
        for at, (word, _) in enumerate(begun)
    ]
    boot = _boot(row, lives, axis)
    before_run = next((at for at, step in enumerate(steps) if step.word == "ran"), len(steps))
    return (*steps[:before_run], *boot, *steps[before_run:])


def _step(
    word: str, lasts: tuple[datetime, datetime], axis: tuple[datetime, datetime], *, goes_on: bool
) -> StepView:
    begun, ended = lasts
    whole_s = max((axis[1] - axis[0]).total_seconds(), 1.0)
    return StepView(
        word=word,
        begun_at=begun,
        ended_at=ended,
        left=100 * (begun - axis[0]).total_seconds() / whole_s,
        width=max(100 * (ended - begun).total_seconds() / whole_s, NARROWEST),
        open=goes_on,
    )


def _boot(row: JobRow, lives: Sequence[LifeRow], axis: tuple[datetime, datetime]) -> tuple[StepView, ...]:
    """One bar from the first request to the last node that takes jobs; none where all were up before.

    The job starts before we first see its nodes up: then the bar ends with its start.
    """
    started = row.started_at or axis[1]
    waited_for = [life for life in lives if (life.up_at or started) > row.intent_at]
    if not waited_for:
        return ()
    comes = any(life.up_at is None for life in waited_for) and row.started_at is None
    begun = max(min(life.asked_at for life in waited_for), axis[0])
    ended = started if comes else max(min(life.up_at or started, started) for life in waited_for)
    step = _step("booted", (begun, max(begun, ended)), axis, goes_on=comes)
    return (step.model_copy(update={"note": _nodes(waited_for)}),)


def _nodes(lives: Sequence[LifeRow]) -> str:
    sizes = ", ".join(sorted({life.vm_size for life in lives}))
    return f"{len(lives)} {'node' if len(lives) == 1 else 'nodes'} ({sizes})"


def _rising(moments: Sequence[datetime]) -> list[datetime]:
    return [max(moments[: at + 1]) for at in range(len(moments))]
