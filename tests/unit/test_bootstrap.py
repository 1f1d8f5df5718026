"""Promises about the set-up: when it does nothing, and how pip's configuration reaches uv."""

import hashlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from lab import bootstrap
from lab.bootstrap import read_pip_config, translate
from lab.requirements import unpinned


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder whose .venv was just set up."""
    pins = (tmp_path / "requirements.txt", tmp_path / "requirements-dev.txt")
    for path in pins:
        path.write_text("uv==1.0\n")
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    places = {
        "PINS": pins,
        "PYTHON": python,
        "STAMP": tmp_path / ".venv" / "done",
        "LOG": tmp_path / "lab" / "log",
    }
    for name, value in places.items():
        monkeypatch.setattr(bootstrap, name, value)
    bootstrap.STAMP.write_text(bootstrap.fingerprint())
    return tmp_path


def test_nothing_is_done_when_nothing_changed(project: Path) -> None:
    assert bootstrap.is_current()


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_a_changed_pin_means_a_new_set_up(project: Path, name: str) -> None:
    (project / name).write_text("uv==2.0\n")
    assert not bootstrap.is_current()


@pytest.mark.parametrize("script", ["#!/bin/sh\nexit 1\n", "#!/no/such/python\n"])
def test_an_environment_whose_python_is_gone_is_made_again(project: Path, script: str) -> None:
    bootstrap.PYTHON.write_text(script)
    assert not bootstrap.is_current()


def test_uv_comes_in_the_pinned_version(project: Path) -> None:
    assert bootstrap.pinned("uv") == "uv==1.0\n"
    with pytest.raises(bootstrap.SetupError, match="make requirements"):
        bootstrap.pinned("nothing")


def test_uv_comes_with_its_hashes_and_with_those_of_nothing_else(project: Path) -> None:
    uv = "uv==2.0 ; python_version > '3' \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
    (project / "requirements.txt").write_text(f"a==1 \\\n    --hash=sha256:00\n{uv}uvicorn==3\n")
    assert bootstrap.pinned("uv") == uv


@pytest.mark.parametrize("path", bootstrap.PINS, ids=lambda path: path.name)
def test_every_pin_is_exact_and_has_hashes_and_no_index_or_place_is_named(path: Path) -> None:
    entries = path.read_text().replace("\\\n", " ").splitlines()
    pin = re.compile(r"[\w.-]+(\[[\w,-]+\])?==\S+( ; [^#@\\]+?)?(\s+--hash=sha256:[0-9a-f]{64})+")
    assert entries
    assert [entry for entry in entries if not pin.fullmatch(entry)] == []


@pytest.mark.parametrize("exchanged", [False, True])
def test_a_package_that_was_exchanged_on_its_way_is_not_installed(tmp_path: Path, exchanged: bool) -> None:
    wheel = tmp_path / "ours-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        about = "ours-1.dist-info"
        archive.writestr("ours.py", "")
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: ours\nVersion: 1\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes() + b"!" * exchanged).hexdigest()
    pins = tmp_path / "pins.txt"
    pins.write_text(f"ours==1 --hash=sha256:{digest}\n")
    places = ("--no-index", "--find-links", tmp_path, "--target", tmp_path / "into", "-r", pins)
    argv = [sys.executable, *bootstrap.PIP, *map(str, places)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode != 0) == exchanged, done.stderr
    assert (tmp_path / "into" / "ours.py").exists() != exchanged


def test_the_environment_wins_over_the_files_of_pip() -> None:
    listed = "\n".join(
        [
            ":env:.index-url='https://from.env/simple'",
            "global.index-url='https://from.file/simple'",
            "install.find-links='/a'",
            "global.find-links='/b'",
            "global.extra-index-url='\\nhttps://one/simple\\nhttps://two/simple'",
        ]
    )
    assert read_pip_config(listed) == {
        "index-url": "https://from.env/simple",
        "find-links": "/a",
        "extra-index-url": "https://one/simple https://two/simple",
    }


def test_every_setting_that_leads_to_packages_reaches_uv() -> None:
    options = {
        "index-url": "https://a/simple",
        "extra-index-url": "https://b/simple https://c/simple",
        "find-links": "/w /x",
        "trusted-host": "a",
        "cert": "/ca.pem",
        "proxy": "http://proxy:3128",
        "timeout": "9",
    }
    assert translate(options) == {
        "UV_DEFAULT_INDEX": "https://a/simple",
        "UV_INDEX": "https://b/simple https://c/simple",
        "UV_FIND_LINKS": "/w,/x",
        "UV_INSECURE_HOST": "a",
        "SSL_CERT_FILE": "/ca.pem",
        "ALL_PROXY": "http://proxy:3128",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


@pytest.mark.parametrize("option", ["no-index", "client-cert", "keyring-provider"])
def test_what_only_pip_can_do_is_left_to_pip(option: str) -> None:
    assert translate({option: "yes"}) is None


def test_what_the_user_tells_uv_wins_over_what_pip_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://mine/simple")
    environment = bootstrap.uv_environment({"UV_DEFAULT_INDEX": "https://pip/simple", "UV_INDEX": "x"})
    assert (environment["UV_DEFAULT_INDEX"], environment["UV_INDEX"]) == ("https://mine/simple", "x")


def test_no_cache_is_written_outside_the_project() -> None:
    environment = bootstrap.environment()
    for name in ("PIP_CACHE_DIR", "UV_CACHE_DIR"):
        assert Path(environment[name]).is_relative_to(bootstrap.PROJECT)


@pytest.mark.parametrize(
    ("asked", "missing"),
    [
        ("a\n# a comment\n-c other.txt\n\nb>=2  # why\n", []),
        ("A_b.c\n", ["A_b.c"]),
        ("b<2\n", ["b<2"]),
        ("a[extra]>1,<9\n", []),
    ],
)
def test_what_is_asked_for_and_not_pinned_within_its_limits_is_named(
    tmp_path: Path, asked: str, missing: list[str]
) -> None:
    (tmp_path / "requirements.in").write_text(asked)
    pins = [
        "a==1.5 ; python_version < '3.12' \\",
        "    --hash=sha256:aa",
        "a==1.6",
        "b==2.0 \\",
        "    --hash=x",
    ]
    assert list(unpinned(tmp_path / "requirements.in", pins)) == missing
