"""A head node in this process (pytest plugin)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.unit.sshd import Sshd, running_sshd


@pytest_asyncio.fixture
async def sshd(tmp_path: Path) -> AsyncIterator[Sshd]:
    """A server with an empty home folder."""
    home = tmp_path / "home"
    home.mkdir()
    async with running_sshd(home) as server:
        yield server
