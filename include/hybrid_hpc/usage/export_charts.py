"""Bars of a month's days, as numbers that a template draws (pure).

A report is mailed and printed: it has no script, and pictures that need none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

WIDTH, HEIGHT = 760.0, 190.0
LEFT, TOP, BOTTOM = 52.0, 8.0, 20.0
GRID = 4  # lines above the ground, at most


@dataclass(frozen=True, slots=True)
class Bar:
    """One day's part of one series; ``told`` is what it says when it is pointed at."""

    x: float
    y: float
    width: float
    height: float
    series: int
    told: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A text on an axis, at ``at`` from the left or from the top."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Stacked bars; ``series`` are the names, in the order of their colours."""

    title: str
    bars: tuple[Bar, ...]
    grid: tuple[Mark, ...]
    days: tuple[Mark, ...]
    series: tuple[str, ...]


def bar_chart(title: str, days: Sequence[datetime], series: Mapping[str, Sequence[float]]) -> Chart:
    """A bar a day, the series one on the other; a value that is NaN has none."""
    values = {name: [0.0 if math.isnan(value) else value for value in each] for name, each in series.items()}
    tops = [sum(each[at] for each in values.values()) for at in range(len(days))]
    step = _step(max(tops, default=0.0))
    scale = Scale(len(days), step * max(math.ceil(max(tops, default=0.0) / step), 1))
    return Chart(
        title=title,
        bars=tuple(bar for at, day in enumerate(days) for bar in _stack(at, day, values, scale)),
        grid=tuple(Mark(scale.y(top), f"{top:,g}") for top in _lines(step, scale.most)),
        days=tuple(Mark(scale.x(at) + scale.width / 2, f"{day.day}") for at, day in enumerate(days)),
        series=tuple(values),
    )


@dataclass(frozen=True, slots=True)
class Scale:
    """From days and values to places."""

    days: int
    most: float

    @property
    def width(self) -> float:
        """Of a bar."""
        return 0.72 * (WIDTH - LEFT) / max(self.days, 1)

    def x(self, day: int) -> float:
        """The left edge of a day's bar, the first day is 0."""
        return LEFT + (day + 0.14) * (WIDTH - LEFT) / max(self.days, 1)

    def y(self, value: float) -> float:
        """How far from the top a value is."""
        return TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - value / self.most)


def _stack(at: int, day: datetime, values: Mapping[str, Sequence[float]], scale: Scale) -> list[Bar]:
    bars, below = [], 0.0
    for series, (name, each) in enumerate(values.items()):
        top = below + each[at]
        if each[at] > 0:
            told = f"{day:%Y-%m-%d} {name}: {each[at]:,.2f}"
            height = scale.y(below) - scale.y(top)
            bars.append(Bar(scale.x(at), scale.y(top), scale.width, height, series, told))
        below = top
    return bars


def _step(most: float) -> float:
    """A round distance of the grid's lines: 1, 2 or 5 times a power of ten."""
    rough = most / GRID if most > 0 else 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next(round_ * power for round_ in (1, 2, 5, 10) if round_ * power >= rough * (1 - 1e-9))


def _lines(step: float, most: float) -> list[float]:
    return [step * number for number in range(round(most / step) + 1)]
