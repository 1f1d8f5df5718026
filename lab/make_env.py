"""Makes .env for docker-compose.yaml: strong secrets, readable for its owner only.

``python3 lab/make_env.py`` needs nothing but Python. What is in .env already is never changed: run again
after an upgrade, it adds what is new. It makes the folder keys/ too, for the SSH keys to the head nodes.
"""

from __future__ import annotations

import base64
import os
import re
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
SECRETS: Mapping[str, tuple[str, Callable[[], str]]] = {
    "POSTGRES_PASSWORD": ("of Airflow's database", lambda: secrets.token_hex(24)),
    "LEDGER_PASSWORD": ("of the ledger's database", lambda: secrets.token_hex(24)),
    "REDIS_PASSWORD": ("of Celery's broker", lambda: secrets.token_hex(24)),
    "FERNET_KEY": (
        "encrypts what Airflow keeps; without it connections are lost: keep a copy elsewhere",
        lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    ),
    "API_SECRET_KEY": ("signs the sessions of the UI", lambda: secrets.token_hex(32)),
    "JWT_SECRET": ("signs what the components tell each other", lambda: secrets.token_hex(64)),
    "ADMIN_PASSWORD": (
        "of the user admin, as long as it has not been changed",
        lambda: secrets.token_hex(12),
    ),
    "SERVICE_PASSWORD": ("of the account that writes decisions into notes", lambda: secrets.token_hex(24)),
}
SETTINGS: Mapping[str, tuple[str, Callable[[], str]]] = {
    "AIRFLOW_UID": ("whose the files are that are made here; may read keys/", lambda: str(_uid())),
    "CLUSTERS_FILE": ("your clusters; this one is the lab's", lambda: "./include/clusters.yaml"),
    "BUDGETS_FILE": ("what each project may use in a month", lambda: "./include/budgets.yaml"),
    "LOGINS_FILE": ("who looks after the logins: docs/centre.md", lambda: "./include/logins/database.py"),
    "KEYS_FOLDER": ("the SSH keys for the head nodes", lambda: "./keys"),
    "BASE_URL": ("where people reach the UI", lambda: "http://localhost:8080"),
    "LISTEN": ("where the UI listens on this server", lambda: "127.0.0.1:8080"),
}
AIRFLOWS_OWN_UID = 50000


def main() -> int:
    """Make or complete .env in the project's folder, or in that of the first argument."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else PROJECT
    added = complete(folder / ".env")
    (folder / "keys").mkdir(mode=0o700, exist_ok=True)
    told = f"added {', '.join(added)}" if added else "complete, nothing changed"
    print(f"{folder / '.env'}: {told}")
    return 0


def complete(file: Path) -> list[str]:
    """Add what the file lacks, to a file of mode 600; gives the names. What it has stays as it is."""
    before = file.read_text() if file.is_file() else ""
    missing = {name: made for name, made in {**SECRETS, **SETTINGS}.items() if not _has(before, name)}
    lines = [f"# {what}\n{name}={make()}\n" for name, (what, make) in missing.items()]
    if lines:
        _write_private(file, before + ("" if before.endswith("\n") or not before else "\n") + "".join(lines))
    else:
        file.chmod(0o600)
    return list(missing)


def _has(text: str, name: str) -> bool:
    return re.search(rf"^{name}=\S", text, re.MULTILINE) is not None


def _write_private(file: Path, text: str) -> None:
    """A crash leaves the old file or the new one, and nobody else could read it at any moment."""
    new = file.with_name(file.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
    new.rename(file)


def _uid() -> int:
    return os.getuid() or AIRFLOWS_OWN_UID


if __name__ == "__main__":
    sys.exit(main())
