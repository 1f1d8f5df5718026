"""The sample jobs of the demo, read from lab/samples: what is asked for, and what must come of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from hybrid_hpc.jobs import JobState
from lab.errors import LabError
from lab.layout import PROJECT

FOLDER = PROJECT / "lab" / "samples"
Stage = Literal["submitted", "running", "ended"]
STAGES: tuple[Stage, ...] = ("submitted", "running", "ended")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Expectation(_Part):
    """How a job must end. ``decision`` is a regular expression, ``output`` and ``failure`` are plain text."""

    cluster: str
    state: JobState
    exit_code: int
    output: str
    decision: str = ""
    failure: str = ""


class Chart(_Part):
    """One bar per JSON file that came back; ``between`` gives the range in which y must be at some x."""

    files: str
    x: str
    y: str
    title: str
    between: dict[float, tuple[float, float]] = {}


class Sample(_Part):
    """One sample job: ``conf`` is its request, ``after`` how far others must be before it is triggered."""

    name: str
    title: str
    shows: str
    conf: dict[str, Any]
    expect: Expectation
    after: dict[str, Stage] = {}
    chart: Chart | None = None


def load(folder: Path = FOLDER) -> list[Sample]:
    """Give the samples in the order of their files' names; raises LabError that names the wrong file."""
    return [_read(path) for path in sorted(folder.glob("*.yaml"))]


def _read(path: Path) -> Sample:
    try:
        return Sample(name=path.stem, **yaml.safe_load(path.read_text()))
    except (yaml.YAMLError, ValidationError, TypeError) as error:
        raise LabError(f"{path} is no sample job: {error}") from error
