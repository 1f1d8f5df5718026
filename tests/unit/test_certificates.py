from __future__ import annotations

import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from lab import certificates


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Three files, made."""
    made = [tmp_path / "tls" / name for name in ("ca.pem", "server.pem", "server.key")]
    certificates.make(*made)
    return made


def contents(files: list[Path]) -> list[bytes]:
    return [path.read_bytes() for path in files]


def test_a_good_certificate_stays_what_it_is(files: list[Path]) -> None:
    before = contents(files)
    certificates.make(*files)
    assert contents(files) == before


def test_the_certificate_is_the_authoritys_and_only_for_this_machine(files: list[Path]) -> None:
    ca, certificate = (x509.load_pem_x509_certificate(text) for text in contents(files)[:2])
    certificate.verify_directly_issued_by(ca)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "azure"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_only_its_owner_reads_the_key_and_the_authoritys_own_is_kept_nowhere(files: list[Path]) -> None:
    assert stat.S_IMODE(files[2].stat().st_mode) == 0o600
    keys = [path for path in files[0].parent.iterdir() if b"PRIVATE KEY" in path.read_bytes()]
    assert keys == [files[2]]


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_when_one_file_is_lost_or_spoilt_all_three_are_made_anew(files: list[Path], lost: int) -> None:
    for spoil in (files[lost].unlink, lambda: files[lost].write_text("-----BEGIN")):
        before = contents(files)
        spoil()
        certificates.make(*files)
        assert all(new != old for new, old in zip(contents(files), before, strict=True))


def test_a_certificate_that_runs_out_soon_is_made_anew(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(files)
    monkeypatch.setattr(certificates, "RENEWED", certificates.VALID - timedelta(days=1))
    certificates.make(*files)
    assert contents(files) == before
    monkeypatch.setattr(certificates, "RENEWED", certificates.VALID)
    certificates.make(*files)
    assert contents(files) != before


def test_the_certificate_of_another_authority_is_made_anew(files: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    certificates.make(other, tmp_path / "other-server.pem", tmp_path / "other.key")
    files[0].write_bytes(other.read_bytes())
    certificates.make(*files)
    ca, certificate = (x509.load_pem_x509_certificate(text) for text in contents(files)[:2])
    certificate.verify_directly_issued_by(ca)


def test_a_certificate_for_other_names_is_made_anew(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(files)
    monkeypatch.setattr(certificates, "HOSTS", ["localhost", "elsewhere"])
    certificates.make(*files)
    assert contents(files) != before
