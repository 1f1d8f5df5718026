"""Files on a head node: whole or not at all, within bounds, and never outside the folder."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from hybrid_hpc import remote_files
from hybrid_hpc.errors import ConnectionLost, Invalid, Refused, Unreadable
from hybrid_hpc.headnode import HeadNode, RemoteFile
from tests.unit.sshd import Sshd

pytest_plugins = ["tests.unit.sshd_fixtures"]

GIB = 1024**3


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest_asyncio.fixture
async def head_node(sshd: Sshd) -> AsyncIterator[HeadNode]:
    node = HeadNode("onprem", sshd.connect(), storage_root="~", timeout_s=5)
    yield node
    await node.close()


@pytest.fixture
def run_dir(sshd: Sshd) -> Path:
    """A run directory as jobs leave it, with traps."""
    root = sshd.home / "run"
    for name in (
        "a.csv",
        "b.csv",
        ".hidden.csv",
        "plots/1.png",
        "plots/deep/2.png",
        "odd\nname.csv",
        "[x].txt",
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (sshd.home / "secret.csv").write_text("secret")
    (root / "out.csv").symlink_to("../secret.csv")
    (root / "etc").symlink_to("/etc")
    (root / "up").symlink_to("..")
    (root / "latest.csv").symlink_to("a.csv")
    (root / "loop").symlink_to("loop")
    (root / "dangling.csv").symlink_to("nowhere")
    (root / "plots" / "again").symlink_to("../plots")
    os.mkfifo(root / "pipe.csv")
    return root


async def test_a_file_is_written_with_its_mode_whatever_the_umask_is(sshd: Sshd, head_node: HeadNode) -> None:
    path = sshd.home / "script"
    await head_node.write(str(path), "echo ünï\n", mode=0o755)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("echo ünï\n", 0o755)
    await head_node.write(str(path), "again\n")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("again\n", 0o600)
    assert names(sshd.home) == ["script"]


async def test_a_file_that_cannot_be_written_leaves_nothing(sshd: Sshd, head_node: HeadNode) -> None:
    with pytest.raises(Refused, match="cannot write"):
        await head_node.write(f"{sshd.home}/nowhere/script", "x")
    (sshd.home / "folder" / "full").mkdir(parents=True)
    with pytest.raises(Refused):
        await head_node.write(f"{sshd.home}/folder", "x")
    assert names(sshd.home) == ["folder"]


async def test_a_folder_is_made_with_those_above_it_for_us_alone(sshd: Sshd, head_node: HeadNode) -> None:
    for _ in range(2):
        await head_node.make_dir(f"{sshd.home}/a/b")
    assert (sshd.home / "a" / "b").stat().st_mode & 0o777 == 0o700


async def test_the_tail_of_a_gibibyte_costs_its_last_bytes(sshd: Sshd, head_node: HeadNode) -> None:
    path = sshd.home / "output.log"
    with path.open("wb") as file:
        file.truncate(GIB)
        file.seek(GIB)
        file.write(b"the end\n")
    text = await head_node.tail(str(path))
    assert text
    assert (len(text), text[-8:]) == (65536, "the end\n")
    assert sshd.read_bytes <= 65536


async def test_small_files_are_read_from_either_end(sshd: Sshd, head_node: HeadNode) -> None:
    path = sshd.home / "file"
    path.write_bytes(b"0123456789\xff")
    assert await head_node.tail(str(path), 3) == "89\ufffd"
    assert await head_node.read_small(str(path), 3) == "012"
    assert await head_node.tail(str(path)) == "0123456789\ufffd"
    path.write_bytes(b"")
    assert await head_node.tail(str(path)) == ""


@pytest.mark.parametrize("name", ["nowhere", "nowhere/deeper", "pipe.csv", "out.csv", "plots", "loop"])
async def test_what_is_no_regular_file_is_no_file(head_node: HeadNode, run_dir: Path, name: str) -> None:
    assert await head_node.tail(f"{run_dir}/{name}") is None
    assert await head_node.read_small(f"{run_dir}/{name}", 10) is None


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["a.csv"], ["a.csv"]),
        (["./a.csv", "a.*"], ["a.csv"]),
        (["*.csv"], ["a.csv", "b.csv", "latest.csv", "odd\nname.csv"]),
        ([".*.csv"], [".hidden.csv"]),
        (["?.csv"], ["a.csv", "b.csv"]),
        (["[ab].csv"], ["a.csv", "b.csv"]),
        (["[[]x].txt"], ["[x].txt"]),
        (["plots/*.png"], ["plots/1.png"]),
        (["**/*.png"], ["plots/1.png", "plots/deep/2.png"]),
        (["plots"], ["plots/1.png", "plots/deep/2.png"]),
        (["plots/**"], ["plots/1.png", "plots/deep/2.png"]),
        (["plots/again/1.png"], ["plots/again/1.png"]),
        (["latest.csv"], ["latest.csv"]),
        (["out.csv", "etc/passwd", "up/secret.csv", "up/*/a.csv"], []),
        (["loop", "dangling.csv", "pipe.csv", "nowhere", "nowhere/*", "a.csv/b"], []),
    ],
)
async def test_patterns_find_regular_files_below_the_folder(
    head_node: HeadNode, run_dir: Path, patterns: list[str], names: list[str]
) -> None:
    found = await head_node.find(str(run_dir), patterns)
    assert sorted(file.path for file in found) == names
    assert all(file.size == (run_dir / file.path).stat().st_size for file in found)


@pytest.mark.parametrize("pattern", ["../secret.csv", "plots/../../secret.csv", "/etc/passwd", "", ".", "//"])
async def test_a_pattern_that_leads_out_is_refused(head_node: HeadNode, run_dir: Path, pattern: str) -> None:
    with pytest.raises(Invalid, match="run directory"):
        await head_node.find(str(run_dir), [pattern])


async def test_a_folder_that_is_gone_has_no_files(sshd: Sshd, head_node: HeadNode) -> None:
    assert await head_node.find(f"{sshd.home}/gone", ["*", "exit", "**"]) == []


async def test_too_many_files_are_refused_not_looked_through(
    head_node: HeadNode, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_files, "MOST_ENTRIES", 5)
    with pytest.raises(Refused, match="more than 5 files"):
        await head_node.find(str(run_dir), ["**"])


async def test_a_file_is_fetched_as_it_is(head_node: HeadNode, run_dir: Path, tmp_path: Path) -> None:
    content = os.urandom(3 * 1024**2 + 7)
    (run_dir / "big.bin").write_bytes(content)
    (file,) = await head_node.find(str(run_dir), ["big.bin"])
    await head_node.fetch(str(run_dir), file, tmp_path / "big.bin")
    assert (tmp_path / "big.bin").read_bytes() == content


async def test_files_with_any_name_are_fetched(head_node: HeadNode, run_dir: Path, tmp_path: Path) -> None:
    (run_dir / "\udcff.bin").write_text("x")  # the byte 0xFF
    for file in await head_node.find(str(run_dir), ["*.csv", "*.bin"]):
        await head_node.fetch(str(run_dir), file, tmp_path / "copy")
        assert (tmp_path / "copy").stat().st_size == file.size


@pytest.mark.parametrize("path", ["out.csv", "up/secret.csv", "../secret.csv", "etc/passwd"])
async def test_a_file_outside_the_folder_is_not_fetched(
    head_node: HeadNode, run_dir: Path, tmp_path: Path, path: str
) -> None:
    with pytest.raises(Refused, match="leads out"):
        await head_node.fetch(str(run_dir), RemoteFile(path, 6), tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("change", [-1, 1])
async def test_a_file_that_changes_meanwhile_is_not_left_half(
    head_node: HeadNode, run_dir: Path, tmp_path: Path, change: int
) -> None:
    (file,) = await head_node.find(str(run_dir), ["a.csv"])
    target = tmp_path / "copies" / "a.csv"
    target.parent.mkdir()
    with pytest.raises(Unreadable, match="has changed"):
        await head_node.fetch(str(run_dir), replace(file, size=file.size + change), target)
    assert names(target.parent) == []


async def test_a_connection_lost_in_the_middle_leaves_no_part(
    sshd: Sshd, head_node: HeadNode, run_dir: Path, tmp_path: Path
) -> None:
    (run_dir / "big.bin").write_bytes(bytes(8 * 1024**2))
    (file,) = await head_node.find(str(run_dir), ["big.bin"])
    target = tmp_path / "copies" / "big.bin"
    target.parent.mkdir()
    sshd.drop_after_bytes = 2 * 1024**2
    with pytest.raises(ConnectionLost, match=r"big\.bin"):
        await head_node.fetch(str(run_dir), file, target)
    assert names(target.parent) == []
    sshd.drop_after_bytes = None
    await head_node.fetch(str(run_dir), file, target)
    assert target.stat().st_size == file.size


async def test_a_lost_connection_is_made_anew_for_files(sshd: Sshd, head_node: HeadNode) -> None:
    await head_node.write(f"{sshd.home}/a", "1")
    sshd.drop_all()
    await asyncio.sleep(0)
    for _ in range(2):  # the first may meet the connection while it is going
        try:
            await head_node.write(f"{sshd.home}/a", "2")
        except ConnectionLost:
            continue
    assert (sshd.home / "a").read_text() == "2"
    assert head_node.connections_made == 2
