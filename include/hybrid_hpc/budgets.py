"""budgets.yaml, loaded and checked: every mistake in it at once, with its line and what to do."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from hybrid_hpc.budget_models import Budget, Budgets
from hybrid_hpc.errors import InvalidBudgets, Problem
from hybrid_hpc.yaml_file import YamlFile, document_of
from hybrid_hpc.yaml_lines import Keys

__all__ = ["Budget", "Budgets", "load_budgets"]

ENVIRONMENT = "HYBRID_HPC_BUDGETS"
DEFAULT = Path(__file__).resolve().parents[1] / "budgets.yaml"
_OF_ASK = ("approvers", "answer_within_h")


def load_budgets(path: Path | None = None) -> Budgets:
    """The budgets of ``path``, else of $HYBRID_HPC_BUDGETS, else of include/budgets.yaml.

    None at all when the last of these is not there. The same unchanged file is read once. Raises
    `InvalidBudgets` with every problem, each at ``file:line key``.
    """
    named = path or os.environ.get(ENVIRONMENT)
    chosen = Path(named) if named else DEFAULT
    try:
        state = chosen.stat()
    except OSError as error:
        if not named and isinstance(error, FileNotFoundError):
            return Budgets()
        remedy = f"Correct the path; without {ENVIRONMENT} the project's own include/budgets.yaml is read."
        raise InvalidBudgets([Problem(str(chosen), f"cannot be read: {error.strerror}", remedy)]) from None
    return _loaded(chosen, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=8)
def _loaded(path: Path, _mtime_ns: int, _size: int) -> Budgets:
    """Keyed by the file's state, so that an edited file is read again."""
    document = document_of(path, InvalidBudgets)
    return _Reader(str(path), document, InvalidBudgets).budgets()


class _Reader(YamlFile):
    """From the file's words to the models."""

    def budgets(self) -> Budgets:
        read = self.mapping(self.document.data, (), Budgets.model_fields)
        if read.get("default") is not None:
            read["default"] = self.budget(("default",), read["default"])
        if isinstance(read.get("projects"), dict):
            named = read["projects"].items()
            read["projects"] = {str(name): self.budget(("projects", str(name)), raw) for name, raw in named}
        return self.checked(Budgets, read)

    def budget(self, keys: Keys, raw: object) -> dict[str, Any]:
        budget = self.mapping(raw, keys, Budget.model_fields)
        if keys in self.broken:
            return budget
        if budget.get("usd") is None and budget.get("core_h") is None:
            remedy = "Write usd or core_h, or both; leave the project out if it has no limit."
            self.wrong(keys, "limits nothing", remedy)
        if budget.get("when_spent") != "ask":
            for name in _OF_ASK:
                if name in budget:
                    what = "is for when_spent: ask, and here nobody is asked"
                    self.wrong((*keys, name), what, "Take it out.")
        return budget
