"""Keys and passwords of one lab: made once, kept in files that only their owner can read."""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Keys:
    """``passwords`` maps each user to a password; the keys are what Airflow's own words name them."""

    fernet_key: str
    jwt_secret: str
    api_secret_key: str
    passwords: dict[str, str]


def load_or_make(folder: Path, users: Collection[str]) -> Keys:
    """Read ``keys.json`` of the folder; at first make it, and ``passwords.json`` for Airflow beside it."""
    path = folder / "keys.json"
    if not path.is_file():
        made = _make(users)
        write_private(folder / "passwords.json", json.dumps(made.passwords, indent=1) + "\n")
        write_private(path, json.dumps(asdict(made), indent=1) + "\n")
    return Keys(**json.loads(path.read_text()))


def write_private(path: Path, text: str) -> None:
    """Write a file that nobody else could read at any moment; a crash leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.rename(path)


def _make(users: Collection[str]) -> Keys:
    return Keys(
        fernet_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        jwt_secret=secrets.token_hex(64),
        api_secret_key=secrets.token_hex(32),
        passwords={user: secrets.token_urlsafe(12) for user in users},
    )
