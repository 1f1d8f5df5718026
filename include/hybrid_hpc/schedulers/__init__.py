"""The languages of schedulers: one module and one batch template each, found by their names.

A template ``<name>.sh.j2`` beside a module ``<name>.py`` with a subclass of `Scheduler` whose ``name`` is
``<name>`` is a scheduler. Adding one edits no existing file.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path

from hybrid_hpc.errors import Invalid, Problem
from hybrid_hpc.schedulers.base import Scheduler

_TEMPLATE = ".sh.j2"

SCHEDULERS: tuple[str, ...] = tuple(
    sorted(path.name.removesuffix(_TEMPLATE) for path in Path(__file__).parent.glob("*" + _TEMPLATE))
)


@cache
def scheduler(name: str) -> Scheduler:
    """The scheduler of that name (stateless, shared). Raises `Invalid` when there is none."""
    if name not in SCHEDULERS:
        known = ", ".join(SCHEDULERS)
        raise Invalid([Problem("scheduler", f"{name!r} is not known", f"Known are: {known}.")])
    return _language(name)()


def _language(name: str) -> type[Scheduler]:
    module = import_module(f"{__name__}.{name}")
    return next(
        thing
        for thing in vars(module).values()
        if isinstance(thing, type) and issubclass(thing, Scheduler) and getattr(thing, "name", None) == name
    )
