"""How finely the roll-up tells groups apart: sums of few large groups beside those of all (pure).

Whatever is asked for is read from the coarsest cut that tells it, so most pages read few rows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

ALL = "all"
CUTS: Final[Mapping[str, tuple[str, ...]]] = {  # what each tells apart beside the cluster; coarse ones first
    "cluster": (),
    "partition": ("partition",),
    "project": ("project",),
    "person": ("person",),
    ALL: ("partition", "project", "person"),
}


def cut_for(columns: Collection[str]) -> str:
    """The coarsest cut that tells apart what is in these columns; those of no cut are no matter."""
    wanted = set(columns) & set(CUTS[ALL])
    return next(cut for cut, told in CUTS.items() if wanted <= set(told))
