"""From a wrong value to a `Problem` in words: what was given, what is wrong with it, what is right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic_core import ErrorDetails

from hybrid_hpc.errors import Problem

_SHOWN = 60

_WORDS: Mapping[str, tuple[str, str]] = {
    "missing": ("is missing", "Give it."),
    "int_type": ("needs a whole number, not {given}", "Write digits only."),
    "int_parsing": ("needs a whole number, not {given}", "Write digits only."),
    "int_parsing_size": ("is far too large", "Write a smaller number."),
    "int_from_float": ("needs a whole number, not {given}", "Leave the fraction out."),
    "float_type": ("needs a number, not {given}", "Write digits and a decimal point, without a unit."),
    "float_parsing": ("needs a number, not {given}", "Write digits and a decimal point, without a unit."),
    "finite_number": ("needs a finite number, not {given}", "Leave it out if there is no limit."),
    "bool_type": ("needs yes or no, not {given}", "Write true or false."),
    "bool_parsing": ("needs yes or no, not {given}", "Write true or false."),
    "string_type": ("needs text, not {given}", "Put it in quotes."),
    "dict_type": ("needs names with values, not {given}", "Write a mapping: name: value."),
    "model_type": ("needs names with values, not {given}", "Write a mapping: name: value."),
    "list_type": ("needs a list, not {given}", "Write a list, one entry a line."),
    "tuple_type": ("needs a list, not {given}", "Write a list: [first, second]."),
    "greater_than_equal": ("must be at least {ge}, not {given}", "Raise it to {ge} or more."),
    "greater_than": ("must be more than {gt}, not {given}", "Raise it above {gt}, or leave it out."),
    "less_than_equal": ("must be at most {le}, not {given}", "Lower it to {le} or less."),
    "too_short": ("must not be empty", "Add at least {min_length}."),
    "too_long": ("has more than {max_length} entries", "Leave some of them out."),
    "literal_error": ("must be {expected}, not {given}", "Write one of them."),
}


class WrongValueError(ValueError):
    """A value that cannot be taken, in the two halves of a `Problem`: what is wrong, and the remedy."""

    def __init__(self, what: str, remedy: str) -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(f"{what}. {remedy}")


def shown(value: object) -> str:
    """``value`` for a message: control characters escaped, cut to one short line."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def bare(text: str) -> str:
    """``text`` for a message without quotes, when it is short and printable; else as `shown`."""
    return text if text.isprintable() and len(text) <= _SHOWN else shown(text)


def did_you_mean(word: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """A remedy for a word that is not among the ``known``: the nearest, ``otherwise``, or all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=2, cutoff=0.6)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return otherwise or f"Known are: {', '.join(names)}."


def problem_of(where: str, error: ErrorDetails) -> Problem:
    """One error of pydantic as a problem at ``where``."""
    context: dict[str, Any] = error.get("ctx", {})
    cause = context.get("error")
    if isinstance(cause, WrongValueError):
        return Problem(where, cause.what, cause.remedy)
    what, remedy = _WORDS.get(error["type"], ("cannot take {given}: {message}", "Correct it."))
    facts = {**context, "given": shown(error["input"]), "message": error["msg"]}
    return Problem(where, what.format(**facts), remedy.format(**facts))
