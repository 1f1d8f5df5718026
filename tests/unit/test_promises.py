"""Every promise of docs/promises.md names a test that there is."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from lab.layout import PROJECT

PAGE = PROJECT / "docs" / "promises.md"
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
LEAST = 40


def rows() -> list[list[str]]:
    """The cells of every row of the page's tables, heads and rules left out."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[0] != "fault"]


@cache
def named_in(file: str) -> frozenset[str]:
    """The names of a file's tests, those in classes too."""
    found = ast.walk(ast.parse((PROJECT / file).read_text()))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return frozenset(node.name for node in found if isinstance(node, kinds))


def test_there_are_enough_of_them_and_no_fault_stands_twice() -> None:
    faults = [fault for fault, *_ in rows()]
    assert len(faults) >= LEAST
    assert len(set(faults)) == len(faults)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:60])
def test_each_names_a_test_that_exists(row: list[str]) -> None:
    fault, promise, proof = row
    assert fault
    assert promise
    named = TEST.findall(proof)
    assert named, f"no test is named: {proof}"
    missing = [f"{file}::{name}" for file, name in named if name not in named_in(file)]
    assert not missing
