"""Commands on a head node, over real sockets to a server that misbehaves as real ones do."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncssh
import pytest
import pytest_asyncio

from hybrid_hpc import headnode
from hybrid_hpc.commands import Command
from hybrid_hpc.errors import (
    AccessDenied,
    ConnectionLost,
    HybridHpcError,
    Refused,
    Shut,
    Unreachable,
    Unreadable,
)
from hybrid_hpc.headnode import HeadNode
from tests.unit.sshd import OTHER_KEY, Sshd

pytest_plugins = ["tests.unit.sshd_fixtures"]

HELLO = Command(("echo", "hello"))


@pytest_asyncio.fixture
async def head_node(sshd: Sshd) -> AsyncIterator[HeadNode]:
    node = HeadNode("onprem", sshd.connect(), storage_root="~/runs", timeout_s=5)
    yield node
    await node.close()


def failing(error: BaseException) -> Callable[[], Awaitable[asyncssh.SSHClientConnection]]:
    async def connect() -> asyncssh.SSHClientConnection:
        raise error

    return connect


async def test_nothing_is_connected_before_it_is_needed(sshd: Sshd, head_node: HeadNode) -> None:
    assert (head_node.connections_made, sshd.login_attempts) == (0, 0)
    await head_node.run(HELLO)
    assert (head_node.connections_made, sshd.login_attempts) == (1, 1)


async def test_a_command_gives_status_stdout_and_stderr(head_node: HeadNode) -> None:
    answer = await head_node.run(Command(("sh", "-c", "echo out; echo err >&2; exit 3")))
    assert (answer.exit_status, answer.stdout, answer.stderr) == (3, "out\n", "err\n")


@pytest.mark.parametrize(
    "word", ["two words", "it's", '"', "$HOME", "`id`", "a\nb", "*", "~", "", "-n", "ünï", "\\", "; exit 9"]
)
async def test_an_argument_arrives_as_it_is(head_node: HeadNode, word: str) -> None:
    answer = await head_node.run(Command(("printf", "%s.", word)))
    assert (answer.exit_status, answer.stdout) == (0, f"{word}.")


async def test_stdin_arrives_whole(head_node: HeadNode) -> None:
    text = "line ünï\n" * 100_000
    answer = await head_node.run(Command(("cat",), stdin=text))
    assert answer.stdout == text


async def test_a_command_that_does_not_read_its_stdin_still_answers(head_node: HeadNode) -> None:
    answer = await head_node.run(Command(("hh-deaf",), stdin="x" * 3_000_000))
    assert answer.exit_status == 3


async def test_bytes_that_are_no_utf8_are_replaced(head_node: HeadNode) -> None:
    assert (await head_node.run(Command(("hh-bytes",)))).stdout == "ok \ufffd\ufffd \ufffd\n"


async def test_many_commands_share_one_connection_four_at_a_time(sshd: Sshd, head_node: HeadNode) -> None:
    answers = await asyncio.gather(*(head_node.run(Command(("sleep", "0.05"))) for _ in range(20)))
    assert all(answer.ok for answer in answers)
    assert head_node.connections_made == 1
    assert sshd.most_at_once == 4
    assert head_node.commands_run == {"sleep": 20}


async def test_commands_are_counted_by_their_label(head_node: HeadNode) -> None:
    await head_node.run(Command(("echo",), label="load"))
    assert head_node.commands_run == {"load": 1}


async def test_after_a_loss_the_next_command_connects_anew(sshd: Sshd, head_node: HeadNode) -> None:
    await head_node.run(HELLO)
    sshd.drop_all()
    answer = None
    for _ in range(2):  # the first may meet the connection while it is going
        try:
            answer = await head_node.run(HELLO)
        except (ConnectionLost, Unreachable):
            continue
    assert answer
    assert answer.stdout == "hello\n"
    assert head_node.connections_made == 2


async def test_an_answer_that_is_cut_is_lost_not_short(head_node: HeadNode) -> None:
    with pytest.raises(ConnectionLost, match="hh-drop"):
        await head_node.run(Command(("hh-drop",)))


async def test_an_answer_without_an_exit_status_is_lost_not_a_success(head_node: HeadNode) -> None:
    with pytest.raises(ConnectionLost, match="without an exit status"):
        await head_node.run(Command(("hh-no-status",)))


async def test_a_command_that_is_killed_has_no_known_effect(head_node: HeadNode) -> None:
    with pytest.raises(ConnectionLost, match="signal KILL"):
        await head_node.run(Command(("hh-killed",)))


@pytest.mark.parametrize("command", ["hh-silent", "hh-trickle"])
async def test_a_command_ends_at_its_total_time_out(head_node: HeadNode, command: str) -> None:
    began = time.monotonic()
    with pytest.raises(ConnectionLost, match="no answer within"):
        await head_node.run(Command((command,)), timeout_s=0.3)
    assert time.monotonic() - began < 3
    assert (await head_node.run(HELLO)).ok


async def test_a_time_out_does_not_disturb_the_commands_beside_it(head_node: HeadNode) -> None:
    beside = asyncio.create_task(head_node.run(Command(("sleep", "0.8"))))
    with pytest.raises(ConnectionLost):
        await head_node.run(Command(("hh-silent",)), timeout_s=0.2)
    assert (await beside).ok
    assert head_node.connections_made == 1


async def test_a_refused_channel_is_asked_for_again(sshd: Sshd, head_node: HeadNode) -> None:
    sshd.refused_channels = 3
    assert (await head_node.run(HELLO)).ok
    assert len(sshd.commands) == 1


async def test_channels_that_are_refused_for_ever_are_unreachable(sshd: Sshd, head_node: HeadNode) -> None:
    sshd.refused_channels = 1000
    with pytest.raises(Unreachable, match="opens no channel"):
        await head_node.run(HELLO)
    assert sshd.commands == []


async def test_a_command_that_was_sent_is_never_sent_again(sshd: Sshd, head_node: HeadNode) -> None:
    """sshd took the request and then refused or lost it: the same words mean both."""
    with pytest.raises(ConnectionLost):
        await head_node.run(Command(("hh-refused",)))
    assert sshd.commands == ["hh-refused"]


async def test_an_answer_without_bound_is_not_taken(
    head_node: HeadNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(headnode, "MAX_OUTPUT", 1000)
    with pytest.raises(Unreadable, match="64 MiB"):
        await head_node.run(Command(("head", "-c", "5000", "/dev/zero")))
    assert (await head_node.run(HELLO)).ok


async def test_a_port_where_nobody_listens_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        node = HeadNode(
            "onprem",
            lambda: asyncssh.connect("127.0.0.1", port, config=None, agent_path=None),
            storage_root="/tmp",
        )
        with pytest.raises(Unreachable, match="onprem: no SSH connection"):
            await node.run(HELLO)


@pytest.mark.parametrize(
    "error",
    [
        socket.gaierror(-2, "Name or service not known"),
        ConnectionResetError("reset"),
        asyncssh.ConnectionLost("Connection lost"),
        asyncssh.DisconnectError(2, "busy"),
        TimeoutError(),
    ],
)
async def test_a_connection_that_cannot_be_made_is_unreachable(error: BaseException) -> None:
    node = HeadNode("onprem", failing(error), storage_root="/tmp")
    with pytest.raises(Unreachable, match="onprem"):
        await node.run(HELLO)


async def test_a_connection_that_hangs_is_unreachable_in_time() -> None:
    async def connect() -> asyncssh.SSHClientConnection:
        await asyncio.Event().wait()
        raise AssertionError

    node = HeadNode("onprem", connect, storage_root="/tmp", timeout_s=0.2)
    with pytest.raises(Unreachable):
        await node.run(HELLO)


async def test_a_changed_host_key_is_denied_before_anything_is_sent(sshd: Sshd) -> None:
    node = HeadNode("onprem", sshd.connect(host_key=OTHER_KEY), storage_root="/tmp")
    with pytest.raises(AccessDenied, match="onprem"):
        await node.run(HELLO)
    assert (sshd.login_attempts, sshd.commands) == (0, [])


async def test_a_key_that_is_not_accepted_is_tried_once(sshd: Sshd) -> None:
    node = HeadNode("onprem", sshd.connect(key=OTHER_KEY), storage_root="/tmp")
    with pytest.raises(AccessDenied):
        await node.run(HELLO)
    for _ in range(5):
        with pytest.raises(Shut):
            await node.run(HELLO)
    assert sshd.login_attempts == 1


async def test_our_own_errors_pass_through() -> None:
    node = HeadNode("onprem", failing(AccessDenied("no_host_key_check is set")), storage_root="/tmp")
    with pytest.raises(AccessDenied, match="no_host_key_check"):
        await node.run(HELLO)


async def test_commands_that_come_at_once_make_one_connection(sshd: Sshd, head_node: HeadNode) -> None:
    await asyncio.gather(*(head_node.run(HELLO) for _ in range(10)))
    assert sshd.login_attempts == 1


async def test_closing_twice_is_harmless_and_the_next_use_connects(head_node: HeadNode) -> None:
    await head_node.close()
    await head_node.run(HELLO)
    await head_node.close()
    await head_node.close()
    assert (await head_node.run(HELLO)).ok
    assert head_node.connections_made == 2


@pytest.mark.parametrize(
    ("root", "resolved"),
    [
        ("~", "{home}"),
        ("~/runs", "{home}/runs"),
        ("$PLACE/runs", "{home}/place/runs"),
        ("${PLACE}", "{home}/place"),
        ("$FROM_PROFILE/x/y/", "{home}/profile/x/y"),
        ("{home}/with space", "{home}/with space"),
    ],
)
async def test_the_storage_root_is_resolved_on_the_head_node(sshd: Sshd, root: str, resolved: str) -> None:
    home = str(sshd.home)
    sshd.environment["PLACE"] = f"{home}/place"
    (sshd.home / ".bash_profile").write_text(f"echo Welcome\nexport FROM_PROFILE={home}/profile\n")
    node = HeadNode("onprem", sshd.connect(), storage_root=root.replace("{home}", home))
    assert await node.storage() == resolved.replace("{home}", home)
    await node.close()


async def test_the_storage_root_is_ours_alone_and_looked_at_once(sshd: Sshd, head_node: HeadNode) -> None:
    assert await head_node.storage() == await head_node.storage()
    assert (sshd.home / "runs").stat().st_mode & 0o777 == 0o700
    assert head_node.commands_run["storage"] == 1


async def test_the_storage_root_is_looked_at_again_on_a_new_connection(head_node: HeadNode) -> None:
    await head_node.storage()
    await head_node.close()
    await head_node.run(HELLO)
    await head_node.storage()
    assert head_node.commands_run["storage"] == 2


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
async def test_a_storage_root_that_others_can_write_is_refused_with_the_remedy(
    sshd: Sshd, head_node: HeadNode, mode: int
) -> None:
    (sshd.home / "runs").mkdir()
    (sshd.home / "runs").chmod(mode)
    with pytest.raises(Refused, match="chmod 700"):
        await head_node.storage()


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o2775])
async def test_a_folder_above_the_storage_root_in_which_others_may_rename_is_refused_by_name(
    sshd: Sshd, mode: int
) -> None:
    above = sshd.home / "scratch" / "svc"
    above.mkdir(parents=True)
    node = HeadNode("onprem", sshd.connect(), storage_root=f"{above}/hybrid-hpc", timeout_s=5)
    above.parent.chmod(mode)
    with pytest.raises(Refused, match=f"{above.parent} is writable for others .*chmod go-w"):
        await node.storage()
    above.parent.chmod(0o1777)  # as /tmp: what is ours there stays ours
    assert await node.storage() == f"{above}/hybrid-hpc"
    await node.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder or link to somebody else")
@pytest.mark.parametrize("theirs", ["scratch", "real", "real/svc"])
async def test_what_is_somebody_elses_above_the_storage_root_is_refused_links_too(
    sshd: Sshd, theirs: str
) -> None:
    (sshd.home / "real" / "svc").mkdir(parents=True)
    (sshd.home / "scratch").symlink_to("./real/../real")
    root = f"{sshd.home}/scratch/svc/hybrid-hpc"
    node = HeadNode("onprem", sshd.connect(), storage_root=root, timeout_s=5)
    assert await node.storage() == root
    os.chown(sshd.home / theirs, 12345, 12345, follow_symlinks=False)
    await node.close()
    await node.run(HELLO)
    with pytest.raises(Refused, match="belongs to uid 12345"):
        await node.storage()
    await node.close()


async def test_a_word_that_is_no_text_is_refused_and_the_connection_goes_on(head_node: HeadNode) -> None:
    with pytest.raises(Refused, match="is not UTF-8"):
        await head_node.run(Command(("cat", "b\udcff.csv")))
    assert (await head_node.run(HELLO)).ok


@pytest.mark.parametrize(
    ("root", "why"),
    [
        ("relative", "not absolute"),
        ("~other/runs", "not absolute"),
        ("$UNSET/runs", "not set there"),
        ("$EMPTY/runs", "not set there"),
        ("$RELATIVE/runs", "not absolute"),
        ("/proc/nowhere", "cannot be made"),
        ("", "cannot be made"),
    ],
)
async def test_a_storage_root_that_cannot_be_is_refused_with_the_reason(
    sshd: Sshd, root: str, why: str
) -> None:
    sshd.environment |= {"EMPTY": "", "RELATIVE": "here"}
    node = HeadNode("onprem", sshd.connect(), storage_root=root)
    with pytest.raises(HybridHpcError, match=why):
        await node.storage()
    await node.close()
