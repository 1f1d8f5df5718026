"""Builds .venv from the pinned requirements; run by lab/setup.sh with any Python 3.11 to 3.13, no packages.

All that it writes is under .venv and .lab of the project's folder, caches and package lists included.
When nothing has changed since the last time, it does nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
VENV = PROJECT / ".venv"
LAB = PROJECT / ".lab"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "setup-done"
PINS = (PROJECT / "requirements.txt", PROJECT / "requirements-dev.txt")
DEBIAN_WHEELS = Path("usr/share/python-wheels")
LOG = LAB / "setup.log"
PIP = ("-m", "pip", "install", "--no-deps", "--require-hashes")  # nothing that was exchanged on its way


class SetupError(Exception):
    """A step cannot work; the message is a sentence that says what to do."""


def main() -> int:
    """Build what is missing; gives the exit status."""
    try:
        if not is_current():
            LAB.mkdir(exist_ok=True)
            with (LAB / "setup.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # two at once would spoil each other's packages
                if not is_current():
                    build()
    except SetupError as error:
        print(f"make setup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def is_current() -> bool:
    """Say whether .venv was built from exactly these pins and its Python still runs."""
    return STAMP.is_file() and STAMP.read_text() == fingerprint() and runs(PYTHON, "-c", "")


def fingerprint() -> str:
    """Give a digest of everything that decides what .venv holds."""
    digest = hashlib.sha256()
    for path in (*PINS, Path(__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def build() -> None:
    """Make .venv, put pip into it and let uv or pip install the pins."""
    STAMP.unlink(missing_ok=True)
    say(f"Setting up {VENV.name} with Python {sys.version.split()[0]} (once, one to three minutes)")
    LOG.unlink(missing_ok=True)
    make_environment()
    install_pins()
    STAMP.write_text(fingerprint())


def make_environment() -> None:
    """Make .venv with pip in it, also where Debian's python3-venv is not installed."""
    if runs(PYTHON, "-m", "pip", "--version"):
        return
    complete = find_spec("ensurepip") is not None
    options = ("--clear",) if complete else ("--clear", "--without-pip")
    run(
        [sys.executable, "-m", "venv", *options, str(VENV)],
        "This Python cannot make virtual environments; as root: apt-get install python3-venv",
    )
    if not complete:
        wheel = debian_pip()
        run(
            [str(PYTHON), "-m", "pip", "install", "--quiet", "--no-index", str(wheel)],
            f"pip could not be installed from {wheel}; as root: apt-get install python3-venv",
            env=environment() | {"PYTHONPATH": str(wheel)},
        )


def debian_pip() -> Path:
    """Find the wheel of Debian's python3-pip-whl, or fetch that package into .lab without root."""
    for root in (Path("/"), LAB / "pip"):
        if wheels := sorted((root / DEBIAN_WHEELS).glob("pip-*.whl")):
            return wheels[-1]
    fetch_debian_pip()
    return max((LAB / "pip" / DEBIAN_WHEELS).glob("pip-*.whl"))


def fetch_debian_pip() -> None:
    """Unpack python3-pip-whl into .lab/pip; apt's lists and caches are kept in .lab, too."""
    remedy = "This Python has no pip and apt-get gave none; as root: apt-get install python3-venv"
    if not shutil.which("apt-get"):
        raise SetupError(
            "This Python has neither pip nor ensurepip; install it with both, or name another: PYTHON="
        )
    say("  fetching pip from Debian's python3-pip-whl (python3-venv is not installed)")
    for folder in ("apt/lists/partial", "apt/cache/archives/partial", "pip"):
        (LAB / folder).mkdir(parents=True, exist_ok=True)
    run(["apt-get", *apt_options(), "update"], remedy)
    run(["apt-get", *apt_options(), "download", "python3-pip-whl"], remedy, cwd=LAB / "pip")
    package = next((LAB / "pip").glob("python3-pip-whl_*.deb"))
    run(["dpkg", "-x", str(package), str(LAB / "pip")], remedy)


def apt_options() -> list[str]:
    """Keep apt in .lab; as root it would else drop to a user who may not write there."""
    options = {
        "Dir::State::Lists": LAB / "apt" / "lists",
        "Dir::Cache": LAB / "apt" / "cache",
        "APT::Sandbox::User": "root",
    }
    return [word for key, value in options.items() for word in ("-o", f"{key}={value}")]


def install_pins() -> None:
    """Install exactly the pins: with uv (several times faster), with pip where uv does not manage."""
    say("  installing some 220 packages")
    pip = [str(PYTHON), *PIP]
    uv = LAB / "uv.txt"
    uv.write_text(pinned("uv"))  # hashes are only taken from a file
    if runs(*pip, "--quiet", "-r", uv) and with_uv():
        return
    say("  uv did not manage; trying with pip")
    run(
        [*pip, *(word for path in PINS for word in ("-r", str(path)))],
        "The Python packages could not be installed. If this machine reaches PyPI by a proxy or a mirror, "
        "name it in pip's configuration (proxy, index-url) and try again",
    )


