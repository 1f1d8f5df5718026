"""From a YAML file to a model: every problem in it at once, each at ``file:line key``."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hybrid_hpc.errors import Invalid, Problem
from hybrid_hpc.problems import WrongValueError, did_you_mean, problem_of, shown
from hybrid_hpc.yaml_lines import Document, Keys, read_document

Model = TypeVar("Model", bound=BaseModel)


def document_of(path: Path, invalid: type[Invalid]) -> Document:
    """The file's content with its lines. Raises ``invalid`` when it is no YAML, or cannot be read."""
    try:
        return read_document(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        what = f"is not YAML: {error.problem}"
        problem = Problem(f"{path}:{line}", what, "Check the indent, the colons and the quotes.")
    except WrongValueError as wrong:
        problem = Problem(str(path), wrong.what, wrong.remedy)
    except (yaml.YAMLError, ValueError, OSError) as error:
        problem = Problem(str(path), f"cannot be read: {error}", "Write a text file of YAML, in UTF-8.")
    raise invalid([problem])


class YamlFile:
    """Collects the problems of one file, one at each key; ``invalid`` is what they are raised as."""

    def __init__(self, file: str, document: Document, invalid: type[Invalid]) -> None:
        self.file = file
        self.document = document
        self.invalid = invalid
        self.problems: dict[Keys, Problem] = {}
        self.broken: set[Keys] = set()
        for keys in document.twice:
            self.wrong(keys, "stands here for the second time", "Take one of the two out.")

    def checked(self, model: type[Model], prepared: object) -> Model:
        """The model of what was prepared; raises with all problems, in the order of the file."""
        try:
            made = model.model_validate(prepared)
        except ValidationError as error:
            for details in error.errors(include_url=False):
                self._refused(details)
        if self.problems:
            raise self.invalid([self.problems[keys] for keys in sorted(self.problems, key=self._order)])
        return made

    def _refused(self, details: ErrorDetails) -> None:
        """Keeps what pydantic says, unless it only follows from a part that is no mapping at all."""
        keys = self.written_at(tuple(key for key in details["loc"] if key != "[key]"))
        if not any(keys[: len(broken)] == broken for broken in self.broken):
            problem = problem_of("", details)
            self.wrong(keys, problem.what, problem.remedy)

    def _order(self, keys: Keys) -> int:
        return self.document.line(keys)

    def written_at(self, keys: Keys) -> Keys:
        """Where the file holds what the model has at ``keys``."""
        return keys

    def wrong(self, keys: Keys, what: str, remedy: str) -> None:
        """Keeps the first problem at each key: what follows from it would only hide it."""
        name = ".".join(str(key) for key in keys) or "the file"
        where = f"{self.file}:{self.document.line(keys)} {name}"
        self.problems.setdefault(keys, Problem(where, what, remedy))

    def mapping(self, raw: object, keys: Keys, known: Collection[str]) -> dict[str, Any]:
        """``raw`` without unknown keys; {} when it is no mapping. Both are problems."""
        if not isinstance(raw, dict):
            self.broken.add(keys)
            remedy = f"Write a mapping here. {did_you_mean('', known)}"
            self.wrong(keys, f"needs names with values, not {shown(raw)}", remedy)
            return {}
        for name in (name for name in raw if name not in known):
            self.wrong((*keys, str(name)), "is no key that is known here", did_you_mean(str(name), known))
        return {str(name): value for name, value in raw.items() if name in known}
