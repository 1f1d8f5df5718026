"""`hybrid-hpc-as` runs the commands of its list and nothing else, and stays inside the run directories."""

from __future__ import annotations

import ast
import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from head_node import hybrid_hpc_as as wrapper
from hybrid_hpc.allowed_commands import FILE, text
from hybrid_hpc.commands import Command
from hybrid_hpc.request import read_request
from hybrid_hpc.schedulers import SCHEDULERS, scheduler
from hybrid_hpc.schedulers.base import Submission
from tests.unit.wrapper_world import OTHER, TOKEN, Wrapped

PROGRAM = Path(wrapper.__file__)


@pytest.fixture
def wrapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wrapped:
    world = Wrapped(tmp_path, monkeypatch)
    (world.storage / TOKEN).mkdir(parents=True)
    return world


def commands(storage: Path) -> list[Command]:
    request = read_request({"name": "x", "script": "echo \u00fc\n" * 500})
    return [
        command
        for language in map(scheduler, SCHEDULERS)
        for command in (
            language.submit_command(Submission(OTHER, request, "batch", f"{storage}/{OTHER}")),
            language.find_command(OTHER),
            language.release_command("12", OTHER),
            language.cancel_command("4294967295", OTHER),
            language.withdraw_command("12", OTHER, f"{storage}/{OTHER}"),
        )
    ]


def test_the_list_that_is_shipped_is_that_of_the_code() -> None:
    assert FILE.read_text() == text(), "run python -m hybrid_hpc.allowed_commands --write"


def test_it_becomes_every_command_that_a_job_needs_in_an_environment_of_its_own(wrapped: Wrapped) -> None:
    for command in commands(wrapped.storage):
        assert wrapped.ask("run", *command.argv).exit_status == 0
        argv, environment = wrapped.became.pop()
        assert argv == command.argv
        assert set(environment) == {"HOME", "USER", "LOGNAME", "SHELL", "PATH", "SLURM_CONF"}


@pytest.mark.parametrize(
    "hostile", ["hh-abc", "x; id", "$(id)", "-x", "", "hh-aaaaaaaaaaaa\n", "../..", "0" * 11]
)
def test_it_refuses_each_of_them_when_a_word_is_changed_left_out_or_added(
    wrapped: Wrapped, hostile: str
) -> None:
    for command in commands(wrapped.storage):
        argv = command.argv
        for place in range(len(argv)):
            changed = [(*argv[:place], hostile, *argv[place + 1 :]), (*argv[:place], *argv[place + 1 :])]
            for words in (*changed, (*argv[:place], hostile, *argv[place:]), (*argv, hostile)):
                assert wrapped.ask("run", *words).exit_status == wrapper.REFUSED, words
    assert wrapped.became == []


def test_a_run_directory_of_somebody_else_is_not_withdrawn_from(wrapped: Wrapped) -> None:
    withdraw = commands(wrapped.storage)[-1].argv
    for place in ("/scratch/bob", f"{wrapped.storage}/../bob", f"{wrapped.storage}/{TOKEN}/x"):
        answer = wrapped.ask("run", *withdraw[:-1], f"{place}/{OTHER}")
        assert answer.exit_status == wrapper.REFUSED
    assert wrapped.became == []


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("sh", "-c", "id"),
        ("run",),
        ("run", "sh"),
        ("storage", "/etc"),
        ("make", ".."),
        ("make", "hh-abc"),
        ("make", f"{TOKEN}/x"),
        ("write", TOKEN, "../x", "600", "0"),
        ("write", TOKEN, ".bashrc", "600", "0"),
        ("write", TOKEN, "script", "4755", "0"),
        ("write", TOKEN, "script", "700", "-1"),
        ("write", "..", "script", "700", "0"),
        ("list", "..", "below"),
        ("list", f"{TOKEN}/..", "here"),
        ("list", TOKEN),
        ("list", TOKEN, "2"),
        ("read", "..", "x", "0", "1"),
        ("read", TOKEN, "x", "0x1", "1"),
    ],
)
def test_other_words_are_refused_and_change_nothing(wrapped: Wrapped, words: tuple[str, ...]) -> None:
    answer = wrapped.ask(*words)
    assert (answer.exit_status, answer.stdout) == (wrapper.REFUSED, "")
    assert answer.stderr.startswith("hybrid-hpc-as: ")
    assert list(wrapped.storage.rglob("*")) == [wrapped.storage / TOKEN]


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "out", "up/secret", "pipe", ".", "", "nowhere"])
def test_nothing_outside_the_run_directory_is_read(wrapped: Wrapped, path: str) -> None:
    run_dir = wrapped.storage / TOKEN
    (wrapped.storage / "secret").write_text("secret")
    (run_dir / "out").symlink_to("../secret")
    (run_dir / "up").symlink_to("..")
    os.mkfifo(run_dir / "pipe")
    answer = wrapped.ask("read", TOKEN, path, "0", "100")
    assert (answer.exit_status, answer.stdout) == (wrapper.NO_FILE, "")


