"""Asks whether an advisory is known about one of the pinned packages; part of `make check`.

Skipped, with a word, where pip-audit is not installed or the advisory service cannot be reached.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from lab import bootstrap

# Advisories that were looked into and do not concern us: id and why. Each is looked at again at every update.
ACCEPTED: Mapping[str, str] = {}
PATIENCE_S = 180
UNREACHABLE = (
    "ConnectionError",
    "Connection refused",
    "Max retries",
    "timed out",
    "ServiceError",
    "HTTPError",
)
REMEDY = "Raise it in requirements*.in and run make requirements, or say in lab/audit.py why it is no matter."


def main() -> int:
    """Print what was found; gives 1 when an advisory stands, else 0."""
    if find_spec("pip_audit") is None:
        print("audit: skipped, pip-audit is not installed")
        return 0
    try:
        done = subprocess.run(argv(), capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        print(f"audit: skipped, the advisory service has not answered within {PATIENCE_S} s")
        return 0
    return judged(done.stdout, done.stderr)


def argv() -> list[str]:
    """The command: every pin as it stands, nothing resolved and nothing installed."""
    files = [word for path in bootstrap.PINS for word in ("--requirement", str(path))]
    options = ("--disable-pip", "--no-deps", "--progress-spinner", "off", "--format", "json")
    return [sys.executable, "-m", "pip_audit", *options, *files]


def judged(answer: str, trouble: str) -> int:
    """Print what an answer of pip-audit says; 1 when an advisory stands or the audit itself failed."""
    try:
        packages = json.loads(answer)["dependencies"]
        found, unknown = list(advisories(packages)), [each for each in packages if "skip_reason" in each]
    except (ValueError, KeyError, TypeError):
        return _without_an_answer(trouble)
    for advisory in found:
        print(f"audit: {advisory}. {REMEDY}", file=sys.stderr)
    if len(unknown) == len(packages):  # a mirror, for instance: pip-audit itself takes it for all being well
        print("audit: skipped, the advisory service knows none of the packages")
    elif not found:
        seen = f"{len(packages) - len(unknown)} of {len(packages)} packages"
        print(f"audit: no advisory stands about {seen} ({len(ACCEPTED)} accepted)")
    return 1 if found else 0


def _without_an_answer(trouble: str) -> int:
    if any(word in trouble for word in UNREACHABLE):
        print("audit: skipped, the advisory service cannot be reached")
        return 0
    print(f"audit: pip-audit failed: {trouble.strip()[-500:]}", file=sys.stderr)
    return 1


def advisories(packages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """``name version: id, mended in …`` for each that is not accepted."""
    for package in packages:
        for advisory in package.get("vulns", ()):
            if not {advisory["id"], *advisory.get("aliases", ())} & ACCEPTED.keys():
                mended = ", ".join(advisory.get("fix_versions", ())) or "no version yet"
                yield f"{package['name']} {package['version']}: {advisory['id']}, mended in {mended}"


if __name__ == "__main__":
    sys.exit(main())
