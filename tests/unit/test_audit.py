"""An advisory about a pinned package fails the check; no network and no pip-audit are told and do not."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from lab import audit

CLEAN = {
    "dependencies": [{"name": "httpx", "version": "1.0", "vulns": []}, {"name": "x", "skip_reason": "?"}]
}
BAD = {
    "dependencies": [
        {
            "name": "httpx",
            "version": "1.0",
            "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["1.1"]}],
        }
    ]
}


def test_an_advisory_fails_the_check_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.judged(json.dumps(BAD), "Found 1 known vulnerability") == 1
    told = capsys.readouterr().err
    assert told == f"audit: httpx 1.0: PYSEC-1, mended in 1.1. {audit.REMEDY}\n"


@pytest.mark.parametrize("accepted", ["PYSEC-1", "CVE-1"])
def test_one_that_was_looked_into_does_not(monkeypatch: pytest.MonkeyPatch, accepted: str) -> None:
    monkeypatch.setattr(audit, "ACCEPTED", {accepted: "it is not used here"})
    assert audit.judged(json.dumps(BAD), "") == 0


def test_without_an_advisory_all_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.judged(json.dumps(CLEAN), "No known vulnerabilities found") == 0
    assert capsys.readouterr().out == "audit: no advisory stands about 1 of 2 packages (0 accepted)\n"


def test_a_service_that_knows_no_package_has_not_said_that_all_is_well(
    capsys: pytest.CaptureFixture[str],
) -> None:
    nothing = {"dependencies": [{"name": "httpx", "skip_reason": "Dependency not found on PyPI"}]}
    assert audit.judged(json.dumps(nothing), "No known vulnerabilities found") == 0
    assert capsys.readouterr().out == "audit: skipped, the advisory service knows none of the packages\n"


def test_a_service_that_cannot_be_reached_is_told_and_fails_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert audit.judged("", "requests.exceptions.ConnectionError: Max retries exceeded") == 0
    assert "skipped" in capsys.readouterr().out


def test_an_audit_that_fails_for_another_reason_fails_the_check() -> None:
    assert audit.judged("", "error: unrecognized arguments") == 1
    assert audit.judged("{}", "") == 1


def test_without_pip_audit_it_is_skipped_with_a_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(audit, "find_spec", lambda _: None)
    assert audit.main() == 0
    assert capsys.readouterr().out == "audit: skipped, pip-audit is not installed\n"


def test_a_service_that_never_answers_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def hangs(*_: Any, timeout: float, **__: Any) -> None:
        raise subprocess.TimeoutExpired("pip-audit", timeout)

    monkeypatch.setattr(audit, "find_spec", lambda _: True)
    monkeypatch.setattr(subprocess, "run", hangs)
    assert audit.main() == 0
    assert "has not answered" in capsys.readouterr().out