def test_a_script_that_did_not_arrive_whole_is_not_written(wrapped: Wrapped) -> None:
    for sent in (b"true", b"true\ntrue\n"):
        assert wrapped.ask("write", TOKEN, "script", "700", "5", stdin=sent).exit_status == wrapper.CUT
    assert list((wrapped.storage / TOKEN).iterdir()) == []
    assert wrapped.ask("write", TOKEN, "script", "700", "5", stdin=b"true\n").exit_status == 0
    script = wrapped.storage / TOKEN / "script"
    assert (script.read_text(), script.stat().st_mode & 0o7777) == ("true\n", 0o700)


def test_a_run_directory_that_others_may_write_is_refused(wrapped: Wrapped) -> None:
    wrapped.storage.chmod(0o770)
    assert wrapped.ask("storage").exit_status == wrapper.REFUSED
    wrapped.storage.chmod(0o700)
    assert wrapped.ask("storage").stdout == f"hh-storage {wrapped.storage}\n"


def new_storage(wrapped: Wrapped, *folders: str) -> Path:
    """A storage that is not there yet, below folders that are."""
    above = wrapped.storage.parent.joinpath(*folders)
    above.mkdir(parents=True)
    wrapped.account.storage = wrapped.storage = above / "hybrid-hpc"
    return above


def asked_for_a_job(wrapped: Wrapped) -> list[int]:
    """The answers to all that is written for a job."""
    script = ("write", TOKEN, "script", "700", "5")
    return [
        wrapped.ask(*words, stdin=b"true\n").exit_status
        for words in (("storage",), ("make", TOKEN), script, ("list", TOKEN, "here"))
    ]


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o2775, 0o757])
def test_a_folder_above_in_which_others_may_rename_is_refused_with_its_name_and_the_remedy(
    wrapped: Wrapped, mode: int
) -> None:
    above = new_storage(wrapped, "scratch", "ada")
    assert asked_for_a_job(wrapped) == [0] * 4
    above.parent.chmod(mode)
    assert asked_for_a_job(wrapped) == [wrapper.REFUSED] * 4
    said = wrapped.ask("storage").stderr
    assert f"{above.parent} is writable for others (mode {mode:o})" in said
    assert "chmod go-w" in said
    above.parent.chmod(0o1777)  # they may make what they like, and rename nothing of ours
    assert asked_for_a_job(wrapped) == [0] * 4


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_what_somebody_else_has_made_above_is_refused(wrapped: Wrapped) -> None:
    above = new_storage(wrapped, "scratch", "ada")
    above.parent.chmod(0o1777)
    os.chown(above, 12345, 12345)
    above.chmod(0o755)
    assert asked_for_a_job(wrapped) == [wrapper.REFUSED] * 4
    assert f"{above} belongs to uid 12345" in wrapped.ask("storage").stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link to somebody else")
