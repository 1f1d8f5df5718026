"""Usage as files: CSV for spreadsheets, Parquet for programs; streamed, whatever its length (pure)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

Rows = Sequence[BaseModel]
RUNS = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for a formula when a cell begins with it


def csv_lines(kind: type[BaseModel], pieces: Iterable[Rows]) -> Iterator[bytes]:
    """UTF-8 with a header, a piece at a time; moments in ISO 8601, nothing for what is not known."""
    names = list(kind.model_fields)
    yield _lines([names])
    for rows in pieces:
        yield _lines([harmless(value) for value in _values(row, names)] for row in rows)


def harmless(cell: Any) -> Any:
    """A text that no spreadsheet runs: one that could be a formula begins with an apostrophe."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(RUNS) else cell


def parquet_pieces(kind: type[BaseModel], pieces: Iterable[Rows]) -> Iterator[bytes]:
    """A Parquet file with the same columns; texts as they are, for no program runs them."""
    import pyarrow.parquet  # type: ignore[import-untyped]  # nothing else of the page needs it

    schema, sink = _schema(kind), _Drain()
    with pyarrow.PythonFile(sink, mode="w") as file, pyarrow.parquet.ParquetWriter(file, schema) as writer:
        for rows in pieces:
            writer.write_table(pyarrow.Table.from_pylist([row.model_dump() for row in rows], schema))
            yield sink.drained()
    yield sink.drained()


def _lines(rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


def _values(row: BaseModel, names: Sequence[str]) -> Iterator[Any]:
    values: Mapping[str, Any] = row.model_dump()
    for name in names:
        value = values[name]
        yield value.isoformat() if hasattr(value, "isoformat") else value


def _schema(kind: type[BaseModel]) -> Any:
    import pyarrow

    types = {
        "str": pyarrow.string(),
        "int": pyarrow.int64(),
        "float": pyarrow.float64(),
        "datetime": pyarrow.timestamp("us", tz="UTC"),
    }
    named = {name: _plain(field.annotation) for name, field in kind.model_fields.items()}
    return pyarrow.schema([(name, types[each]) for name, each in named.items()])


def _plain(annotation: Any) -> str:
    """``float`` of ``float | None``."""
    name: str = getattr(annotation, "__name__", "")
    known = [each.__name__ for each in getattr(annotation, "__args__", ()) if each is not type(None)]
    return known[0] if known else name


class _Drain(io.RawIOBase):
    """Keeps what is written until it is taken away; knows how much there was."""

    def __init__(self) -> None:
        super().__init__()
        self._kept = bytearray()
        self._before = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._before + len(self._kept)

    def write(self, data: Any) -> int:
        self._kept += data
        return len(data)

    def drained(self) -> bytes:
        """What has been written since the last time."""
        taken = bytes(self._kept)
        self._before += len(taken)
        self._kept.clear()
        return taken
