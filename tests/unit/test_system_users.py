"""Promises about the system users that root's servers run as: two labs at once make each of them once."""

from __future__ import annotations

import os
import pwd
import subprocess
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab import system_users
from lab.errors import LabError


@pytest.fixture
def name() -> Iterator[str]:
    """A user's name that is free, and is free again in the end."""
    if os.geteuid() != 0:
        pytest.skip("only root makes users")
    name = f"hh-{uuid.uuid4().hex[:8]}"
    yield name
    subprocess.run(["/usr/sbin/userdel", name], check=False, capture_output=True)


def test_many_that_make_one_user_at_the_same_moment_all_get_it(name: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: system_users.ensure(name, home="/nonexistent"), range(6)))
    assert {each.pw_uid for each in found} == {pwd.getpwnam(name).pw_uid}


def test_a_user_that_cannot_be_made_is_told_with_useradds_reason_and_a_remedy(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_users, "PATIENCE_S", 0.0)
    with pytest.raises(LabError, match=r"no-such-group.* does not exist.* Make it, or run as a plain user"):
        system_users.ensure(name, home="/nonexistent", group="no-such-group")
    assert system_users.missing(name)
