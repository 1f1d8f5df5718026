"""A head node as a person: the same files as over SFTP; refusals say what an administrator is to do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from head_node import hybrid_hpc_as as wrapper
from hybrid_hpc.commands import Answer, Command
from hybrid_hpc.errors import AccessDenied, Refused, Unreadable
from hybrid_hpc.headnode import HeadNode, RemoteFile
from hybrid_hpc.schedulers import scheduler
from tests.unit.sshd import Sshd
from tests.unit.wrapper_world import OTHER, TOKEN, Wrapped

pytest_plugins = ["tests.unit.sshd_fixtures"]

CANCEL = scheduler("slurm").cancel_command("12", TOKEN)
PATTERNS = [
    *("*", "*.csv", "**", "**/*.png", "plots", "plots/*", "plots/again/*.png", "a.csv", ".hidden.csv", "no"),
    *("latest.csv", "out.csv", "etc/*", "up/*", "loop", "dangling.csv", "lost.csv", "pipe.csv", "odd*"),
]


@pytest.fixture
def wrapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wrapped:
    return Wrapped(tmp_path, monkeypatch)


@pytest.fixture
async def run_dir(wrapped: Wrapped) -> Path:
    """A run directory, made by the wrapper, as jobs leave it, with traps."""
    root = Path(await wrapped.node.storage()) / TOKEN
    await wrapped.node.make_dir(str(root))
    for name in ("a.csv", ".hidden.csv", "plots/1.png", "plots/deep/2.png", "odd\nname.csv", "b\udcff.csv"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name.encode(errors="replace").decode())
    (root.parent / "secret.csv").write_text("secret")
    links = {"out.csv": "../secret.csv", "etc": "/etc", "up": "..", "latest.csv": "a.csv", "loop": "loop"}
    for name, target in {
        **links,
        "dangling.csv": "nowhere",
        "lost.csv": "plots/nowhere",
        "plots/again": "../plots",
    }.items():
        (root / name).symlink_to(target)
    os.mkfifo(root / "pipe.csv")
    return root


@pytest.mark.parametrize("pattern", PATTERNS)
async def test_the_same_files_are_found_as_over_sftp(
    wrapped: Wrapped, run_dir: Path, sshd: Sshd, pattern: str
) -> None:
    over_sftp = HeadNode("onprem", sshd.connect(), storage_root="~", timeout_s=5)
    try:
        expected = await over_sftp.find(str(run_dir), [pattern])
    finally:
        await over_sftp.close()
    found = await wrapped.node.find(str(run_dir), [pattern])
    assert sorted(file.path for file in found) == sorted(file.path for file in expected)
    assert {file.path: file.size for file in found} == {file.path: file.size for file in expected}


@pytest.mark.parametrize("pattern", ["exit", "*.csv", "latest.csv", "nowhere", "end*"])
async def test_what_lies_in_folders_is_not_looked_through_for_a_pattern_that_leads_into_none(
    wrapped: Wrapped, run_dir: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    (run_dir / "end.csv").symlink_to("plots/deep/end.csv")
    for number in range(50):
        (run_dir / "plots" / "deep" / f"{number}.csv").touch()
    (run_dir / "plots" / "deep" / "end.csv").write_text("the end")
    (run_dir / "exit").touch()
    monkeypatch.setattr(wrapper, "MOST_FILES", 30)
    found = {file.path: file.size for file in await wrapped.node.find(str(run_dir), [pattern])}
    assert found.get("end.csv", 7) == 7
    assert bool(found) == (pattern != "nowhere")
    with pytest.raises(Refused, match="more than 30 files"):
        await wrapped.node.find(str(run_dir), ["**/*.csv"])


async def test_a_large_file_is_asked_for_in_large_blocks(wrapped: Wrapped, run_dir: Path) -> None:
    (run_dir / "large").write_bytes(bytes(9 * 1024**2))
    await wrapped.node.fetch(str(run_dir), RemoteFile("large", 9 * 1024**2), wrapped.storage.parent / "large")
    assert wrapped.asked.count("read") == 4, "each is a sudo and a Python; the last finds the end"


async def test_a_file_whose_name_is_no_text_is_refused_and_nothing_is_sent(
    wrapped: Wrapped, run_dir: Path
) -> None:
    (file,) = await wrapped.node.find(str(run_dir), ["b?.csv"])
    asked = list(wrapped.asked)
    with pytest.raises(Refused, match="not UTF-8"):
        await wrapped.node.fetch(str(run_dir), file, wrapped.storage.parent / "copy")
    assert wrapped.asked == asked


async def test_a_file_comes_back_whole_over_several_blocks(wrapped: Wrapped, run_dir: Path) -> None:
    content = os.urandom(9 * 1024**2)
    (run_dir / "large").write_bytes(content)
    target = wrapped.storage.parent / "large"
    await wrapped.node.fetch(str(run_dir), RemoteFile("large", len(content)), target)
    assert target.read_bytes() == content


@pytest.mark.parametrize("size", [3, 8])
async def test_a_file_that_has_changed_is_not_brought_back(
    wrapped: Wrapped, run_dir: Path, size: int
) -> None:
    target = wrapped.storage.parent / "target"
    with pytest.raises(Unreadable):
        await wrapped.node.fetch(str(run_dir), RemoteFile("a.csv", size), target)
    assert not target.exists()


async def test_files_are_written_and_read_from_either_end(wrapped: Wrapped, run_dir: Path) -> None:
    node, script = wrapped.node, f"{run_dir}/script"
    await node.write(script, "echo \u00fcn\u00ef\n", mode=0o700)
    assert (run_dir / "script").stat().st_mode & 0o777 == 0o700
    assert await node.read_small(script, 4) == "echo"
    assert await node.tail(script, 3) == "\u00ef\n"
    assert await node.tail(f"{run_dir}/out.csv") is None
    assert await node.read_small(f"{run_dir}/claimed/native_id", 10) is None


async def test_a_path_in_no_run_directory_is_not_asked_for(wrapped: Wrapped) -> None:
    with pytest.raises(Refused, match="is in no run directory"):
        await wrapped.node.write("/home/ada/.bashrc", "id\n")


async def test_a_command_of_a_job_is_run_as_the_person(wrapped: Wrapped) -> None:
    await wrapped.node.run(CANCEL)
    assert [argv for argv, _ in wrapped.became] == [CANCEL.argv]


async def test_a_command_that_is_not_on_the_list_is_refused_with_the_remedy(wrapped: Wrapped) -> None:
    with pytest.raises(
        AccessDenied, match=r"onprem: cannot act as ada: .*not on the list.*sudo rule.*security\.md"
    ):
        await wrapped.node.run(Command(("sh", "-c", "id")))


@pytest.mark.parametrize(
    "said",
    [
        "sudo: a password is required",
        "sudo: unknown user ada\nsudo: error initializing audit plugin sudoers_audit",
        "sudo: /opt/hh/as: command not found",
        "sudo: account validation failure, is your account locked?",
        "hybrid is not in the sudoers file.",
        "Sorry, user hybrid is not allowed to execute '/opt/hh/as' as ada on login1.",
        "sudo: unable to resolve host login1\nsudo: a password is required",
    ],
)
async def test_what_sudo_refuses_was_not_done_and_is_a_matter_for_an_administrator(
    wrapped: Wrapped, said: str
) -> None:
    wrapped.says = Answer(1, "", said)
    with pytest.raises(AccessDenied, match=r"cannot act as ada"):
        await wrapped.node.run(CANCEL)
    with pytest.raises(AccessDenied):
        await wrapped.node.storage()


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (1, "sudo: unable to resolve host login1: Name or service not known\nscancel: error: no"),
        (1, "sbatch: error: Socket timed out"),
        (77, "sbatch: error: something else"),
        (0, "sudo: unable to resolve host login1"),
    ],
)
async def test_what_the_scheduler_says_is_left_to_its_reader_as_the_effect_is_not_known(
    wrapped: Wrapped, status: int, said: str
) -> None:
    wrapped.says = Answer(status, "", said)
    assert await wrapped.node.run(CANCEL) == wrapped.says


async def test_an_answer_that_makes_no_sense_is_unreadable(wrapped: Wrapped, run_dir: Path) -> None:
    for said in ("", "{}", '{"size": 1, "data": "?"}', "[", "null"):
        wrapped.says = Answer(0, said, "")
        with pytest.raises(Unreadable):
            await wrapped.node.read_small(f"{run_dir}/a.csv", 10)


async def test_two_jobs_do_not_share_a_run_directory(wrapped: Wrapped, run_dir: Path) -> None:
    assert await wrapped.node.read_small(f"{run_dir.parent}/{OTHER}/a.csv", 10) is None
