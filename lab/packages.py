"""Debian's Slurm, munge, MariaDB, sshd and Redis, unpacked into a folder; nothing is installed."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab.errors import LabError

Progress = Callable[[str], None]

PACKAGES = (
    *("slurmctld", "slurmd", "slurmdbd", "slurm-client", "slurm-wlm-basic-plugins", "slurm-wlm-mysql-plugin"),
    *("munge", "libmunge2", "libhwloc15", "liblua5.1-0", "libnuma1", "libjson-c5", "libyaml-0-2"),
    *("libdbus-1-3", "libreadline8", "libnsl2", "libtirpc3"),
    *("mariadb-server", "mariadb-server-core", "mariadb-client-core", "libmariadb3", "libaio1", "liburing2"),
    *("redis-server", "redis-tools", "libatomic1", "libjemalloc2", "liblzf1"),
    *("openssh-server", "libwrap0", "openssh-sftp-server", "sudo", "patchelf"),
)
UNCHANGED = ("patchelf", "sudo")  # a setuid program takes libraries from its packaged places only
RECIPE = "1"  # raise it when unpacking changes, so that folders made before are made again
APT_CONFIG = """\
Dir::Cache "{folder}/cache";
APT::Sandbox::User "root";
Acquire::Retries "1";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""


def unpacked(lab_folder: Path, progress: Progress = lambda _: None) -> Path:
    """Give the folder with the unpacked packages, ``<lab_folder>/root``; makes it when it is not there.

    The second call costs a file read. Raises LabError when apt-get, the network or Debian 12 is missing.
    """
    root, stamp = lab_folder / "root", lab_folder / "root" / ".unpacked"
    lab_folder.mkdir(parents=True, exist_ok=True)
    with _locked(lab_folder / "packages.lock"):
        if not stamp.is_file() or stamp.read_text() != _recipe():
            _check_machine()
            _make(lab_folder, root, progress)
    return root


def _make(lab_folder: Path, root: Path, progress: Progress) -> None:
    fresh = lab_folder / "root.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    debs = _download(lab_folder, progress)
    progress("unpacking them")
    for deb in debs:
        _extract(deb, fresh)
    _name_daemons(fresh)
    _keep_sudo_harmless(fresh)
    _point_to_libraries(fresh)
    _check_libraries(fresh)
    (fresh / ".unpacked").write_text(_recipe())
    shutil.rmtree(root, ignore_errors=True)
    fresh.rename(root)


def _extract(deb: Path, root: Path) -> None:
    try:
        _run(["dpkg-deb", "-x", str(deb), str(root)])
    except LabError as error:
        deb.unlink()  # else a download that was cut off would be found again for ever
        raise LabError(f"{error} Start again: that package will be downloaded anew.") from error


def _recipe() -> str:
    return hashlib.sha256("\n".join([RECIPE, *PACKAGES]).encode()).hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _check_machine() -> None:
    release = platform.freedesktop_os_release()
    if (release.get("ID"), release.get("VERSION_ID")) != ("debian", "12"):
        here = release.get("PRETTY_NAME", "something else")
        raise LabError(
            f"the lab is made of Debian 12's packages and this is {here}; "
            "run it on Debian 12, for instance in a container of the image debian:12."
        )
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise LabError(f"{tool} is missing: the lab downloads Debian packages with it.")


def _download(lab_folder: Path, progress: Progress) -> list[Path]:
    debs = lab_folder / "debs"
    debs.mkdir(parents=True, exist_ok=True)
    missing = [name for name in PACKAGES if not list(debs.glob(f"{name}_*.deb"))]
    if missing:
        progress(f"{len(missing)} Debian packages")
        _apt_download(lab_folder / "apt", debs, missing, progress)
    return [max(debs.glob(f"{name}_*.deb"), key=lambda deb: deb.stat().st_mtime) for name in PACKAGES]


def _apt_download(apt: Path, debs: Path, missing: Sequence[str], progress: Progress) -> None:
    """Download with the machine's package lists; where they are empty or old, with lists of our own."""
    config = _apt_config(apt, own_lists=False)
    if _apt(config, "download", *missing, cwd=debs).returncode == 0:
        return
    progress("fetching Debian's package lists, then the packages")
    config = _apt_config(apt, own_lists=True)
    update = _apt(config, "update", cwd=debs)
    answer = _apt(config, "download", *missing, cwd=debs)
    if answer.returncode != 0:
        raise LabError(_why_no_packages(update.stderr + answer.stderr))


