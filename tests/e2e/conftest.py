"""What all end-to-end tests share: they need the clusters, Airflow and time."""

from __future__ import annotations

import pytest

TIMEOUT_S = 600  # a module's fixture waits for all of its jobs


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here needs the clusters and Airflow, and its time."""
    for item in items:
        if "tests/e2e/" in item.path.as_posix():
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))
