"""The filter expressions of node requests: ``State === "Started" && CoreCount >= 16``. No I/O.

Comparisons of a node's attribute with a text, a number, true, false or undefined, by ``===``, ``!==``
(exact), ``==``, ``!=`` (texts without regard to case), ``<``, ``<=``, ``>``, ``>=``; joined by ``&&``,
``||``, ``!`` and parentheses. The rest of CycleCloud's language, which the documentation of its API does not
show, is refused.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable

from lab.cyclecloud.faults import invalid
from lab.cyclecloud.model import NodeView

Filter = Callable[[NodeView], bool]

MAX_TOKENS = 200  # nesting is recursion: an endless row of brackets must not end the server
_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?|[A-Za-z_][\w.]*|[=!]==|[=!<>]=|&&|\|\||[<>!()])')
_ORDERS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_WORDS = {"true": True, "false": False, "undefined": None}


def node_filter(text: str) -> Filter:
    """Compile an expression. Raises DeclinedError 409 when it is not understood."""
    parser = _Parser(_tokens(text))
    accepts = parser.any_of()
    if parser.rest:
        raise invalid(f"filter: unexpected {parser.rest[0]!r}")
    return accepts


def _tokens(text: str) -> list[str]:
    tokens, at = list[str](), 0
    while text[at:].strip():
        found = _TOKEN.match(text, at)
        if not found or len(tokens) == MAX_TOKENS:
            raise invalid(f"filter: cannot read {text[at : at + 20].strip()!r}")
        tokens.append(found[1])
        at = found.end()
    return tokens


class _Parser:
    """Recursive descent; each method reads one rule from the front of ``rest``."""

    def __init__(self, tokens: list[str]) -> None:
        self.rest = tokens

    def any_of(self) -> Filter:
        choices = [self.all_of()]
        while self._takes("||"):
            choices.append(self.all_of())
        return lambda node: any(accepts(node) for accepts in choices)

    def all_of(self) -> Filter:
        needs = [self.term()]
        while self._takes("&&"):
            needs.append(self.term())
        return lambda node: all(accepts(node) for accepts in needs)

    def term(self) -> Filter:
        if self._takes("!"):
            accepts = self.term()
            return lambda node: not accepts(node)
        if self._takes("("):
            accepts = self.any_of()
            self._next(")")
            return accepts
        return self._comparison()

    def _comparison(self) -> Filter:
        name, sign, value = self._next(), self._next(), _value(self._next())
        if not re.fullmatch(r"[A-Za-z_][\w.]*", name):
            raise invalid(f"filter: {name!r} is no attribute")
        compare = _comparer(sign, value)
        return lambda node: compare(_attribute(node, name))

    def _takes(self, token: str) -> bool:
        if self.rest[:1] != [token]:
            return False
        self.rest = self.rest[1:]
        return True

    def _next(self, wanted: str | None = None) -> str:
        if not self.rest or (wanted and self.rest[0] != wanted):
            raise invalid(f"filter: {wanted or 'more'} expected at the end")
        token, self.rest = self.rest[0], self.rest[1:]
        return token


def _value(token: str) -> object:
    if token.lower() in _WORDS:
        return _WORDS[token.lower()]
    try:
        return json.loads(token)
    except ValueError as error:
        raise invalid(f"filter: {token!r} is no value") from error


def _comparer(sign: str, value: object) -> Callable[[object], bool]:
    if sign in ("===", "!=="):
        return lambda found: _same(found, value) is (sign == "===")
    if sign in ("==", "!="):
        return lambda found: found is not None and _same(_folded(found), _folded(value)) is (sign == "==")
    if sign in _ORDERS:
        return lambda found: _ordered(_ORDERS[sign], found, value)
    raise invalid(f"filter: {sign!r} is no comparison")


def _same(found: object, value: object) -> bool:
    return found == value and isinstance(found, bool) is isinstance(value, bool)


def _folded(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _ordered(order: Callable[[float, float], bool], found: object, value: object) -> bool:
    left, right = _number(found), _number(value)
    return left is not None and right is not None and order(left, right)


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _attribute(node: NodeView, name: str) -> object:
    """Look an attribute up without regard to case, and by dots inside nested ones."""
    value: object = node
    for part in name.split("."):
        inside = value if isinstance(value, dict) else {}
        value = next((found for key, found in inside.items() if key.lower() == part.lower()), None)
    return value
