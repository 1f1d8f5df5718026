"""Promises about .env: strong secrets, for its owner only, nothing that is there is ever changed."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

from cryptography.fernet import Fernet

from lab import compose_settings, make_env
from lab.layout import PROJECT


def read(file: Path) -> dict[str, str]:
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_any_python_makes_it_without_a_package(tmp_path: Path) -> None:
    argv = [sys.executable, "-I", "-S", str(PROJECT / "lab/make_env.py"), str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert set(read(tmp_path / ".env")) == {*make_env.SECRETS, *make_env.SETTINGS}
    assert not any(value in done.stdout for value in read(tmp_path / ".env").values() if len(value) > 20)
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_it_makes_every_secret_that_compose_asks_for_and_each_is_strong(tmp_path: Path) -> None:
    make_env.complete(tmp_path / ".env")
    made = read(tmp_path / ".env")
    assert set(compose_settings.SECRETS) == set(make_env.SECRETS)
    found = [made[name] for name in compose_settings.SECRETS]
    assert len(set(found)) == len(found)
    assert all(len(secret) >= 24 for secret in found)
    assert len(made["JWT_SECRET"].encode()) >= 64
    Fernet(made["FERNET_KEY"])


def test_secrets_can_stand_in_an_address_and_between_quotes(tmp_path: Path) -> None:
    make_env.complete(tmp_path / ".env")
    made = read(tmp_path / ".env")
    for name in compose_settings.SECRETS:
        assert made[name].rstrip("=").replace("-", "").replace("_", "").isalnum(), name


def test_what_is_there_stays_and_what_is_missing_or_empty_is_added(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("MINE=1\nFERNET_KEY=old\nJWT_SECRET=\nLISTEN=10.0.0.1:80")
    added = make_env.complete(file)
    made = read(file)
    assert (made["MINE"], made["FERNET_KEY"], made["LISTEN"]) == ("1", "old", "10.0.0.1:80")
    assert len(made["JWT_SECRET"]) == 128
    assert "FERNET_KEY" not in added
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text()
    assert make_env.complete(file) == []
    assert file.read_text() == text