def _why_no_packages(words: str) -> str:
    errors = [line for line in words.splitlines() if line.startswith(("E:", "W:"))]
    if "Unable to locate package" in words and "Failed to fetch" not in words:
        remedy = "add a Debian 12 (bookworm) source with 'main' to /etc/apt/sources.list."
    else:
        remedy = "is there a network? A proxy is named by the variables http_proxy and https_proxy."
    return f"apt-get cannot download the lab's packages: {remedy}\n" + "\n".join(errors[-3:])


def _apt_config(apt: Path, *, own_lists: bool) -> Path:
    """Write apt's configuration: all that it writes is below ``apt``, so a plain user can run it."""
    for part in ("cache/archives/partial", "lists/partial"):
        (apt / part).mkdir(parents=True, exist_ok=True)
    lists = f'Dir::State::lists "{apt}/lists";\n' if own_lists else ""
    config = apt / "apt.conf"
    config.write_text(APT_CONFIG.format(folder=apt) + lists)
    return config


def _apt(config: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    argv = ["/usr/bin/apt-get", "-q", "-c", str(config), *arguments]
    return subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)


def _run(argv: Sequence[str]) -> str:
    answer = subprocess.run(list(argv), capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise LabError(f"{argv[0]} failed: {answer.stderr.strip() or answer.stdout.strip()}")
    return answer.stdout


def _name_daemons(root: Path) -> None:
    """Make the links that Debian's alternatives make when the packages are installed.

    Under its packaged name slurmstepd does not know itself (it compares argv[0]) and its accounting crashes.
    """
    for daemon in ("slurmctld", "slurmd", "slurmstepd"):
        (root / "usr/sbin" / daemon).symlink_to(f"{daemon}-wlm")


def _keep_sudo_harmless(root: Path) -> None:
    """Unpacked by a plain user it would belong to them, and make whoever runs it that user."""
    if os.geteuid() != 0:
        (root / "usr/bin/sudo").chmod(0o755)


def _point_to_libraries(root: Path) -> None:
    plugins = _plugins(root)
    for plugin in plugins.glob("mpi_pmix*.so"):
        plugin.unlink()  # else every daemon logs that libpmix is missing
    libraries = f"$ORIGIN/../lib/{plugins.parent.name}"
    for program in _programs(root):
        _set_rpath(root, program, f"{libraries}:{libraries}/slurm-wlm")
    _set_rpath(root, plugins / "libslurmfull.so", "$ORIGIN:$ORIGIN/..")


def _set_rpath(root: Path, file: Path, rpath: str) -> None:
    # DT_RPATH, not RUNPATH: only the first holds for the libraries of plugins too
    _run([str(root / "usr/bin/patchelf"), "--force-rpath", "--set-rpath", rpath, str(file)])


def _plugins(root: Path) -> Path:
    return next((root / "usr/lib").glob("*/slurm-wlm"))


def _programs(root: Path) -> list[Path]:
    files = [*(root / "usr/sbin").iterdir(), *(root / "usr/bin").iterdir()]
    return [file for file in files if file.name not in UNCHANGED and _is_elf(file)]


def _is_elf(file: Path) -> bool:
    if file.is_symlink() or not file.is_file():
        return False
    with file.open("rb") as stream:
        return stream.read(4) == b"\x7fELF"


def _check_libraries(root: Path) -> None:
    daemons = ("slurmctld-wlm", "slurmd-wlm", "slurmstepd-wlm", "slurmdbd", "munged", "mariadbd", "sshd")
    needed = [*(root / "usr/sbin" / daemon for daemon in daemons), root / "usr/bin/redis-server"]
    answers = [_run(["ldd", str(program)]) for program in needed]
    missing = {line.split()[0] for answer in answers for line in answer.splitlines() if "not found" in line}
    if missing:
        raise LabError(
            f"libraries are missing on this machine: {', '.join(sorted(missing))}; apt install them."
        )
