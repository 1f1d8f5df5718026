"""A YAML file read with the line of every key, so that a message can say where to look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from hybrid_hpc.problems import WrongValueError

try:
    from yaml import CSafeLoader as _SafeLoader  # DAG files are parsed every 30 s: ten times as fast
except ImportError:  # PyYAML built without libyaml
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

Keys = tuple[str | int, ...]
_MERGE = "tag:yaml.org,2002:merge"


class _Loader(_SafeLoader):
    """Reads ``12:00:00`` as text: YAML 1.1 would make it the number 43200, in base 60."""


def _not_sexagesimal(loader: _Loader, node: yaml.ScalarNode) -> object:
    kind = "float" if node.tag.endswith("float") else "int"
    return node.value if ":" in node.value else getattr(loader, f"construct_yaml_{kind}")(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _not_sexagesimal)
_Loader.add_constructor("tag:yaml.org,2002:float", _not_sexagesimal)


@dataclass(slots=True)
class Document:
    """The content of a file, the line (from 1) of every key in it, and the keys that stand there twice."""

    data: Any = None
    lines: dict[Keys, int] = field(default_factory=dict)
    twice: list[Keys] = field(default_factory=list)

    def line(self, path: Keys) -> int:
        """The line of that key, or of the nearest one that encloses it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read_document(text: str) -> Document:
    """Parses one YAML document. Raises yaml.YAMLError, and `WrongValueError` for an alias to itself."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        document = Document()
        for path, line in _keys(node, (), ()):
            if path in document.lines:
                document.twice.append(path)
            document.lines[path] = line
        document.data = loader.construct_document(node) if node else None
        return document
    finally:
        loader.dispose()


def _keys(node: yaml.Node | None, path: Keys, above: tuple[int, ...]) -> Iterator[tuple[Keys, int]]:
    if id(node) in above:
        raise WrongValueError("holds an alias to itself", "Write the values out.")
    around = (*above, id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.tag == _MERGE:
                continue  # what is merged in has its lines where it was written
            inner = (*path, str(key.value))
            yield inner, key.start_mark.line + 1
            yield from _keys(value, inner, around)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*path, index), value.start_mark.line + 1
            yield from _keys(value, (*path, index), around)