def with_uv() -> bool:
    """Let uv install the pins; False when it fails, or when pip's configuration has no counterpart in uv."""
    settings = index_settings()
    if settings is None:
        return False
    argv = [str(VENV / "bin" / "uv"), "pip", "sync", "--require-hashes", "--python", str(PYTHON)]
    return watched([*argv, "--compile-bytecode", *map(str, PINS)], env=uv_environment(settings))


def watched(argv: Sequence[str], *, env: Mapping[str, str]) -> bool:
    """Run uv, showing its steps: on a terminal each in place of the one before, else the main ones."""
    terminal = sys.stdout.isatty()
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=env) as process:
        lines = [
            line.rstrip() for line in process.stderr or () if show_step(line.rstrip(), terminal=terminal)
        ]
    if process.returncode:
        say("\n".join(lines[-8:]))
    return process.returncode == 0


def show_step(line: str, *, terminal: bool) -> bool:
    """Show one line of uv's; True when it is no mere list entry."""
    if terminal:
        print(f"\r\033[K  {line.strip()[:76]}", end="\n" if line.startswith("Bytecode") else "", flush=True)
    elif re.match(r"(Resolved|Prepared|Installed|Bytecode)", line):
        say(f"  {line}")
    return not re.match(r" [+-] ", line)


def pinned(name: str) -> str:
    """Give ``name==version`` as the pins have it, with its hashes on the lines that follow."""
    text = "".join(path.read_text() for path in PINS)
    found = re.search(rf"^{re.escape(name)}==(?:.*\\\n)*.*\n", text, re.MULTILINE)
    if not found:
        raise SetupError(f"{name} is missing in requirements-dev.txt; run: make requirements")
    return found[0]


def environment() -> dict[str, str]:
    """Our environment with every cache inside the project's folder."""
    caches = {"PIP_CACHE_DIR": str(LAB / "cache" / "pip"), "UV_CACHE_DIR": str(LAB / "cache" / "uv")}
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    return {**os.environ, **caches, **quiet}


def uv_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Our environment and what uv must know of pip's configuration. What the user tells uv wins."""
    return environment() | {name: value for name, value in settings.items() if name not in os.environ}


def index_settings() -> dict[str, str] | None:
    """Translate pip's configuration for uv; None when it holds what only pip can do."""
    listed = subprocess.run(
        [str(PYTHON), "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    return translate(read_pip_config(listed.stdout))


def read_pip_config(text: str) -> dict[str, str]:
    """Read ``pip config list``: option to value, the environment before every file."""
    found = re.findall(r"^(global|install|:env:)\.([a-z-]+)='(.*)'$", text, re.MULTILINE)
    rank = {"global": 0, "install": 1, ":env:": 2}
    ordered = sorted(found, key=lambda line: rank[line[0]])
    return {option: value.replace("\\n", " ").strip() for _, option, value in ordered}


def translate(options: Mapping[str, str]) -> dict[str, str] | None:
    """Give uv's environment variables for pip's options; None when one has no counterpart in uv."""
    if options.keys() & {"no-index", "client-cert", "keyring-provider", "prefer-binary", "no-binary"}:
        return None
    words = {option: " ".join(value.split()) for option, value in options.items()}
    known = {
        "UV_DEFAULT_INDEX": words.get("index-url"),
        "UV_INDEX": words.get("extra-index-url"),
        "UV_FIND_LINKS": words.get("find-links", "").replace(" ", ","),
        "UV_INSECURE_HOST": words.get("trusted-host"),
        "SSL_CERT_FILE": words.get("cert"),
        "ALL_PROXY": words.get("proxy"),
        "UV_INDEX_STRATEGY": "unsafe-best-match",  # pip's: the best version of all indexes
    }
    return {name: value for name, value in known.items() if value}


def runs(*argv: str | Path) -> bool:
    """Say whether a command runs and ends well; its output goes to the log."""
    LOG.parent.mkdir(exist_ok=True)
    with LOG.open("ab") as log:
        try:
            done = subprocess.run(
                [str(word) for word in argv], stdout=log, stderr=log, check=False, env=environment()
            )
        except OSError:
            return False
    return done.returncode == 0


def attempt(argv: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None) -> bool:
    """Run a command whose output a person may watch; False when it fails or is missing."""
    try:
        return subprocess.run(list(argv), check=False, env=env, cwd=cwd).returncode == 0
    except OSError:
        return False


def run(
    argv: Sequence[str], remedy: str, *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> None:
    """Run a command whose output a person may watch; raises SetupError with the remedy when it fails."""
    if not attempt(argv, env=environment() if env is None else env, cwd=cwd):
        raise SetupError(f"{remedy}.")


def say(text: str) -> None:
    """Tell a person what goes on, at once."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