def test_a_link_above_counts_as_whoever_made_it_and_as_all_that_it_leads_through(wrapped: Wrapped) -> None:
    folder, real = wrapped.storage.parent, new_storage(wrapped, "lustre", "ada")
    link = folder / "scratch"
    link.symlink_to("./lustre/../lustre")
    wrapped.account.storage = link / "ada" / "hybrid-hpc"
    assert asked_for_a_job(wrapped) == [0] * 4
    assert (real / "hybrid-hpc" / TOKEN / "script").exists()
    real.parent.chmod(0o777)
    assert asked_for_a_job(wrapped) == [wrapper.REFUSED] * 4
    real.parent.chmod(0o755)
    os.chown(link, 12345, 12345, follow_symlinks=False)
    assert asked_for_a_job(wrapped) == [wrapper.REFUSED] * 4
    assert f"{link} belongs to uid 12345" in wrapped.ask("storage").stderr


def test_a_run_directory_that_is_exchanged_for_a_link_or_opened_to_others_is_not_written_to(
    wrapped: Wrapped,
) -> None:
    run_dir = wrapped.storage / TOKEN
    run_dir.chmod(0o777)
    write = ("write", TOKEN, "script", "700", "5")
    assert wrapped.ask(*write, stdin=b"true\n").exit_status == wrapper.REFUSED
    assert list(run_dir.iterdir()) == []


def test_a_storage_that_cannot_be_made_is_told_in_a_sentence(wrapped: Wrapped) -> None:
    (wrapped.storage.parent / "file").write_text("")
    wrapped.account.storage = wrapped.storage.parent / "file" / "hybrid-hpc"
    answer = wrapped.ask("storage")
    assert answer.exit_status == wrapper.NO_FOLDER
    assert "cannot be made or entered: Not a directory" in answer.stderr
    wrapped.account.storage = wrapped.storage.parent / "file"
    assert wrapped.ask("storage").exit_status == wrapper.NO_FOLDER


def test_more_files_than_can_be_listed_are_no_refusal_to_act(
    wrapped: Wrapped, monkeypatch: pytest.MonkeyPatch
) -> None:
    (wrapped.storage / TOKEN / "deep").mkdir()
    for number in range(9):
        (wrapped.storage / TOKEN / "deep" / str(number)).touch()
    monkeypatch.setattr(wrapper, "MOST_FILES", 5)
    assert wrapped.ask("list", TOKEN, "here").exit_status == 0
    answer = wrapped.ask("list", TOKEN, "below")
    assert (answer.exit_status, answer.stdout) == (wrapper.TOO_MANY, "")
    assert "more than 5 files" in answer.stderr
    monkeypatch.undo()
    monkeypatch.setattr(wrapper, "MOST_SECONDS", -1.0)
    assert wrapped.ask("list", TOKEN, "below").exit_status == wrapper.TOO_MANY


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be refused for being root")
def test_root_is_refused() -> None:
    done = subprocess.run([sys.executable, PROGRAM, "storage"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (wrapper.REFUSED, "")
    assert "never as root" in done.stderr


def test_an_account_of_the_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"path": "/usr/bin", "storage": str(tmp_path)}
    monkeypatch.setattr(wrapper, "trusted_json", lambda path: settings if "settings" in path.name else [])
    for name in ("getuid", "geteuid"):
        monkeypatch.setattr(os, name, lambda: pwd.getpwnam("daemon").pw_uid)
    with pytest.raises(SystemExit) as end:
        wrapper.account_in(tmp_path)
    assert end.value.code == wrapper.REFUSED


def test_files_that_others_could_have_written_are_not_believed(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"path": "/tmp/evil"}))
    file.chmod(0o666)
    with pytest.raises(SystemExit) as end:
        wrapper.trusted_json(file)
    assert end.value.code == wrapper.REFUSED


def test_it_is_written_for_the_oldest_python_that_it_names() -> None:
    assert ast.parse(PROGRAM.read_text(), feature_version=(3, 9))
