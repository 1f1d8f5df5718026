"""``python -m hybrid_hpc.ledger upgrade``: the ledger's tables, made or brought to this version."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from hybrid_hpc.errors import Unavailable
from hybrid_hpc.ledger import migrate
from hybrid_hpc.ledger.database import unavailable

URL_VARIABLE = "HYBRID_HPC_LEDGER_URL"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one action; gives the exit status."""
    options = _parser().parse_args(argv)
    if not options.url:
        return _tell(f"Name the database: --url postgresql://user:password@host/ledger, or {URL_VARIABLE}.")
    try:
        with unavailable():
            return _run(options.action, options.url, options.revision)
    except Unavailable as error:
        return _tell(str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hybrid_hpc.ledger", description=__doc__)
    parser.add_argument("action", choices=["upgrade", "downgrade", "current"])
    parser.add_argument("revision", nargs="?", help="upgrade: head when left out; downgrade: needed")
    parser.add_argument("--url", default=os.environ.get(URL_VARIABLE), help=f"default: ${URL_VARIABLE}")
    return parser


def _run(action: str, url: str, revision: str | None) -> int:
    if action == "upgrade":
        migrate.upgrade(url, revision or "head")
    elif action == "downgrade":
        if not revision:
            return _tell("Name the revision to go back to; base removes all tables and what is in them.")
        migrate.downgrade(url, revision)
    sys.stdout.write(f"The ledger is at revision {migrate.current(url) or 'base (no tables)'}.\n")
    return 0


def _tell(sentence: str) -> int:
    sys.stderr.write(f"{sentence}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
