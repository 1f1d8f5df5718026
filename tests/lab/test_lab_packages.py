"""Packages are unpacked once; what stands in the way is said in a sentence."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

import pytest

from lab import packages
from lab.errors import LabError
from lab.layout import PROJECT

SHARED = PROJECT / ".lab"


def test_packages_that_are_unpacked_are_only_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    root = packages.unpacked(SHARED)
    monkeypatch.setattr("subprocess.run", None)
    assert packages.unpacked(SHARED) == root
    assert (root / "usr/sbin/slurmctld").exists()


def test_a_package_that_was_cut_off_is_thrown_away_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deb = tmp_path / "debs" / "munge_0.5_amd64.deb"
    deb.parent.mkdir()
    deb.write_bytes(b"!<arch>\nhalf a pack")
    monkeypatch.setattr(packages, "PACKAGES", ("munge",))
    with pytest.raises(LabError, match=r"dpkg-deb failed(?s:.*)Start again"):
        packages.unpacked(tmp_path)
    assert not deb.exists()


def test_another_distribution_is_refused_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = {"ID": "fedora", "VERSION_ID": "42", "PRETTY_NAME": "Fedora Linux 42"}
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: release)
    with pytest.raises(LabError, match=r"this is Fedora Linux 42; run it on Debian 12"):
        packages.unpacked(tmp_path)


@pytest.mark.parametrize("tool", ["apt-get", "dpkg-deb"])
def test_a_missing_tool_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if name == tool else f"/usr/bin/{name}")
    with pytest.raises(LabError, match=f"{tool} is missing"):
        packages.unpacked(tmp_path)


def test_without_a_network_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "PACKAGES", ("munge",))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(LabError, match="is there a network"):
        packages.unpacked(tmp_path)


def test_apt_writes_nothing_outside_of_the_folder(tmp_path: Path) -> None:
    config = packages._apt_config(tmp_path, own_lists=True).read_text()
    assert f'Dir::State::lists "{tmp_path}/lists"' in config
    assert f'Dir::Cache "{tmp_path}/cache"' in config
