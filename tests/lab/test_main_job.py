"""A job's whole way on the real clusters, the same for both ways of scaling azure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hybrid_hpc.collecting import StillRunning
from hybrid_hpc.commands import Command
from hybrid_hpc.errors import Refused
from hybrid_hpc.jobs import JobState
from lab.lab import Lab
from tests.lab.journey import Journey, ended, journey, sentences, started

BOTH = pytest.mark.parametrize("lab", ["cyclecloud", "scheduler"], indirect=True)
OURS = pytest.mark.parametrize("lab", ["cyclecloud"], indirect=True)


@pytest.fixture
async def onprem(lab: Lab, tmp_path: Path) -> AsyncIterator[Journey]:
    async with journey(lab, "onprem", tmp_path) as way:
        yield way


@pytest.fixture
async def azure(lab: Lab, tmp_path: Path) -> AsyncIterator[Journey]:
    async with journey(lab, "azure", tmp_path) as way:
        yield way


@OURS
async def test_a_job_completes_with_its_output_its_files_and_its_usage(onprem: Journey) -> None:
    script = "#!/bin/bash\necho $((6 * 7)) > answer.txt\necho done on $(hostname)\n"
    collected = await onprem.run("batch", script, cpus_per_task=4, outputs=["*.txt", "nothing.*"])
    assert collected.succeeded
    assert "done on node0" in collected.tail
    assert [path.read_text() for path in collected.files] == ["42\n"]
    assert collected.missing == ("no file matches nothing.*",)
    assert [row.cores for row in collected.usage] == [4]
    assert onprem.ledger.usage_of(collected.row.token) == list(collected.usage)


@OURS
async def test_a_failed_job_says_its_exit_code_and_its_last_lines(onprem: Journey) -> None:
    collected = await onprem.run("batch", "#!/bin/bash\necho the disk is on fire\nexit 3\n")
    assert collected.outcome.state is JobState.FAILED
    assert collected.outcome.exit_code == 3
    assert "exit code 3" in collected.failure()
    assert "the disk is on fire" in collected.failure()


@OURS
async def test_of_a_gigabyte_of_output_only_the_end_is_fetched(onprem: Journey) -> None:
    script = "#!/bin/bash\nhead -c 1000000000 /dev/zero | tr '\\0' 'x'\necho; echo the last line\n"
    collected = await onprem.run("batch", script)
    assert collected.tail.endswith("the last line\n")
    assert len(collected.tail) < 100_000


@BOTH
async def test_a_job_in_azure_gets_a_node_that_did_not_exist_and_the_node_goes_when_idle(
    azure: Journey,
) -> None:
    assert azure.site.cloud
    before = {node.name for node in await azure.site.cloud.nodes() if node.wanted}
    row = await azure.submit("hpc", "#!/bin/bash\nhostname\n", cpus_per_task=100)
    story = await azure.until(row, ended, "the end of the job")
    collected = await azure.collect(row)
    node = collected.tail.strip()
    assert collected.succeeded
    assert node.startswith("azure-hpc-")
    assert node not in before
    assert any("boot" in sentence for sentence in sentences(story)), sentences(story)
    await _gone(azure, node)


@BOTH
async def test_a_node_is_never_removed_under_a_job(azure: Journey) -> None:
    """The job runs for longer than the idle time, beside a node that idles and goes."""
    assert azure.site.cluster.elastic
    idle_s = azure.site.cluster.elastic.idle_s
    long = await azure.submit("htc", f"#!/bin/bash\nsleep {idle_s + 15:.0f}\n", cpus_per_task=16)
    short = await azure.submit("htc", "#!/bin/bash\nhostname\n", cpus_per_task=16)
    await azure.until(short, ended, "the end of the short job")
    await _gone(azure, (await azure.collect(short)).tail.strip())
    await azure.until(long, ended, "the end of the long job")
    collected = await azure.collect(long)
    assert collected.succeeded
    assert collected.outcome.restarts == 0


@BOTH
async def test_an_array_runs_on_several_new_nodes_and_its_files_come_back(azure: Journey) -> None:
    wait_for_the_others = "until [ $(ls node.* | wc -l) = 3 ]; do sleep 0.2; done"  # or one node might do all
    script = f"#!/bin/bash\nhostname > node.$SLURM_ARRAY_TASK_ID\n{wait_for_the_others}\n"
    collected = await azure.run("htc", script, array="1-3", cpus_per_task=16, outputs=["node.*"])
    assert collected.succeeded
    assert sorted(path.name for path in collected.files) == ["node.1", "node.2", "node.3"]
    assert len({path.read_text() for path in collected.files}) == 3


@OURS
async def test_a_wish_to_cancel_reaches_the_cluster_and_is_told_with_who_wished_it(onprem: Journey) -> None:
    row = await onprem.submit("batch", "#!/bin/bash\nsleep 600\n")
    await onprem.until(row, started, "the start of the job")
    onprem.ledger.request_cancel(row.token, by="ada", why="wrong input")
    await onprem.until(row, ended, "the end of the job")
    collected = await onprem.collect(row)
    assert collected.outcome.state is JobState.CANCELLED
    assert "ada: wrong input" in collected.outcome.sentence


@OURS
async def test_a_job_that_runs_is_not_collected_and_not_cancelled_unless_somebody_wished_it(
    onprem: Journey,
) -> None:
    row = await onprem.submit("batch", "#!/bin/bash\nsleep 600\n")
    with pytest.raises(StillRunning):
        await onprem.collect(row)
    onprem.ledger.request_cancel(row.token, by="ada", why="enough")
    collected = await onprem.collect(row)
    assert collected.outcome.state is JobState.CANCELLED


@OURS
async def test_polls_cost_one_connection_and_one_command_each_however_many_jobs_wait(onprem: Journey) -> None:
    held = [await onprem.submit("batch", "#!/bin/bash\nsleep 600\n", nodes=4) for _ in range(12)]
    onprem.site.head_node.commands_run.clear()
    for _ in range(3):
        poll = await onprem.watch.poll()
        assert set(poll.reports) >= {row.token for row in held}
    assert onprem.site.head_node.commands_run.total() == 3
    assert onprem.site.head_node.connections_made == 1
    for row in held:
        onprem.ledger.request_cancel(row.token, by="ada", why="the test is over")
    await asyncio.gather(*(onprem.collect(row) for row in held))


@OURS
async def test_a_job_that_has_our_number_and_another_name_is_not_released(onprem: Journey) -> None:
    head_node, language = onprem.site.head_node, onprem.site.scheduler
    taken = await head_node.run(
        Command(("sbatch", "--parsable", "--hold", "--job-name=another", "--wrap=true"))
    )
    native_id = taken.stdout.strip()
    with pytest.raises(Refused, match="is not hh-abcdefghijkl any more"):
        language.read_release(await head_node.run(language.release_command(native_id, "hh-abcdefghijkl")))
    reason = await head_node.run(Command(("squeue", "--noheader", f"--jobs={native_id}", "--format=%r")))
    assert reason.stdout.strip() == "JobHeldUser"
    await head_node.run(Command(("scancel", native_id)))


async def _gone(azure: Journey, node: str) -> None:
    """Polls until CycleCloud has the node no more."""
    cloud = azure.site.cloud
    assert cloud
    async with asyncio.timeout(90):
        async for _ in azure.watch.polls():
            if node not in {each.name for each in await cloud.nodes()}:
                return
